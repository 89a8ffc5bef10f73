package accept

import (
	"container/heap"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// threadConn is a TCP connection that is served by a thread. Its methods belong to the strand that serves it, but for abort.
// None of its system calls can block, so none tells the runtime; where there is nothing to read, or no room to write, the
// strand yields to the thread.
type threadConn struct {
	t             *thread
	fd            int
	local, remote net.Addr
	strand        *strand

	parked  parking
	expired bool      // the time that it was parked for has passed
	until   time.Time // that time; zero: none
	index   int       // in t.timers; -1: not there
	readBy  time.Time // deadlines as of net.Conn; zero: none
	writeBy time.Time
	patient bool   // the end of the loop's context ends its reads (Conn.Patient)
	watched uint32 // events it is registered for; 0: not yet
	owes    bool   // something was read since the last write, see prompt
	empty   bool   // what comes next has an event of its own: reading before that is in vain
	ended   bool   // the peer sends no more, or there is an error: no event may follow

	mu     sync.Mutex // guards closed, so that abort never meets another file of that number
	closed bool
	lost   atomic.Bool // abort was called
}

// Read reads; it acknowledges at once what was read before if there is nothing more (see prompt).
func (c *threadConn) Read(b []byte) (int, error) {
	for len(b) > 0 {
		if err := c.past(c.readBy); err != nil {
			return 0, err
		}
		if c.nothingYet() {
			if err := c.wait(); err != nil {
				return 0, err
			}
			continue
		}
		n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(c.fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
		switch errno {
		case 0:
			if n == 0 {
				return 0, io.EOF
			}
			c.owes = true
			c.empty = int(n) < len(b) && c.watched != 0 && !c.ended
			return int(n), nil
		case unix.EINTR:
			continue
		case unix.EAGAIN:
		default:
			return 0, os.NewSyscallError("read", errno)
		}
		if err := c.wait(); err != nil {
			return 0, err
		}
	}
	return 0, nil
}

// nothingYet reports that a call would find nothing to read, most likely before the first event of a connection, and surely after a read that did not
// fill its buffer: whatever came since then has an event that is still to be told (epoll(7)).
func (c *threadConn) nothingYet() bool { return c.watched == 0 || c.empty }

// told notes an event.
func (c *threadConn) told(events uint32) {
	c.empty = false
	c.ended = c.ended || events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0
}

// wait waits until there is something to read.
func (c *threadConn) wait() error {
	if c.owes {
		c.owes = false
		c.option(unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1)
	}
	return c.await(0, c.readBy)
}

// Write writes all of b.
func (c *threadConn) Write(b []byte) (int, error) { return c.send(b, 0) }

// send is send(2) for all of b.
func (c *threadConn) send(b []byte, flags uintptr) (sent int, err error) {
	c.owes = false
	for sent < len(b) {
		if err := c.past(c.writeBy); err != nil {
			return sent, err
		}
		rest := b[sent:]
		n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(c.fd), uintptr(unsafe.Pointer(&rest[0])), uintptr(len(rest)), unix.MSG_NOSIGNAL|flags, 0, 0)
		switch errno {
		case 0:
			sent += int(n)
		case unix.EINTR:
		case unix.EAGAIN:
			if err := c.await(unix.EPOLLOUT, c.writeBy); err != nil {
				return sent, err
			}
		default:
			return sent, os.NewSyscallError("send", errno)
		}
	}
	return sent, nil
}

// borrow is memory for what is gathered, if nobody else has it; giveBack is called when it is sent.
func (c *threadConn) borrow() []byte {
	b := c.t.gathered
	c.t.gathered = nil
	return b
}

// giveBack keeps the memory for the next, unless it has become more than the last messages of an exchange take.
func (c *threadConn) giveBack(b []byte) {
	if cap(b) <= mostGathered {
		c.t.gathered = b[:0]
	}
}

// writeMore is Write for the bytes before CloseWrite, which takes the last segment along.
func (c *threadConn) writeMore(b []byte) (int, error) { return c.send(b, unix.MSG_MORE) }

// CloseWrite ends our stream.
func (c *threadConn) CloseWrite() error {
	if _, _, errno := unix.RawSyscall(unix.SYS_SHUTDOWN, uintptr(c.fd), unix.SHUT_WR, 0); errno != 0 {
		return os.NewSyscallError("shutdown", errno)
	}
	return nil
}

// past tells a time that has passed, and a connection that was taken away.
func (c *threadConn) past(t time.Time) error {
	switch {
	case c.lost.Load():
		return net.ErrClosed
	case !t.IsZero() && !time.Now().Before(t):
		return os.ErrDeadlineExceeded
	}
	return nil
}

// await yields until something happens on the socket, or until the time; extra is events besides readability and the
// end of the peer's stream. Events are told once (EPOLLET), so what nobody reads wakes nobody twice.
func (c *threadConn) await(extra uint32, until time.Time) error {
	events := uint32(unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLET) | extra
	if c.watched != events {
		op := uintptr(unix.EPOLL_CTL_MOD)
		if c.watched == 0 {
			op = unix.EPOLL_CTL_ADD
		}
		ev := unix.EpollEvent{Events: events, Fd: int32(c.fd)}
		if _, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(c.t.epoll), op, uintptr(c.fd), uintptr(unsafe.Pointer(&ev)), 0, 0); errno != 0 {
			return os.NewSyscallError("epoll_ctl", errno)
		}
		c.watched = events
	}
	return c.park(forPeer, until)
}

