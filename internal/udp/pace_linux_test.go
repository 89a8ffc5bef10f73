package udp

import (
	"context"
	"net"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ntp-daemon/internal/ntp"
)

func TestPace(t *testing.T) {
	at := ntp.FromUnix(1_800_000_000, 0)
	for _, row := range []struct {
		name string
		gaps []time.Duration // between batches
		want bool            // after the last of them
	}{
		{"dense", []time.Duration{1e5, 1e5, 1e5, 1e5}, true},
		{"not yet", []time.Duration{1e5, 1e5, 1e5}, false},
		{"at the limit", []time.Duration{quickGap, quickGap, quickGap, quickGap}, true},
		{"just above", []time.Duration{1e5, 1e5, 1e5, quickGap + time.Microsecond}, false},
		{"pairs", []time.Duration{1e3, 5e6, 1e3, 5e6, 1e3, 5e6, 1e3, 5e6, 1e3}, false},
		{"a pause and four", []time.Duration{1e5, 1e5, 1e5, 1e5, 1e9, 1e5, 1e5, 1e5, 1e5}, true},
		{"clock stepped back", []time.Duration{1e5, 1e5, 1e5, 1e5, -1e9}, false},
		{"slightly disordered", []time.Duration{1e5, 1e5, -1e5, 1e5}, true},
	} {
		var p pace
		now, got := at, p.arrived(at)
		for _, gap := range row.gaps {
			now = now.Add(gap)
			got = p.arrived(now)
		}
		if got != row.want {
			t.Errorf("%s: %v", row.name, got)
		}
	}
}

func TestPace_Yields(t *testing.T) {
	p := pace{last: ntp.FromUnix(1_800_000_000, 0)}
	for i, row := range []struct {
		gap  time.Duration // since the batch before
		want bool
	}{
		{0, true}, {0, false}, {yieldGap - time.Microsecond, false}, {time.Microsecond, true}, {yieldGap / 2, false}, {yieldGap / 2, true},
		{-time.Second, true}, {time.Millisecond, false}, {-time.Millisecond, false}, {time.Hour, true},
	} {
		p.arrived(p.last.Add(row.gap))
		if got := p.yields(); got != row.want {
			t.Errorf("%d: %v", i, got)
		}
	}
}

// A server gives way after a batch that was not full, while its waits are brief, and else never.
func TestServer_GivesWay(t *testing.T) {
	for _, row := range []struct {
		name    string
		briefly bool
		batch   int
		want    bool
	}{{"brief", true, 1, true}, {"as long as it takes", false, 1, false}, {"more waits", true, BatchSize, false}} {
		s := listen(t, ListenConfig{Address: local(0), Waits: &BriefWaits{}})[0]
		s.waits.free.Store(1)
		c, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(s.LocalAddr()))
		if err != nil {
			t.Fatal(err)
		}
		s.brief(row.briefly)
		s.pace.last = testNow()
		b := NewBatch()
		b.n = row.batch // of the batch before
		if _, err := c.Write([]byte{1}); err != nil {
			t.Fatal(err)
		}
		before := s.pace.last
		if err := s.Receive(b); err != nil {
			t.Fatal(err)
		}
		if got := s.pace.yielded == before; got != row.want {
			t.Errorf("%s: %v", row.name, got)
		}
		_, _ = c.Close(), s.Close()
	}
}

// busyServer is a socket whose waits are brief ones, if waits has one left, that last for as long as it takes: what must not wait
// for them is shown by ending at all. received counts.
func busyServer(t *testing.T, waits *BriefWaits) (s *Server, received *atomic.Int64) {
	t.Helper()
	s, received = listen(t, ListenConfig{Address: local(0), Waits: waits})[0], new(atomic.Int64)
	s.pace = pace{last: testNow(), quick: quickGaps}
	if s.brief(true); s.briefly {
		limit := unix.NsecToTimeval(int64(time.Hour))
		if err := unix.SetsockoptTimeval(s.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit); err != nil {
			t.Fatal(err)
		}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for b := NewBatch(); s.Receive(b) == nil; {
			s.pace.quick = quickGaps // nothing of this is about time
			received.Add(int64(b.Len()))
		}
	}()
	t.Cleanup(func() {
		s.Interrupt()
		<-done
		_ = s.Close()
	})
	return s, received
}

// A stop of the world interrupts a brief wait: the collector asks again until everybody has stopped, and each time it asks by a
// signal. With waits of an hour, a hundred collections end all the same, and more workers than CPUs change nothing.
func TestServer_CollectionsInterruptBriefWaits(t *testing.T) {
	const workers, collections = 3, 100
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(workers + 1))
	for range workers {
		busyServer(t, nil)
	}
	for range collections {
		runtime.GC()
	}
}

// unpreempted makes a child of the test's binary: its runtime sends no signals (asyncpreemptoff), so that a wait which it was not
// told of gives its processor back when it ends, and no sooner. Whether that is ever would else depend on the watching
// thread (sysmon), which may sleep for a minute.
const unpreempted = "NTPD_TEST_UNPREEMPTED"

