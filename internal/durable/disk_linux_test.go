package durable

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// smallDisk mounts a file system of 16 KiB that only this test sees. The goroutine stays on a thread with a
// mount namespace of its own, which ends with the test.
func smallDisk(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("skipped: mounting a small file system needs root")
	}
	dir := t.TempDir()
	runtime.LockOSThread() // never unlocked: the thread must not serve others
	if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_FS); err != nil {
		t.Skipf("skipped: no mount namespace: %v", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		t.Skipf("skipped: cannot make mounts private: %v", err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=16k"); err != nil {
		t.Skipf("skipped: no tmpfs: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

func TestL02_FullDisk(t *testing.T) {
	dir := smallDisk(t)
	path := filepath.Join(dir, "keys")
	old := bytes.Repeat([]byte("old."), 1000)
	if err := WriteFile(path, old); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		err := WriteFile(path, make([]byte, 64<<10))
		if !errors.Is(err, unix.ENOSPC) {
			t.Fatalf("error %v, want ENOSPC", err)
		}
		if !bytes.Equal(read(t, path), old) {
			t.Fatal("old content lost")
		}
		onlyFiles(t, dir, "keys")
	}
	if err := WriteFile(path, []byte("fits again")); err != nil {
		t.Error(err)
	}
}

func TestL02_ReadOnlyFileSystem(t *testing.T) {
	dir := smallDisk(t)
	path := filepath.Join(dir, "keys")
	if err := WriteFile(path, []byte("old")); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(path, []byte("new")); !errors.Is(err, unix.EROFS) {
		t.Errorf("error %v, want EROFS", err)
	}
	if string(read(t, path)) != "old" {
		t.Error("old content lost")
	}
	lock, err := Lock(dir)
	if err != nil {
		t.Fatalf("a read-only folder can be locked: %v", err)
	}
	lock.Close()
}
