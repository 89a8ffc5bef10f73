package accept

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
)

// fakeListener hands out what the test scripts: connections and errors.
type fakeListener struct {
	next   chan any // net.Conn or error
	closed chan struct{}
	once   sync.Once
}

func newFakeListener(script ...any) *fakeListener {
	l := &fakeListener{next: make(chan any, 4096), closed: make(chan struct{})}
	for _, s := range script {
		l.next <- s
	}
	return l
}

func (l *fakeListener) Accept() (net.Conn, error) {
	select {
	case <-l.closed:
		return nil, net.ErrClosed
	case v := <-l.next:
		if err, ok := v.(error); ok {
			return nil, err
		}
		return v.(net.Conn), nil
	}
}

func (l *fakeListener) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *fakeListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 4460} }

// fakeConn is a connection of a given peer; the test holds the other end.
type fakeConn struct {
	net.Conn
	from netip.Addr
}

func (c fakeConn) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(c.from, 40000))
}

// dial makes a connection from an address: what the listener hands out, and the peer's end.
func dial(from string) (fakeConn, net.Conn) {
	a, b := net.Pipe()
	return fakeConn{a, netip.MustParseAddr(from)}, b
}

// closedByServer says whether the server has closed the connection of this peer.
func closedByServer(peer net.Conn) bool {
	_ = peer.SetReadDeadline(time.Now().Add(time.Millisecond))
	_, err := peer.Read(make([]byte, 1))
	return err != nil && !errors.Is(err, os.ErrDeadlineExceeded)
}

// untilClosed is a handler that reads to the end.
func untilClosed(_ context.Context, c *Conn) { _, _ = io.Copy(io.Discard, c) }

// holding is a handler that works for a peer from its first byte on.
func holding(ctx context.Context, c *Conn) {
	if _, err := c.Read(make([]byte, 1)); err == nil {
		c.Hold()
		untilClosed(ctx, c)
	}
}

// start runs a loop in the synctest bubble and returns how to stop it.
func start(t *testing.T, c Config, ln net.Listener) (*Loop, func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	loop := New(c)
	done := make(chan error, 1)
	go func() { done <- loop.Serve(ctx, ln) }()
	synctest.Wait()
	return loop, func() error { cancel(); return <-done }
}

