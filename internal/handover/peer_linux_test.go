package handover

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestTakeOver_AnotherUser: a process of another user gets nothing, and learns no more than that.
func TestTakeOver_AnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to become another user")
	}
	old := run(t)
	dir := filepath.Dir(old.path)
	if err := errors.Join(os.Chmod(dir, 0o755), os.Chmod(old.path, 0o777)); err != nil {
		t.Fatal(err)
	}
	// The test itself cannot be run by others where it is built: what is compared is what the sockets say of each other.
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	as := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with its user
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, 65534, 65534, 65534); errno != 0 {
			as <- errno
			return
		}
		as <- unix.Connect(fd, &unix.SockaddrUnix{Name: old.path})
	}()
	if err := <-as; err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "successor")
	defer f.Close()
	if n, err := f.Read(make([]byte, 10)); n != 0 || err != io.EOF {
		t.Fatalf("%d bytes, %v", n, err)
	}
	if err := <-old.failed; !strings.Contains(err.Error(), "of user 65534 may not take over") {
		t.Error(err)
	}
	select {
	case <-old.told:
		t.Error("told to stop accepting")
	default:
	}
}
