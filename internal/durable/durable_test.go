package durable

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, _, err := ReadFile(path, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// onlyFiles checks that the folder holds these names and nothing else.
func onlyFiles(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("folder holds %q, want %q", got, want)
	}
}

func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "drift")
	for _, content := range []string{"first", "", "third, longer than the first"} {
		if err := WriteFile(path, []byte(content)); err != nil {
			t.Fatal(err)
		}
		if got := read(t, path); string(got) != content {
			t.Errorf("read %q, want %q", got, content)
		}
	}
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != mode {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	onlyFiles(t, dir, "drift")
}

func TestWriteFile_StaleTemporaryFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "keys")
	victim := filepath.Join(dir, "victim")
	if err := os.WriteFile(victim, []byte("untouched"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, plant := range []func(string) error{
		func(p string) error { return os.WriteFile(p, []byte("half"), 0o666) },
		func(p string) error { return os.Symlink(victim, p) },
		func(p string) error { return os.Link(victim, p) },
	} {
		if err := plant(temporary(path)); err != nil {
			t.Fatal(err)
		}
		if err := WriteFile(path, []byte("whole")); err != nil {
			t.Fatal(err)
		}
		if string(read(t, path)) != "whole" || string(read(t, victim)) != "untouched" {
			t.Error("wrong content")
		}
		onlyFiles(t, dir, "keys", "victim")
	}
	if err := os.Mkdir(temporary(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(temporary(path), "x"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(path, []byte("new")); err == nil || string(read(t, path)) != "whole" {
		t.Errorf("a folder in the way: %v", err)
	}
}

func TestWriteFile_LinkIsReplacedNotFollowed(t *testing.T) {
	dir := t.TempDir()
	victim, path := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	if err := errors.Join(os.WriteFile(victim, []byte("untouched"), 0o600), os.Symlink(victim, path)); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(path, []byte("new")); err != nil {
		t.Fatal(err)
	}
	if string(read(t, victim)) != "untouched" || string(read(t, path)) != "new" {
		t.Error("link was followed")
	}
}

func TestL02_MissingFolder(t *testing.T) {
	err := WriteFile(filepath.Join(t.TempDir(), "missing", "drift"), nil)
	if !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// As root permissions bind nobody; the read-only file system below covers that case.
func TestL02_ReadOnlyFolder(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("skipped: as root, folder permissions do not bind")
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "drift")
	if err := WriteFile(path, []byte("old")); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(dir, 0o700) }) // before the folder is removed, which must write to it
	if err := WriteFile(path, []byte("new")); !errors.Is(err, fs.ErrPermission) {
		t.Error(err)
	}
	if string(read(t, path)) != "old" {
		t.Error("old content lost")
	}
}

func TestReadFile(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	link, pipe := filepath.Join(dir, "link"), filepath.Join(dir, "pipe")
	if err := errors.Join(os.WriteFile(file, bytes.Repeat([]byte{7}, 100), 0o600), os.Symlink(file, link), unix.Mkfifo(pipe, 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		path  string
		limit int64
		want  error
	}{
		{file, 100, nil}, {file, 1000, nil}, {file, 99, ErrTooLarge}, {file, 0, ErrTooLarge},
		{link, 100, ErrNotRegular}, {pipe, 100, ErrNotRegular}, {dir, 100, ErrNotRegular}, {"/dev/zero", 100, ErrNotRegular},
		{filepath.Join(dir, "none"), 100, fs.ErrNotExist},
	} {
		data, warnings, err := ReadFile(row.path, row.limit)
		if !errors.Is(err, row.want) || err == nil && (len(data) != 100 || warnings != nil) || err != nil && data != nil {
			t.Errorf("%s, %d: %d bytes, %q, %v; want %v", row.path, row.limit, len(data), warnings, err, row.want)
		}
	}
}

func TestF03_ExposedFilesAreNamed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	if err := WriteFile(path, nil); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		perm fs.FileMode
		want string
	}{{0o600, ""}, {0o400, ""}, {0o640, "read by others"}, {0o644, "read by others"}, {0o666, "changed by others"}, {0o620, "changed by others"}, {0o602, "changed by others"}} {
		if err := os.Chmod(path, row.perm); err != nil {
			t.Fatal(err)
		}
		_, warnings, err := ReadFile(path, 10)
		if got := strings.Join(warnings, "; "); err != nil || (got == "") != (row.want == "") || !strings.Contains(got, row.want) {
			t.Errorf("mode %v: %q, %v; want %q", row.perm, got, err, row.want)
		}
	}
	if os.Geteuid() != 0 {
		t.Skip("skipped the owner's part: only root can give files away")
	}
	if err := errors.Join(os.Chmod(path, 0o600), os.Chown(path, 12345, -1)); err != nil {
		t.Fatal(err)
	}
	if _, warnings, err := ReadFile(path, 10); err != nil || len(warnings) != 1 || !strings.Contains(warnings[0], "belongs to user 12345") {
		t.Errorf("%q, %v", warnings, err)
	}
}

func TestL04_SecondUserOfFolder(t *testing.T) {
	dir := t.TempDir()
	first, err := Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Lock(dir); !errors.Is(err, ErrLocked) {
		t.Errorf("second user: %v, want ErrLocked", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
	onlyFiles(t, dir)
	if _, err := Lock(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing folder: %v", err)
	}
	file := filepath.Join(dir, "file")
	os.WriteFile(file, nil, 0o600)
	if _, err := Lock(file); !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("a file: %v", err)
	}
}

// blockingTest ends a test that would hang.
const blockingTest = 5 * time.Second

func TestReadFile_PipeDoesNotBlock(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { _, _, err := ReadFile(pipe, 1); done <- err }()
	select {
	case err := <-done:
		if !errors.Is(err, ErrNotRegular) {
			t.Error(err)
		}
	case <-time.After(blockingTest):
		t.Error("blocked")
	}
}

// TestSetAside: what is set aside is whole, overwrites nothing, and there is an end to it.
func TestSetAside(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	for n := range maxAside {
		os.WriteFile(path, []byte{byte(n)}, 0o640)
		kept, err := SetAside(path)
		b, readErr := os.ReadFile(kept)
		if err != nil || readErr != nil || len(b) != 1 || b[0] != byte(n) || kept != fmt.Sprintf("%s.unusable-%d", path, n+1) {
			t.Fatalf("%s: %v, %v, %v", kept, err, readErr, b)
		}
	}
	os.WriteFile(path, []byte("last"), 0o600)
	if _, err := SetAside(path); !errors.Is(err, ErrAsideFull) {
		t.Errorf("%v", err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "last" {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := SetAside(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
}