func TestServe_SurvivesAcceptErrors(t *testing.T) {
	errs := []syscall.Errno{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED, syscall.EINTR,
		syscall.EPERM, syscall.ENETDOWN, syscall.EPROTO, syscall.EHOSTUNREACH, syscall.ETIMEDOUT,
	}
	for _, errno := range errs {
		t.Run("KS14 and P08 "+errno.Error(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				good, peer := dial("192.0.2.1")
				ln := newFakeListener()
				for range 20 {
					ln.next <- &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", errno)}
				}
				ln.next <- good
				loop, stop := start(t, Config{Permits: 4, Handle: untilClosed, Log: zerolog.New(&log)}, ln)
				time.Sleep(time.Minute)
				synctest.Wait()
				c := loop.Counters()
				if c.Accepted != 1 || c.Errors != 20 || c.Open != 1 {
					t.Errorf("%+v", c)
				}
				if n := strings.Count(log.String(), "\n"); n > 1 {
					t.Errorf("%d log lines for 20 errors in a row", n)
				}
				_ = peer.Close()
				if err := stop(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestServe_ErrorsSpareTheNewest: an error costs an idle connection only if that helps, and not before it could speak.
func TestServe_ErrorsSpareTheNewest(t *testing.T) {
	for _, row := range []struct {
		errno   syscall.Errno
		age     time.Duration
		evicted uint64
	}{
		{syscall.EMFILE, 0, 0}, {syscall.EMFILE, grace, 1}, {syscall.ENOBUFS, grace, 1},
		{syscall.EPERM, grace, 0}, {syscall.EPROTO, grace, 0}, {syscall.ECONNABORTED, grace, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			first, peer := dial("192.0.2.1")
			ln := newFakeListener()
			ln.next <- first
			loop, stop := start(t, Config{Permits: 4, Handle: untilClosed}, ln)
			time.Sleep(row.age)
			synctest.Wait()
			ln.next <- os.NewSyscallError("accept4", row.errno)
			synctest.Wait()
			if c := loop.Counters(); c.Evicted != row.evicted || c.Errors != 1 || row.evicted > 0 && !closedByServer(peer) {
				t.Errorf("%v after %v: %+v", row.errno, row.age, c)
			}
			_ = peer.Close()
			_ = stop()
		})
	}
}

func TestServe_BacksOffInsteadOfSpinning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ln := newFakeListener()
		for range 100 {
			ln.next <- syscall.EMFILE
		}
		loop, stop := start(t, Config{Handle: untilClosed}, ln)
		time.Sleep(10 * time.Second)
		if n := loop.Counters().Errors; n < 10 || n > 20 {
			t.Errorf("%d tries in 10 s", n)
		}
		_ = stop()
	})
}

func TestServe_EndsWithItsListener(t *testing.T) {
	for _, err := range []error{net.ErrClosed, syscall.EBADF, syscall.EINVAL, syscall.ENOTSOCK} {
		if got := New(Config{Handle: untilClosed}).Serve(t.Context(), newFakeListener(err)); !errors.Is(got, err) {
			t.Errorf("%v became %v", err, got)
		}
	}
}

// TestPermits_OldestIdleMakesRoom is what keeps a server reachable under slowloris (row KS13): the connections that we
// work for stay, of those that are waited for the oldest goes.
func TestPermits_OldestIdleMakesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ln := newFakeListener()
		loop, stop := start(t, Config{Permits: 3, Handle: holding}, ln)
		peers := make([]net.Conn, 6)
		connect := func(i int, talk bool) {
			c, peer := dial("192.0.2.1")
			peers[i] = peer
			ln.next <- c
			synctest.Wait()
			if talk {
				_, _ = peer.Write([]byte{1})
				synctest.Wait()
			}
		}
		connect(0, true)
		connect(1, false)
		connect(2, false)
		connect(3, true) // instead of 1
		connect(4, true) // instead of 2
		connect(5, true) // nobody is idle
		synctest.Wait()
		for i, want := range []bool{false, true, true, false, false, true} {
			if got := closedByServer(peers[i]); got != want {
				t.Errorf("connection %d: closed %v, want %v", i, got, want)
			}
		}
		c := loop.Counters()
		if c.Evicted != 2 || c.Full != 1 || c.InUse != 3 || c.Accepted != 5 {
			t.Errorf("%+v", c)
		}
		for _, p := range peers {
			_ = p.Close()
		}
		synctest.Wait()
		if c := loop.Counters(); c.Open != 0 || c.InUse != 0 {
			t.Errorf("after all closed: %+v", c)
		}
		_ = stop()
	})
}

// TestPerPrefix: KS17. One IPv4 address, one IPv6 network.
func TestPerPrefix(t *testing.T) {
	for _, tc := range []struct {
		name   string
		bits   int
		from   []string
		closed int
	}{
		{"one address", 0, []string{"192.0.2.1", "192.0.2.1", "192.0.2.1"}, 1},
		{"neighbours", 0, []string{"192.0.2.1", "192.0.2.2", "192.0.2.3"}, 0},
		{"mapped addresses are the same", 0, []string{"192.0.2.1", "::ffff:192.0.2.1", "192.0.2.1"}, 1},
		{"one /64", 0, []string{"2001:db8::1", "2001:db8::2", "2001:db8::3"}, 1},
		{"two of a /56, counted by /64", 64, []string{"2001:db8:0:1::1", "2001:db8:0:2::1", "2001:db8:0:3::1"}, 0},
		{"two of a /56, counted by /56", 56, []string{"2001:db8:0:1::1", "2001:db8:0:2::1", "2001:db8:0:3::1"}, 1},
		{"exempt", 0, []string{"198.51.100.1", "198.51.100.1", "198.51.100.1"}, 0},
	} {
		t.Run("KS17 "+tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ln := newFakeListener()
				loop, stop := start(t, Config{
					Permits: 10, PerPrefix: 2, PrefixV6: tc.bits, Handle: holding,
					Exempt: func(a netip.Addr) bool { return a == netip.MustParseAddr("198.51.100.1") },
				}, ln)
				var peers []net.Conn
				for _, from := range tc.from {
					c, peer := dial(from)
					peers = append(peers, peer)
					ln.next <- c
					synctest.Wait()
					go func() { _, _ = peer.Write([]byte{1}) }()
					synctest.Wait()
				}
				if c := loop.Counters(); int(c.Prefix) != tc.closed || int(c.Accepted) != len(tc.from)-tc.closed {
					t.Errorf("%+v", c)
				}
				for _, p := range peers {
					_ = p.Close()
				}
				_ = stop()
				if n := len(loop.prefixes.open); n != 0 {
					t.Errorf("%d prefixes remembered for nothing", n)
				}
			})
		})
	}
}

