package logging

import (
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// maxStall is how long one line may wait for a reader that does not read. After that lines are dropped without
// waiting until the reader is back, because the goroutine that logs may be the one that steers the clock.
const maxStall = 200 * time.Millisecond

// maxPieces ends the attempts at a descriptor that promises room and then takes nothing.
const maxPieces = 64

// lineWriter passes whole lines on, one at a time, and swallows every error: a log that cannot be written must
// not stop a clock (row L08). Go ends a process whose os.File for descriptor 1 or 2 meets a broken
// pipe, and zerolog reports write errors on the standard error, which may be the same broken pipe; so neither
// is told.
type lineWriter struct {
	mu  sync.Mutex // one line at a time
	out io.Writer
}

func newLineWriter(out io.Writer) *lineWriter {
	if f, ok := out.(*os.File); ok {
		out = &rawFile{f: f}
	}
	return &lineWriter{out: out}
}

// Write implements io.Writer and always succeeds.
func (w *lineWriter) Write(line []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, _ = w.out.Write(line)
	return len(line), nil
}

// rawFile writes to a file's descriptor by system call: os.File.Write would raise SIGPIPE.
type rawFile struct {
	f       *os.File
	stalled bool // the reader did not read when we last waited
}

// Write implements io.Writer. It is not safe for concurrent use.
func (r *rawFile) Write(b []byte) (n int, err error) {
	rc, err := r.f.SyscallConn()
	if err != nil {
		return 0, err
	}
	ctlErr := rc.Control(func(fd uintptr) { n, err = r.writeAll(int(fd), b) })
	return n, errors.Join(ctlErr, err)
}

// writeAll writes b in as many pieces as the kernel wants, asking for room before each: a pipe with room takes
// at least a page, so a descriptor in blocking mode does not block either.
func (r *rawFile) writeAll(fd int, b []byte) (n int, err error) {
	for tries := 0; n < len(b); tries++ {
		if tries == maxPieces || !r.room(fd) {
			return n, unix.EAGAIN
		}
		m, err := unix.Write(fd, b[n:])
		n += max(m, 0)
		if err != nil && !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.EAGAIN) {
			return n, err
		}
	}
	return n, nil
}

// room waits until the descriptor takes something, or would report an error; at most maxStall.
func (r *rawFile) room(fd int) bool {
	wait := maxStall
	if r.stalled {
		wait = 0
	}
	end := time.Now().Add(wait)
	for {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
		n, err := unix.Poll(fds, int(wait.Milliseconds()))
		if !errors.Is(err, unix.EINTR) {
			r.stalled = n == 0 && err == nil
			return !r.stalled
		}
		wait = max(time.Until(end), 0)
	}
}
