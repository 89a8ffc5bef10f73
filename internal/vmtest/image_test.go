package vmtest

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// drivers are the modules of Debian's cloud kernel that the guests need, each after those it builds on. One that is
// part of the kernel itself has no file.
var drivers = []string{
	"virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci",
	"failover", "net_failover", "virtio_net", "sch_netem", "virtio_console",
}

// archive is an initramfs under construction: a cpio archive of the "newc" kind, which the kernel's
// Documentation/driver-api/early-userspace/buffer-format.rst describes.
type archive struct {
	buf   bytes.Buffer
	inode int
	dirs  []string
}

// add appends a file or, with fs.ModeDir, a directory, and before it the directories on its way.
func (a *archive) add(name string, mode fs.FileMode, data []byte) {
	if dir := path.Dir(name); dir != "." && !slices.Contains(a.dirs, dir) {
		a.add(dir, fs.ModeDir|0o755, nil)
	}
	kind := uint32(0o100000)
	if mode.IsDir() {
		kind = 0o040000
		a.dirs = append(a.dirs, name)
	}
	a.record(name, kind|uint32(mode.Perm()), data)
}

// record appends one header, name and content, both padded to four bytes.
func (a *archive) record(name string, mode uint32, data []byte) {
	a.inode++
	const owner, group, links, modified, major, minor, check = 0, 0, 1, 0, 0, 0, 0
	a.buf.WriteString("070701")
	for _, v := range []uint32{
		uint32(a.inode), mode, owner, group, links, modified, uint32(len(data)), major, minor, major, minor,
		uint32(len(name) + 1), check,
	} {
		fmt.Fprintf(&a.buf, "%08X", v)
	}
	a.buf.WriteString(name + "\x00")
	a.pad()
	a.buf.Write(data)
	a.pad()
}

func (a *archive) pad() {
	for a.buf.Len()%4 != 0 {
		a.buf.WriteByte(0)
	}
}

// compressed ends the archive. Little compression: the guest unpacks it on an emulated processor.
func (a *archive) compressed() ([]byte, error) {
	a.record("TRAILER!!!", 0, nil)
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestSpeed)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(a.buf.Bytes()); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// image writes the initramfs: our first process, the programs, and the drivers of the unpacked kernel package.
func image(t *testing.T, kernel string, programs map[string]string) string {
	t.Helper()
	var a archive
	for _, name := range slices.Sorted(maps.Keys(programs)) {
		data, err := os.ReadFile(programs[name])
		if err != nil {
			t.Fatal(err)
		}
		a.add(name, 0o755, data)
	}
	files := modules(t, kernel)
	var order []string
	for _, name := range drivers {
		file, ok := files[name]
		if !ok {
			continue
		}
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		a.add("modules/"+name+".ko", 0o644, data)
		order = append(order, name+".ko")
	}
	a.add("modules/order", 0o644, []byte(strings.Join(order, "\n")))
	for _, dir := range []string{"dev", "proc", "sys", "run", "tmp", "var"} {
		a.add(dir, fs.ModeDir|0o755, nil)
	}
	data, err := a.compressed()
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "initramfs")
	if err := os.WriteFile(out, data, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Logf("initramfs: %d bytes, %d drivers", len(data), len(order))
	return out
}

// modules finds the files of the kernel's modules by name.
func modules(t *testing.T, kernel string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(filepath.Join(kernel, "lib/modules"), func(p string, d fs.DirEntry, err error) error {
		if name, ok := strings.CutSuffix(filepath.Base(p), ".ko"); ok {
			found[strings.ReplaceAll(name, "-", "_")] = p
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// The kernel reads the archive; this only keeps its shape: aligned records, directories before what is in them.
func TestArchive(t *testing.T) {
	var a archive
	a.add("bin/x", 0o755, []byte("abc"))
	a.add("bin/y", 0o644, nil)
	b := a.buf.Bytes()
	for _, name := range []string{"bin", "bin/x", "bin/y"} {
		i := bytes.Index(b, []byte(name+"\x00"))
		if i < 110 || (i-110)%4 != 0 || string(b[i-110:i-104]) != "070701" {
			t.Errorf("record of %s at %d", name, i)
		}
	}
	if len(b)%4 != 0 || bytes.Count(b, []byte("070701")) != 3 {
		t.Errorf("%d bytes: %q", len(b), b)
	}
}