func TestPrefixTable_IsCapped(t *testing.T) {
	p := newPrefixes(Config{PerPrefix: 1, PrefixV6: 64})
	a := netip.MustParseAddr("10.0.0.0")
	for range maxPrefixes + 10 {
		p.add(a)
		a = a.Next()
	}
	if len(p.open) != maxPrefixes {
		t.Errorf("%d entries", len(p.open))
	}
	if !p.room(a) || p.add(a).IsValid() {
		t.Error("a stranger beyond the table must go unlimited")
	}
}

func TestTimeout_IsOnEveryConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, peer := dial("192.0.2.1")
		loop, stop := start(t, Config{Timeout: 5 * time.Second, Handle: untilClosed}, newFakeListener(c))
		time.Sleep(5*time.Second + time.Millisecond)
		synctest.Wait()
		if !closedByServer(peer) || loop.Counters().Open != 0 {
			t.Error("connection outlived its deadline")
		}
		_ = stop()
	})
}

func TestRelease_FreesThePermitOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ln := newFakeListener()
		loop, stop := start(t, Config{Permits: 1, PerPrefix: 1, Handle: func(_ context.Context, c *Conn) {
			_, _ = c.Read(make([]byte, 1))
			c.Release()
			c.Release()
			_, _ = c.Read(make([]byte, 1))
		}}, ln)
		c1, p1 := dial("192.0.2.1")
		ln.next <- c1
		_, _ = p1.Write([]byte{1})
		synctest.Wait()
		if c := loop.Counters(); c.InUse != 0 || c.Open != 1 {
			t.Errorf("released: %+v", c)
		}
		c2, p2 := dial("192.0.2.1")
		ln.next <- c2
		synctest.Wait()
		if c := loop.Counters(); c.InUse != 1 || c.Open != 2 || c.Evicted != 0 {
			t.Errorf("second: %+v", c)
		}
		_, _ = p1.Close(), p2.Close()
		synctest.Wait()
		if c := loop.Counters(); c.InUse != 0 || c.Open != 0 {
			t.Errorf("closed: %+v", c)
		}
		_ = stop()
	})
}

func TestYield_MakesRoomAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ln := newFakeListener()
		loop, stop := start(t, Config{Permits: 1, Handle: func(_ context.Context, c *Conn) {
			_, _ = c.Read(make([]byte, 1))
			c.Hold()
			c.Yield()
			untilClosed(t.Context(), c)
		}}, ln)
		c1, p1 := dial("192.0.2.1")
		ln.next <- c1
		_, _ = p1.Write([]byte{1})
		synctest.Wait()
		c2, p2 := dial("192.0.2.2")
		ln.next <- c2
		synctest.Wait()
		if c := loop.Counters(); !closedByServer(p1) || c.Evicted != 1 || c.Accepted != 2 || c.InUse != 1 {
			t.Errorf("%+v", c)
		}
		_ = p2.Close()
		_ = stop()
	})
}

func TestSetRemote_CountsThePeerBehindTheProxy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ln := newFakeListener()
		user := netip.MustParseAddr("::ffff:203.0.113.7")
		results := make(chan bool, 3)
		proxy := netip.MustParseAddr("10.0.0.1")
		loop, stop := start(t, Config{Permits: 9, PerPrefix: 1, Exempt: func(a netip.Addr) bool { return a == proxy },
			Handle: func(_ context.Context, c *Conn) {
				ok := c.SetRemote(user)
				results <- ok
				if ok {
					untilClosed(t.Context(), c)
				}
			}}, ln)
		var peers []net.Conn
		for range 2 {
			c, peer := dial("10.0.0.1")
			peers = append(peers, peer)
			ln.next <- c
			synctest.Wait()
		}
		if a, b := <-results, <-results; !a || b {
			t.Errorf("first %v, second %v", a, b)
		}
		if loop.Counters().Prefix != 1 {
			t.Errorf("%+v", loop.Counters())
		}
		for _, p := range peers {
			_ = p.Close()
		}
		_ = stop()
	})
}

