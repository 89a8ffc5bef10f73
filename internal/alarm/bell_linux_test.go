package alarm

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// TestAlarm_WithoutPoller: a timer that the runtime's poller refuses is replaced, so that the alarm rings all the same. A
// device without poll is refused like a timer when the kernel has no room for it.
func TestAlarm_WithoutPoller(t *testing.T) {
	fd, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	a := &Alarm{}
	a.bell = bellOn(fd, a.ring)
	defer a.Close()
	if _, kernel := a.bell.(*kernelBell); kernel {
		t.Fatal("a timer that nobody waits for")
	}
	rang := make(chan struct{})
	a.Set(1, func() { close(rang) })
	<-rang
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); !errors.Is(err, unix.EBADF) {
		t.Errorf("the refused timer is still open: %v", err)
	}
}
