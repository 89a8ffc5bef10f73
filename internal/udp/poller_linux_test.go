package udp

import (
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// TestPoller_Refused: a poller that the runtime does not wait for is an error, not one on which no reply is ever seen. A device
// without poll is refused like an epoll instance when the kernel has no room for it.
func TestPoller_Refused(t *testing.T) {
	fd, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	if p, err := pollerOn(fd); !errors.Is(err, os.ErrNoDeadline) {
		t.Fatalf("%v, %v", p, err)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); !errors.Is(err, unix.EBADF) {
		t.Errorf("the refused instance is still open: %v", err)
	}
}