// park yields until the thread resumes the strand.
func (c *threadConn) park(why parking, until time.Time) error {
	c.parked, c.until = why, until
	if !until.IsZero() {
		heap.Push(&c.t.timers, c)
	}
	c.strand.yield(struct{}{})
	if c.lost.Load() {
		return net.ErrClosed
	}
	if c.expired {
		c.expired = false
		return os.ErrDeadlineExceeded
	}
	return nil
}

// abort ends the connection from outside of its strand, from any goroutine: nothing is read or sent any more, and the
// thread is told. The strand closes the socket.
func (c *threadConn) abort() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed && !c.lost.Swap(true) {
		_ = unix.Shutdown(c.fd, unix.SHUT_RDWR)
		c.t.abandon(c)
	}
}

// Close closes the socket.
func (c *threadConn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	c.closed = true
	delete(c.t.conns, int32(c.fd))
	if _, _, errno := unix.RawSyscall(unix.SYS_CLOSE, uintptr(c.fd), 0, 0); errno != 0 {
		return os.NewSyscallError("close", errno)
	}
	return nil
}

// present is whether the kernel says that both sides may still send.
func (c *threadConn) present() bool {
	info, err := unix.GetsockoptTCPInfo(c.fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	return !c.lost.Load() && (err != nil || info.State == tcpEstablished)
}

// option sets a socket option; one that fails makes the connection slower, nothing else.
func (c *threadConn) option(level, name, value uintptr) {
	v := int32(value)
	_, _, _ = unix.RawSyscall6(unix.SYS_SETSOCKOPT, uintptr(c.fd), level, name, uintptr(unsafe.Pointer(&v)), unsafe.Sizeof(v), 0)
}

// resume lets the strand go on, which is called on the thread.
func (c *threadConn) resume() { c.t.resume(c) }

// LocalAddr is the listener's address.
func (c *threadConn) LocalAddr() net.Addr { return c.local }

// RemoteAddr is the peer's address.
func (c *threadConn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline sets both deadlines.
func (c *threadConn) SetDeadline(t time.Time) error {
	c.readBy, c.writeBy = t, t
	return nil
}

// SetReadDeadline sets that of reads that begin later.
func (c *threadConn) SetReadDeadline(t time.Time) error {
	c.readBy = t
	return nil
}

// SetWriteDeadline sets that of writes that begin later.
func (c *threadConn) SetWriteDeadline(t time.Time) error {
	c.writeBy = t
	return nil
}
