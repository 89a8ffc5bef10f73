package accept

import (
	"context"
	"net"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// serveThreads is Serve with threads of our own; ok is false if the listener has no socket, so that goroutines must do.
func (l *Loop) serveThreads(ctx context.Context, ln net.Listener) (ok bool, err error) {
	sc, isSocket := ln.(syscall.Conn)
	if !isSocket || ln.Addr().Network() != "tcp" {
		return false, nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return false, nil
	}
	inherited(raw)
	var handlers sync.WaitGroup
	threads, err := l.openThreads(ctx, raw, ln.Addr(), &handlers)
	// The threads have descriptors of their own. This one would have the runtime's poller wake up for each connection.
	_ = ln.Close()
	if err == nil {
		err = accepted(ctx, threads)
	}
	if l.cfg.Left != nil {
		l.cfg.Left()
	}
	l.drain(&handlers)
	for _, t := range threads {
		t.finish()
	}
	return true, err
}

// openThreads prepares the threads of one listener, all or none.
func (l *Loop) openThreads(ctx context.Context, raw syscall.RawConn, local net.Addr, handlers *sync.WaitGroup) ([]*thread, error) {
	var threads []*thread
	for range l.cfg.Threads {
		t, err := l.openThread(ctx, raw, local, handlers)
		if err != nil {
			for _, t := range threads {
				t.close()
			}
			return nil, err
		}
		threads = append(threads, t)
	}
	return threads, nil
}

// accepted starts the threads and returns when none of them accepts any more: ctx has ended, or the listener has failed on
// one of them, which is the error.
func accepted(ctx context.Context, threads []*thread) (err error) {
	stop := func() {
		for _, t := range threads {
			t.stop()
		}
	}
	defer context.AfterFunc(ctx, stop)()
	for _, t := range threads {
		t.fell = stop
	}
	for _, t := range threads {
		go t.start()
	}
	for _, t := range threads {
		<-t.quiet
		if t.failed != nil {
			err = t.failed
		}
	}
	return err
}

// inherited sets what each new connection inherits from its listener, which spares five calls for each: no delay of small
// segments, and keepAlive.
func inherited(raw syscall.RawConn) {
	_ = raw.Control(func(fd uintptr) {
		for _, o := range []struct{ level, name, value int }{
			{unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
			{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
			{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, int(keepAlive.Idle / time.Second)},
			{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, int(keepAlive.Interval / time.Second)},
			{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, keepAlive.Count},
		} {
			_ = unix.SetsockoptInt(int(fd), o.level, o.name, o.value)
		}
	})
}

// threaded is the connection of a thread inside, nil if a goroutine serves it.
func (c *Conn) threaded() *threadConn {
	tc, _ := c.Conn.(*threadConn)
	return tc
}