func TestPanic_IsContainedAndQuoted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		c1, _ := dial("192.0.2.1")
		loop, stop := start(t, Config{Log: zerolog.New(&log), Handle: func(context.Context, *Conn) {
			panic("peer sent \n\x1b[31m")
		}}, newFakeListener(c1))
		synctest.Wait()
		if c := loop.Counters(); c.Panics != 1 || c.Open != 0 || c.InUse != 0 {
			t.Errorf("%+v", c)
		}
		if !strings.Contains(log.String(), `\\n\\x1b[31m`) {
			t.Errorf("log: %s", log.String())
		}
		_ = stop()
	})
}

func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		idle, idlePeer := dial("192.0.2.1")
		quick, quickPeer := dial("192.0.2.2")
		stuck, stuckPeer := dial("192.0.2.3")
		late, latePeer := dial("192.0.2.4")
		mute, mutePeer := dial("192.0.2.5")
		ln := newFakeListener(idle, quick, stuck)
		loop := New(Config{Permits: 5, Drain: 2 * time.Second, Handle: func(ctx context.Context, c *Conn) {
			if _, err := c.Read(make([]byte, 1)); err != nil {
				return
			}
			<-ctx.Done()
			if a := c.Remote(); a == netip.MustParseAddr("192.0.2.2") || a == netip.MustParseAddr("192.0.2.4") {
				time.Sleep(time.Second)
				_, _ = c.Write([]byte{7})
				return
			}
			untilClosed(ctx, c)
		}})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- loop.Serve(ctx, ln) }()
		_, _ = quickPeer.Write([]byte{1})
		_, _ = stuckPeer.Write([]byte{1})
		synctest.Wait()
		time.Sleep(firstWord)
		ln.next <- late
		ln.next <- mute
		synctest.Wait()
		began := time.Now()
		cancel()
		synctest.Wait()
		if !closedByServer(idlePeer) {
			t.Error("idle connection not closed at once")
		}
		time.Sleep(firstWord / 2)
		if _, err := latePeer.Write([]byte{1}); err != nil {
			t.Errorf("a connection that was new when the loop stopped: %v", err)
		}
		if closedByServer(mutePeer) {
			t.Error("another new connection was closed at once")
		}
		var b [1]byte
		if _, err := quickPeer.Read(b[:]); err != nil || b[0] != 7 {
			t.Errorf("running exchange not finished: %v", err)
		}
		synctest.Wait()
		if d := time.Since(began); !closedByServer(mutePeer) || d > firstWord+10*time.Millisecond {
			t.Errorf("a connection that said nothing for %v is open", d)
		}
		if _, err := latePeer.Read(b[:]); err != nil || b[0] != 7 {
			t.Errorf("late exchange not finished: %v", err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		if d := time.Since(began); d < 2*time.Second || d > 2100*time.Millisecond {
			t.Errorf("drained in %v", d)
		}
		if !closedByServer(stuckPeer) {
			t.Error("stuck connection not closed")
		}
	})
}

// TestStop_ServesTheQueue: connections that wait to be accepted when the loop is told to stop are served, not reset.
func TestStop_ServesTheQueue(t *testing.T) {
	inner, err := Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln := &heldListener{TCPListener: inner.(*net.TCPListener), held: make(chan struct{}), told: make(chan struct{})}
	loop := New(Config{Permits: 50, Drain: 10 * time.Second, Handle: func(_ context.Context, c *Conn) {
		if _, err := c.Read(make([]byte, 1)); err == nil {
			_, _ = c.Write([]byte{7})
		}
	}})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- loop.Serve(ctx, ln) }()
	var peers []net.Conn
	for range 20 { // in the queue, because the listener is held
		c, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		peers = append(peers, c)
	}
	cancel()
	<-ln.told
	close(ln.held)
	for i, c := range peers {
		var b [1]byte
		_, errWrite := c.Write([]byte{1})
		if _, err := c.Read(b[:]); err != nil || b[0] != 7 {
			t.Errorf("connection %d: %v, %v", i, errWrite, err)
		}
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestStop_LeavesInTime: who goes on connecting does not keep the loop at a listener that it is to leave; that is told when it is so, and
// those who were accepted go on.
func TestStop_LeavesInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ln := &tricklingListener{fakeListener: newFakeListener()}
		left := time.Time{}
		loop := New(Config{Permits: 9999, Drain: time.Minute, Handle: untilClosed, Left: func() {
			left = time.Now()
			if _, err := ln.Accept(); err == nil {
				t.Error("the listener is still open")
			}
		}})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- loop.Serve(ctx, ln) }()
		time.Sleep(time.Second)
		begin := time.Now()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if d := left.Sub(begin); left.IsZero() || d > queueTotal+2*queueTime || d < queueTotal/2 {
			t.Errorf("left after %v", d)
		}
		if time.Since(left) < firstWord/2 {
			t.Error("told after the connections were done")
		}
	})
}

