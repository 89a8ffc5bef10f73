package accept

import (
	"context"
	"errors"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// openForTest opens a listener and threads for it that have not been started.
func openForTest(t *testing.T, c Config) ([]*thread, *net.TCPListener) {
	t.Helper()
	ln, err := Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	tcp := ln.(*net.TCPListener)
	raw, err := tcp.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	threads, err := New(c).openThreads(t.Context(), raw, ln.Addr(), new(sync.WaitGroup))
	if err != nil {
		t.Fatal(err)
	}
	return threads, tcp
}

// unheld is a listener whose descriptor cannot be had, as when there are too many.
type unheld struct{ *net.TCPListener }

func (u unheld) SyscallConn() (syscall.RawConn, error) { return u, nil }
func (unheld) Control(func(uintptr)) error             { return syscall.EMFILE }
func (unheld) Read(func(uintptr) bool) error           { return syscall.EMFILE }
func (unheld) Write(func(uintptr) bool) error          { return syscall.EMFILE }

// TestThreads_CannotBegin: a listener that gets no threads is closed and left, like one that fails later.
func TestThreads_CannotBegin(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	left := 0
	loop := New(Config{Threads: 2, Left: func() { left++ }})
	if err := loop.Serve(t.Context(), unheld{ln.(*net.TCPListener)}); !errors.Is(err, syscall.EMFILE) {
		t.Errorf("%v", err)
	}
	_ = ln.(*net.TCPListener).SetDeadline(time.Unix(1, 0)) // were it open
	if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) || left != 1 {
		t.Errorf("%v, left %d times", err, left)
	}
}

// TestThreads_OneFails: when one thread cannot accept any more, the others stop, too, and the listener has failed.
func TestThreads_OneFails(t *testing.T) {
	threads, _ := openForTest(t, Config{Threads: 2})
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	bad := threads[1]
	if err := errors.Join(bad.listen(false), unix.Dup3(int(null.Fd()), bad.listener, unix.O_CLOEXEC)); err != nil {
		t.Fatal(err)
	}
	bad.again = time.Unix(1, 0) // it will listen again, which this file does not allow
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := accepted(ctx, threads); !errors.Is(err, syscall.EPERM) || ctx.Err() != nil {
		t.Errorf("%v, %v", err, ctx.Err())
	}
	for _, th := range threads {
		th.finish()
	}
}

// TestThread_HushedHearsNothing: a thread that does not listen any more is not woken by what comes to the others.
func TestThread_HushedHearsNothing(t *testing.T) {
	threads, ln := openForTest(t, Config{Threads: 2})
	dialTo(t, ln.Addr().String())
	events := make([]unix.EpollEvent, eventsAtOnce)
	for i, th := range threads {
		if n := th.wait(events, 0); n != 1 {
			t.Errorf("%d events before", n)
		}
		th.hush()
		if n := th.wait(events, 0); n != 0 {
			t.Errorf("thread %d: %d events", i, n)
		}
		th.close()
	}
}

// TestThread_RingsNobodyElse: whoever asks a thread for something after its end writes into no other file.
func TestThread_RingsNobodyElse(t *testing.T) {
	threads, _ := openForTest(t, Config{Threads: 1})
	th := threads[0]
	bell := th.bell
	th.close()
	for {
		fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		if fd >= bell {
			th.stop()
			th.abandon(nil)
			if _, err := unix.Read(fd, make([]byte, 8)); !errors.Is(err, unix.EAGAIN) {
				t.Errorf("rung: %v", err)
			}
			return
		}
	}
}

// firstUse notes what a thread says at first about the time it has used.
type firstUse struct {
	th   *thread
	used time.Duration
}

func (f *firstUse) Next(_ time.Time, turn, rest time.Duration) (bool, time.Duration) {
	f.used = turn + rest
	f.th.mu.Lock()
	f.th.ending = true
	f.th.mu.Unlock()
	return true, 0
}

// TestThread_PastIsNotCharged: what an OS thread did before it became one of ours is not told as used.
func TestThread_PastIsNotCharged(t *testing.T) {
	turns := &firstUse{}
	threads, _ := openForTest(t, Config{Threads: 1, Turns: func() Turns { return turns }})
	turns.th = threads[0]
	var past thread
	lockedRun(func() {
		for past.took(); past.used < 100*time.Millisecond; past.took() {
		}
		turns.th.run()
	})
	if turns.used > past.used/2 {
		t.Errorf("%v used at once, with a past of %v", turns.used, past.used)
	}
}

// once works one turn that costs something, then ends.
type once struct {
	th         *thread
	calls      int
	turn, rest time.Duration // as told afterwards
	cost       time.Duration
}

func (o *once) Next(_ time.Time, turn, rest time.Duration) (bool, time.Duration) {
	if o.calls++; o.calls == 1 {
		var probe thread
		for o.cost < 20*time.Millisecond {
			probe.took()
			o.cost = probe.used - o.th.used
		}
		return true, 0
	}
	o.turn, o.rest = turn, rest
	o.th.mu.Lock()
	o.th.ending = true
	o.th.mu.Unlock()
	return true, 0
}

// TestThread_TurnIsToldApart: what a turn takes is told as that, not with the rest.
func TestThread_TurnIsToldApart(t *testing.T) {
	turns := &once{}
	threads, _ := openForTest(t, Config{Threads: 1, Turns: func() Turns { return turns }})
	turns.th = threads[0]
	lockedRun(turns.th.run)
	if turns.turn < turns.cost || turns.rest > turns.cost/2 {
		t.Errorf("a turn of %v is told as %v, and a rest of %v", turns.cost, turns.turn, turns.rest)
	}
}

// faulty is Turns with a bug, which shows when somebody waits.
type faulty struct{ waiting *atomic.Bool }

func (f faulty) Next(time.Time, time.Duration, time.Duration) (bool, time.Duration) {
	if f.waiting.Load() {
		panic("a bug of ours")
	}
	return false, 0
}

// TestThreads_PanicOfTurns: a bug in the order of turns costs its listener and who waits for a turn, not the program.
func TestThreads_PanicOfTurns(t *testing.T) {
	ln, err := Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var waiting atomic.Bool
	ended := make(chan error, 1)
	loop := New(Config{
		Threads: 2, Drain: 5 * time.Second, Turns: func() Turns { return faulty{&waiting} },
		Handle: func(_ context.Context, c *Conn) {
			waiting.Store(true)
			ended <- c.Park(time.Now().Add(time.Millisecond))
		},
	})
	served := make(chan error, 1)
	go func() { served <- loop.Serve(t.Context(), ln) }()
	dialTo(t, ln.Addr().String())
	for what, ch := range map[string]chan error{"serving": served, "waiting for a turn": ended} {
		select {
		case err := <-ch:
			if !errors.Is(err, errTurns) && !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s ends with %v", what, err)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("%s does not end", what)
		}
	}
	if c := loop.Counters(); c.Panics == 0 || c.Panics > 2 || c.Open != 0 { // one for each thread at most
		t.Errorf("%+v", c)
	}
}

// lockedRun runs f on an OS thread of its own that ends with it.
func lockedRun(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		f()
	}()
	<-done
}
