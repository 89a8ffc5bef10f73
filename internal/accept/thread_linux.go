package accept

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// eagerWait is how long a thread waits for the next event without telling the runtime, which would take the processor
	// from it and, on return, wake another thread to give it back. That pays while there is traffic; an idle thread waits properly.
	// A stop of the world interrupts the wait with a signal.
	eagerWait = time.Millisecond
	// acceptsAtOnce is how many connections are taken before those that stand get their turn, where more than one waits.
	acceptsAtOnce = 16
	eventsAtOnce  = 64
	// mostGathered is how much memory for last messages a thread keeps, in bytes: eight cookies, records and close_notify.
	mostGathered = 4 << 10
)

// errTurns ends a listener after a panic in Turns.
var errTurns = errors.New("bug: panic in the order of handshakes")

// thread serves connections on one OS thread of its own, which has a lower priority than the rest of the program: whatever
// the handlers of these connections compute is computed there, one at a time, and nowhere else. Each connection is a strand;
// where a goroutine would wait, the strand yields and the thread goes on with another. It owns everything below but what is
// behind the lock.
type thread struct {
	loop     *Loop
	ctx      context.Context
	handlers *sync.WaitGroup
	turns    Turns
	local    net.Addr

	epoll, bell, listener int // file descriptors
	listening             bool
	crowded               bool      // connections waited at the last look, too
	again                 time.Time // when accepting goes on after an error; zero: no pause
	pause                 time.Duration
	failed                error  // of the listener, for good
	fell                  func() // called then

	conns    map[int32]*threadConn // by descriptor
	timers   timers
	strands  strands
	gathered []byte        // memory that Gather needs next, unless somebody has it
	used     time.Duration // the thread's processor time, as of the last look
	turn     time.Duration // of it, what the last turn took

	quiet chan struct{} // closed when the listener is closed
	done  chan struct{} // closed when the thread has ended

	mu        sync.Mutex
	abandoned []*threadConn // aborted from outside, to be resumed
	stopping  bool          // accept what waits, then no more
	ending    bool          // no connection is left
}

// openThread prepares a thread with a descriptor of its own for the listener.
func (l *Loop) openThread(ctx context.Context, raw syscall.RawConn, local net.Addr, handlers *sync.WaitGroup) (*thread, error) {
	t := &thread{
		loop: l, ctx: ctx, handlers: handlers, local: local, listening: true, listener: -1, epoll: -1, bell: -1, fell: func() {},
		conns: map[int32]*threadConn{}, quiet: make(chan struct{}), done: make(chan struct{}),
	}
	var err error
	if cerr := raw.Control(func(fd uintptr) { t.listener, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) }); cerr != nil {
		err = cerr
	}
	if err == nil {
		t.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	}
	if err == nil {
		t.bell, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	}
	if err == nil {
		err = unix.EpollCtl(t.epoll, unix.EPOLL_CTL_ADD, t.bell, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(t.bell)})
	}
	if err == nil {
		err = t.listen(true)
	}
	if err != nil {
		t.close()
		return nil, fmt.Errorf("prepare a thread for %v: %w", local, err)
	}
	return t, nil
}

// listen begins or ends waiting for new connections. One event of the listener wakes one of several threads.
func (t *thread) listen(on bool) error {
	if on {
		ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLEXCLUSIVE, Fd: int32(t.listener)}
		return unix.EpollCtl(t.epoll, unix.EPOLL_CTL_ADD, t.listener, &ev)
	}
	return unix.EpollCtl(t.epoll, unix.EPOLL_CTL_DEL, t.listener, nil)
}

// close gives the descriptors back. Whoever rings later finds no bell, not somebody else's file of that number.
func (t *thread) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, fd := range []*int{&t.epoll, &t.bell, &t.listener} {
		if *fd >= 0 {
			_ = unix.Close(*fd)
			*fd = -1
		}
	}
}

// start runs on a thread other than the main one, whose niceness is shown as the program's.
func (t *thread) start() {
	runtime.LockOSThread()
	if unix.Gettid() != unix.Getpid() {
		t.run()
		return // still locked: the thread ends, and its niceness with it
	}
	locked := make(chan struct{})
	go func() {
		runtime.LockOSThread()
		close(locked)
		t.run()
	}()
	<-locked
	runtime.UnlockOSThread()
}

