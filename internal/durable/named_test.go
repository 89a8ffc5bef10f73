package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ntp-daemon/internal/suite"
)

// TestNamed: a regular file is read, by whatever link it is named; everything else is refused by what it is, without waiting.
func TestNamed(t *testing.T) {
	dir := t.TempDir()
	file, pipe, socket := filepath.Join(dir, "file"), suite.Pipe(t), filepath.Join(dir, "socket")
	ln, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	link := func(to string) string {
		path := filepath.Join(dir, "link-to-"+filepath.Base(to))
		if err := os.Symlink(to, path); err != nil {
			t.Fatal(err)
		}
		return path
	}
	if err := os.WriteFile(file, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		path  string
		limit int64
		want  string // of the error; empty: it is read
		is    error
	}{
		{file, 4, "", nil}, {file, 3, "is larger than 3 bytes", nil}, {link(file), 4, "", nil},
		{pipe, 4, "is a pipe, not a regular file", ErrNotRegular}, {link(pipe), 4, "is a pipe, not a regular file", ErrNotRegular},
		{dir, 4, "is a directory, not a regular file", ErrNotRegular}, {"/dev/zero", 4, "is a device, not a regular file", ErrNotRegular},
		{socket, 4, "is a socket, not a regular file", ErrNotRegular}, {"/dev/fd/", 4, "is a directory", ErrNotRegular},
		{filepath.Join(dir, "none"), 4, "no such file", fs.ErrNotExist},
	} {
		data, err := ReadNamed(row.path, row.limit)
		if row.want == "" {
			if err != nil || string(data) != "text" {
				t.Errorf("%s: %q, %v", row.path, data, err)
			}
			continue
		}
		pe, ok := errors.AsType[*fs.PathError](err)
		if !ok || pe.Path != row.path || !strings.HasPrefix(pe.Err.Error(), row.want) || row.is != nil && !errors.Is(err, row.is) || data != nil {
			t.Errorf("%s: %q, %v; want %q", row.path, data, err, row.want)
		}
	}
}

// TestNamed_Handed: what whoever started us has opened is read although it is a pipe, and although its writer is gone; only by a
// name that says so, and never where the end of a file is looked for.
func TestNamed_Handed(t *testing.T) {
	for _, name := range []string{"/dev/fd/%d", "/proc/self/fd/%d", "/proc/thread-self/fd/%d"} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(w, "text")
		w.Close()
		path := fmt.Sprintf(name, r.Fd())
		if _, err := os.Stat(path); err != nil {
			t.Skip("needs the folders of descriptors of Linux")
		}
		if _, _, err := OpenNamed(path); !errors.Is(err, ErrNotRegular) {
			t.Errorf("%s was opened: %v", path, err)
		}
		data, err := ReadNamed(path, 4)
		if ours := !strings.Contains(name, "thread"); ours && string(data) != "text" || !ours && !errors.Is(err, ErrNotRegular) {
			t.Errorf("%s: %q, %v", path, data, err)
		}
		r.Close()
	}
	if !handed("/dev/stdin") || handed("/dev/sda") {
		t.Error("standard input is not what it was started with")
	}
}