// tricklingListener has one more connection all the time, a moment before it would be left.
type tricklingListener struct {
	*fakeListener
	deadline atomic.Int64 // Unix time, ns; 0: none
}

func (l *tricklingListener) Accept() (net.Conn, error) {
	select {
	case <-l.closed:
		return nil, net.ErrClosed
	default:
		if end := l.deadline.Load(); end != 0 && time.Now().UnixNano() >= end {
			return nil, os.ErrDeadlineExceeded
		}
		time.Sleep(queueTime * 9 / 10)
		c, _ := dial("192.0.2.1")
		return c, nil
	}
}

func (l *tricklingListener) SetDeadline(end time.Time) error {
	l.deadline.Store(end.UnixNano())
	return nil
}

// heldListener accepts nothing before held is closed; told is closed when it is to stop.
type heldListener struct {
	*net.TCPListener
	held, told chan struct{}
	once       sync.Once
}

func (l *heldListener) Accept() (net.Conn, error) {
	<-l.held
	return l.TCPListener.Accept()
}

func (l *heldListener) SetDeadline(end time.Time) error {
	defer l.once.Do(func() { close(l.told) })
	return l.TCPListener.SetDeadline(end)
}

func (l *heldListener) Close() error {
	defer l.once.Do(func() { close(l.told) })
	return l.TCPListener.Close()
}

func TestListen_WithoutMultipath(t *testing.T) {
	ln, err := Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	loop := New(Config{Permits: 1, Handle: func(_ context.Context, c *Conn) {
		_, _ = io.WriteString(c, c.Remote().String())
	}})
	done := make(chan error)
	go func() { done <- loop.Serve(ctx, ln) }()
	c, err := Dial(ctx, "tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if mp, err := c.(*net.TCPConn).MultipathTCP(); err != nil || mp {
		t.Errorf("multipath %v, %v", mp, err)
	}
	if b, err := io.ReadAll(c); err != nil || string(b) != "127.0.0.1" {
		t.Errorf("%q, %v", b, err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestDial_Localhost: a name that RFC 6761 §6.3 ties to loopback is not looked up, and both families are tried.
func TestDial_Localhost(t *testing.T) {
	for _, listen := range []string{"127.0.0.1:0", "[::1]:0"} {
		ln, err := Listen(t.Context(), listen)
		if err != nil {
			t.Logf("%s: %v", listen, err) // no IPv6 here
			continue
		}
		defer ln.Close()
		_, port, _ := net.SplitHostPort(ln.Addr().String())
		c, err := Dial(t.Context(), "tcp", net.JoinHostPort("no-hosts-file-has.LOCALHOST.", port))
		if err != nil {
			t.Fatalf("%s: %v", listen, err)
		}
		if c.RemoteAddr().String() != ln.Addr().String() {
			t.Errorf("reached %v, want %v", c.RemoteAddr(), ln.Addr())
		}
		c.Close()
	}
}

// lateWake is a listener whose Accept fails at the moment when the loop is told to stop, before it is woken.
type lateWake struct {
	net.Listener
	ctx context.Context
	mu  sync.Mutex
	set []time.Time // deadlines, in their order
}

func (l *lateWake) Accept() (net.Conn, error) {
	<-l.ctx.Done()
	return nil, syscall.ECONNABORTED
}

func (l *lateWake) SetDeadline(d time.Time) error {
	if d.Before(time.Now().Add(-time.Hour)) {
		time.Sleep(20 * time.Millisecond) // the one who wakes is late
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.set = append(l.set, d)
	return nil
}

// TestLoop_WokenBeforeTheLastCall: what wakes Accept does not cut off the last call for those that wait in the queue.
func TestLoop_WokenBeforeTheLastCall(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln := &lateWake{Listener: inner, ctx: ctx}
	cancel()
	if err := New(Config{Handle: func(context.Context, *Conn) {}}).Serve(ctx, ln); err != nil {
		t.Error(err)
	}
	ln.mu.Lock()
	defer ln.mu.Unlock()
	if len(ln.set) != 2 || ln.set[1].Before(ln.set[0]) {
		t.Errorf("deadlines %v: want the past first, then the last call's", ln.set)
	}
}