// alone runs one test in such a child and returns true, or false if this is the child. What hangs there for good has failed.
func alone(t *testing.T) bool {
	t.Helper()
	if os.Getenv(unpreempted) != "" {
		return false
	}
	const patience = 20 * time.Second // the child needs some milliseconds
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), unpreempted+"=1", "GODEBUG=asyncpreemptoff=1")
	out, err := cmd.CombinedOutput()
	switch {
	case ctx.Err() != nil:
		t.Errorf("a processor was never given back\n%s", out)
	case err != nil:
		t.Errorf("%v\n%s", err, out)
	}
	return true
}

// Brief waits leave a processor, which is all that the rest of the daemon has to go by: nothing wakes the watching thread when a
// goroutine could run and all processors are in such waits. With more busy sockets than processors, and waits of an hour, a
// goroutine that stands for the rest has its turns.
func TestServer_BriefWaitsLeaveAProcessor(t *testing.T) {
	if alone(t) {
		return
	}
	const processors, turns = 3, 100
	runtime.GOMAXPROCS(processors)
	debug.SetGCPercent(-1)
	waits := new(BriefWaits)
	waits.Allow(processors - 1) // as the daemon does (provision)
	for range processors + 1 {
		busyServer(t, waits)
	}
	ping, pong := make(chan int), make(chan int)
	go func() {
		for i := range ping {
			pong <- i
		}
	}()
	for i := range turns {
		ping <- i
		<-pong
		<-time.After(time.Microsecond)
	}
	close(ping)
}

// A collection that could not interrupt a brief wait would wait for its end, and no longer.
func TestServer_BriefWaitsEnd(t *testing.T) {
	if alone(t) {
		return
	}
	const collections = 20
	runtime.GOMAXPROCS(2)
	s := listen(t, ListenConfig{Address: local(0)})[0]
	c := dial(t, s.LocalAddr())
	for range collections {
		s.brief(true)
		begun, done := make(chan struct{}), make(chan error)
		go func() {
			close(begun)
			done <- s.Receive(NewBatch())
		}()
		<-begun
		runtime.GC()
		if err := c.Send([]byte("request")); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
}

// Traffic makes waits brief, its end makes them long again, and no request is lost between the two.
func TestServer_WaitsFollowTraffic(t *testing.T) {
	s := listen(t, ListenConfig{Address: local(0)})[0]
	defer s.Close()
	c, b := dial(t, s.LocalAddr()), NewBatch()
	limit := func() time.Duration {
		tv, err := unix.GetsockoptTimeval(s.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO)
		if err != nil {
			t.Fatal(err)
		}
		return time.Duration(tv.Nano())
	}
	if limit() != 0 || s.briefly {
		t.Error("brief waits before any traffic")
	}
	for range 2 {
		for range quickGaps + 1 {
			s.pace.last = testNow() // however slow this machine is
			if err := c.Send([]byte("request")); err != nil {
				t.Fatal(err)
			}
			if err := s.Receive(b); err != nil {
				t.Fatal(err)
			}
		}
		if l := limit(); l < briefWait || l > 50*time.Millisecond || !s.briefly {
			t.Fatalf("limit %v under traffic", l)
		}
		s.pace.last = 0
		taken := make(chan error)
		go func() { taken <- s.Receive(b) }()
		for end := time.Now().Add(5 * time.Second); limit() != 0 && time.Now().Before(end); {
			runtime.Gosched() // until the first wait without a datagram is over
		}
		if l := limit(); l != 0 {
			t.Errorf("limit %v in silence", l)
		}
		if err := c.Send([]byte("a late one")); err != nil {
			t.Fatal(err)
		}
		if err := <-taken; err != nil || string(b.Datagram(0).Data) != "a late one" {
			t.Fatal(err)
		}
		if limit() != 0 || s.briefly {
			t.Error("brief waits after a pause")
		}
	}
}

// No more sockets wait briefly at once than are allowed to; whoever stops, by silence or by being closed, makes room.
func TestServer_BriefWaitsAreLimited(t *testing.T) {
	waits := new(BriefWaits)
	open := func() *Server {
		s := listen(t, ListenConfig{Address: local(0), Waits: waits})[0]
		t.Cleanup(func() { _ = s.Close() })
		return s
	}
	a, b, c := open(), open(), open()
	want := func(when string, briefly ...bool) {
		t.Helper()
		if got := []bool{a.briefly, b.briefly, c.briefly}; !slices.Equal(got, briefly) {
			t.Errorf("%s: brief waits %v, want %v", when, got, briefly)
		}
	}
	all := func() {
		for _, s := range []*Server{a, b, c} {
			s.brief(true)
			s.brief(true)
		}
	}
	all()
	want("none allowed", false, false, false)
	waits.Allow(2)
	all()
	want("two allowed", true, true, false)
	a.brief(false)
	a.brief(false)
	c.brief(true)
	a.brief(true)
	want("one stopped", false, true, true)
	_ = b.Close()
	_ = b.Close()
	a.brief(true)
	want("one closed", true, false, true)
	if n := waits.free.Load(); n != 0 {
		t.Errorf("%d left", n)
	}
}

// Interrupt ends both kinds of waits.
func TestServer_InterruptEndsBriefWaits(t *testing.T) {
	s, received := busyServer(t, nil)
	if err := dial(t, s.LocalAddr()).Send([]byte("request")); err != nil {
		t.Fatal(err)
	}
	for received.Load() == 0 {
		runtime.Gosched()
	}
}