// run owns the thread until finish is called and no connection is left. Connections wait in epoll, for their time or for
// their turn; what has arrived goes before turns.
func (t *thread) run() {
	defer close(t.done)
	defer t.close()
	if nice := t.loop.cfg.Nice; nice > 0 {
		if err := unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), nice); err != nil {
			t.loop.cfg.Log.Warn().Str("listener", t.local.String()).Str("error", err.Error()).
				Msg("cannot lower the priority of this listener's thread, which competes with all others as an equal")
		}
	}
	if t.loop.cfg.Turns != nil {
		t.turns = t.loop.cfg.Turns()
	}
	t.took() // what the runtime did on this thread before is nobody's turn
	events := make([]unix.EpollEvent, eventsAtOnce)
	var wait time.Duration
	for !t.over() {
		n := t.wait(events, wait)
		now := time.Now()
		t.look(events[:n], now)
		t.told(now)
		for c := t.timers.due(now); c != nil; c = t.timers.due(now) {
			c.expired = true
			t.resume(c)
		}
		wait = t.next(now)
	}
	t.strands.close()
}

// over says that nothing is left to do.
func (t *thread) over() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.ending && len(t.conns) == 0
}

// next gives one connection its turn and says how long to wait for events; negative is for ever.
func (t *thread) next(now time.Time) time.Duration {
	wait := time.Duration(-1)
	sooner := func(d time.Duration) {
		if wait < 0 || d < wait {
			wait = max(d, 0)
		}
	}
	if t.turns != nil {
		worked, again := t.askTurns(now)
		t.turn = 0
		if worked {
			t.turn = t.took()
			return 0
		}
		if again > 0 {
			sooner(again)
		}
	}
	if len(t.timers) > 0 {
		sooner(t.timers[0].until.Sub(now))
	}
	if !t.again.IsZero() {
		sooner(t.again.Sub(now))
	}
	return wait
}

// askTurns asks whose turn it is. A panic in that is a bug that costs the listener, which is opened anew without what went
// wrong, and not the program (row L09). The connections that are there wait for no turn any more, but for their deadlines.
func (t *thread) askTurns(now time.Time) (worked bool, again time.Duration) {
	defer func() {
		if r := recover(); r != nil {
			t.turns = nil
			t.loop.panicked(r, "bug: panic in the order of handshakes, their listener stops")
			t.fail(errTurns)
		}
	}()
	return t.turns.Next(now, t.turn, t.took())
}

// took is the thread's processor time since the last call.
func (t *thread) took() time.Duration {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts) != nil {
		return 0
	}
	before := t.used
	t.used = time.Duration(ts.Nano())
	return t.used - before
}

// wait is epoll_wait(2) for so long, negative for ever.
func (t *thread) wait(events []unix.EpollEvent, d time.Duration) int {
	eager := d
	if d < 0 || d > eagerWait {
		eager = eagerWait
	}
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(t.epoll), uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), uintptr(milliseconds(eager)), 0, 0)
	if errno != 0 {
		return 0 // EINTR: the runtime wants something, which the next call of a function does
	}
	if n > 0 || eager == d {
		return int(n)
	}
	rest := -1
	if d >= 0 {
		rest = milliseconds(d - eager)
	}
	if m, err := unix.EpollWait(t.epoll, events, rest); err == nil {
		return m
	}
	return 0
}

// milliseconds rounds up, so that a time that was waited for has come.
func milliseconds(d time.Duration) int {
	return int(min((d+time.Millisecond-1)/time.Millisecond, 1<<30))
}

// look deals with the events of one wait.
func (t *thread) look(events []unix.EpollEvent, now time.Time) {
	crowd := false
	for i := range events {
		crowd = crowd || events[i].Fd == int32(t.listener)
		t.event(&events[i], now)
	}
	t.crowded = crowd
}

// event deals with one event of epoll.
func (t *thread) event(ev *unix.EpollEvent, now time.Time) {
	switch ev.Fd {
	case int32(t.listener):
		t.accept(now, t.waiting())
	case int32(t.bell):
		var count [8]byte
		_, _ = unix.Read(t.bell, count[:])
	default:
		if c := t.conns[ev.Fd]; c != nil {
			c.told(ev.Events)
			if c.parked == forPeer {
				t.resume(c)
			}
		}
	}
}

// waiting is how many connections to take when there is one: a call that finds none costs the kernel as much as one that does, it makes
// the socket first. So one, unless there was one at the last look, too.
func (t *thread) waiting() int {
	if t.crowded {
		return acceptsAtOnce
	}
	return 1
}

// told does what others have asked for, and ends a pause.
func (t *thread) told(now time.Time) {
	t.mu.Lock()
	abandoned, stopping := t.abandoned, t.stopping
	t.abandoned = nil
	t.mu.Unlock()
	for _, c := range abandoned {
		if c.parked != notParked {
			t.resume(c)
		}
	}
	if !t.again.IsZero() && !now.Before(t.again) {
		t.again = time.Time{}
		if err := t.listen(true); err != nil {
			t.fail(err)
		}
	}
	if stopping && t.listening {
		t.accept(now, queueLength)
		t.hush()
		for _, c := range t.conns {
			if c.patient && c.parked == forPeer {
				c.expired = true
				t.resume(c)
			}
		}
	}
}

// hush ends listening for good. Other threads have the same socket open, so closing the descriptor does not end its events.
func (t *thread) hush() {
	if t.listening {
		t.listening = false
		_ = t.listen(false) // in a pause it is out already
		_ = unix.Close(t.listener)
		t.listener, t.again = -1, time.Time{}
		close(t.quiet)
	}
}

// resume lets the strand of a parked connection go on.
func (t *thread) resume(c *threadConn) {
	c.parked = notParked
	if c.index >= 0 {
		t.timers.remove(c)
	}
	c.strand.next()
}

// accept takes connections, so many at most.
func (t *thread) accept(now time.Time, most int) {
	for range most {
		if !t.listening || !t.again.IsZero() {
			return
		}
		var peer unix.RawSockaddrAny
		size := uint32(unsafe.Sizeof(peer))
		fd, _, errno := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(t.listener), uintptr(unsafe.Pointer(&peer)), uintptr(unsafe.Pointer(&size)), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
		switch errno {
		case 0:
			t.pause = 0
			t.begin(int(fd), &peer)
		case unix.EAGAIN:
			return
		default:
			t.refused(os.NewSyscallError("accept4", errno), now)
		}
	}
}

// refused deals with an error of accept.
func (t *thread) refused(err error, now time.Time) {
	what := classify(err)
	if what == giveUp {
		t.fail(err)
		return
	}
	t.loop.errors.Add(1)
	if what == again {
		return
	}
	if outOfResources(err) {
		t.loop.evict(now) // one connection less is what helps
	}
	t.pause = nextPause(t.pause)
	t.loop.report(t.local, err, t.pause)
	if err := t.listen(false); err != nil {
		t.fail(err)
		return
	}
	t.again = now.Add(t.pause)
}

// fail ends listening because of an error that does not pass, and has the other threads of the listener told.
func (t *thread) fail(err error) {
	if !t.listening {
		return // who waits for the end of that has gone on
	}
	t.failed = fmt.Errorf("accept on %v: %w", t.local, err)
	t.hush()
	t.fell()
}

// begin starts the strand of a new connection.
func (t *thread) begin(fd int, peer *unix.RawSockaddrAny) {
	from := peerAddress(peer)
	tc := &threadConn{t: t, fd: fd, local: t.local, remote: net.TCPAddrFromAddrPort(from), index: -1}
	t.conns[int32(fd)] = tc
	c := &Conn{Conn: tc, turns: t.turns, loop: t.loop, remote: from.Addr().Unmap().WithZone(""), since: time.Now(), gone: make(chan struct{})}
	if !t.loop.enter(c) {
		_ = tc.Close()
		return
	}
	t.loop.accepted.Add(1)
	if t.loop.cfg.Timeout > 0 {
		_ = tc.SetDeadline(time.Now().Add(t.loop.cfg.Timeout))
	}
	t.handlers.Add(1)
	t.strands.start(func(s *strand) {
		tc.strand = s
		t.loop.serve(t.ctx, c, t.handlers)
	})
}

// peerAddress is the address that accept4 has told.
func peerAddress(peer *unix.RawSockaddrAny) netip.AddrPort {
	port := func(p *uint16) uint16 {
		b := (*[2]byte)(unsafe.Pointer(p))
		return uint16(b[0])<<8 | uint16(b[1])
	}
	switch peer.Addr.Family {
	case unix.AF_INET:
		in := (*unix.RawSockaddrInet4)(unsafe.Pointer(peer))
		return netip.AddrPortFrom(netip.AddrFrom4(in.Addr), port(&in.Port))
	case unix.AF_INET6:
		in := (*unix.RawSockaddrInet6)(unsafe.Pointer(peer))
		return netip.AddrPortFrom(netip.AddrFrom16(in.Addr).Unmap(), port(&in.Port))
	}
	return netip.AddrPort{}
}

// ring wakes the thread, if it is still there. The caller has the lock.
func (t *thread) ring() {
	if t.bell < 0 {
		return
	}
	one := [8]byte{1} // the counter takes either order of bytes
	_, _ = unix.Write(t.bell, one[:])
}

// abandon has a connection that was aborted resumed, from any goroutine.
func (t *thread) abandon(c *threadConn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.abandoned = append(t.abandoned, c)
	t.ring()
}

// stop has the thread accept what waits and then no more.
func (t *thread) stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stopping = true
	t.ring()
}

// finish ends the thread when its last connection is closed.
func (t *thread) finish() {
	t.mu.Lock()
	t.ending = true
	t.ring()
	t.mu.Unlock()
	<-t.done
}
