package daemon

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	beevik "github.com/beevik/ntp"
	"github.com/rs/zerolog"

	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/nts"
	"ntp-daemon/internal/server"
	"ntp-daemon/internal/udp"
)

// served is a worker on the loopback interface.
type served struct {
	address  netip.AddrPort
	view     atomic.Pointer[ntp.View]
	keys     atomic.Pointer[nts.KeySet]
	access   atomic.Pointer[server.Access]
	counters server.Counters
	log      bytes.Buffer // read after end only
	end      func() error
}

func hostClock() ntp.Timestamp { return ntp.FromTime(time.Now()) }

// serve runs a worker until the test ends; change may alter it before it starts.
func serve(t testing.TB, c server.Config, change func(*worker)) *served {
	t.Helper()
	sockets, err := udp.Listen(udp.ListenConfig{
		Address: netip.MustParseAddrPort("127.0.0.1:0"), Clock: udp.Clock{Now: hostClock},
	})
	if err != nil {
		t.Fatal(err)
	}
	s := &served{address: sockets[0].LocalAddr()}
	c.Lead = new(server.Lead)
	now := hostClock()
	s.view.Store(&ntp.View{
		Stratum: 1, RefID: ntp.RefIDFromString("TEST"), Reference: now, Dispersion: time.Millisecond, Precision: -20, Synchronized: true,
	})
	w := &worker{
		socket: sockets[0], responder: server.NewResponder(c), view: &s.view, keys: &s.keys, access: &s.access,
		readClock: hostClock, epoch: func() (e server.Epoch) { return e }, counters: &s.counters, log: zerolog.New(&s.log), lead: c.Lead,
		table: c.Interleaves,
	}
	if change != nil {
		change(w)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.run(ctx) }()
	ended := false
	s.end = func() error {
		if ended {
			return nil
		}
		ended = true
		cancel()
		select {
		case err := <-done:
			return err
		case <-time.After(2 * time.Second):
			return errors.New("worker did not end within 2 s")
		}
	}
	t.Cleanup(func() {
		if err := s.end(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func (s *served) totals() (sum server.Totals) {
	s.counters.AddTo(&sum)
	return sum
}

// await waits until the counters say what is expected: the reply reaches a client before it is counted.
func (s *served) await(t *testing.T, what string, ok func(server.Totals) bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Second); !ok(s.totals()); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: %+v", what, s.totals())
		}
	}
}

// query asks with the independent client, which may panic on what a server says.
func query(address netip.AddrPort, o beevik.QueryOptions) (r *beevik.Response, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = errors.New("beevik/ntp panicked")
		}
	}()
	o.Timeout = 2 * time.Second
	return beevik.QueryWithOptions(address.String(), o)
}

// The answers that leave together share one reading of the clock, until something else than a plain answer comes between them.
func TestWorker_ReadsTheClockOnceForAGroup(t *testing.T) {
	var readings atomic.Int64
	busy, goOn := make(chan struct{}), make(chan struct{})
	s := serve(t, server.Config{}, func(w *worker) {
		w.readClock = func() ntp.Timestamp {
			if readings.Add(1) == 1 {
				close(busy)
				<-goOn
			}
			return hostClock()
		}
	})
	c, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(s.address))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ask := func(n, length int) {
		for range n {
			p := make([]byte, length)
			p[0] = 0x23
			if _, err := c.Write(p); err != nil {
				t.Fatal(err)
			}
		}
	}
	ask(1, 48)
	<-busy
	// While the worker is busy with the first, the next batch comes together: a group and a half, with a short one in the first.
	ask(server.SendEvery/4, 48)
	ask(1, 47)
	ask(server.SendEvery+server.SendEvery/4, 48)
	close(goOn)
	const all = 2 + server.SendEvery + 2*(server.SendEvery/4)
	s.await(t, "all received", func(sum server.Totals) bool { return sum.Received == all })
	if n := readings.Load(); n != 1+2+1 {
		t.Errorf("%d readings", n)
	}
}

func TestWorker_IndependentClient(t *testing.T) {
	s := serve(t, server.Config{}, nil)
	for _, version := range []int{3, 4} {
		r, err := query(s.address, beevik.QueryOptions{Version: version})
		if err != nil {
			t.Fatalf("version %d: %v", version, err)
		}
		if err := r.Validate(); err != nil {
			t.Errorf("version %d: %v", version, err)
		}
		if r.Stratum != 1 || r.ReferenceID != uint32(ntp.RefIDFromString("TEST")) || r.ClockOffset.Abs() > 50*time.Millisecond || r.Version != version {
			t.Errorf("version %d: %+v", version, r)
		}
	}
	// A MAC whose key we do not know: a plain answer that the client does not take for authentic.
	for _, kind := range []beevik.AuthType{beevik.AuthMD5, beevik.AuthSHA1, beevik.AuthSHA256, beevik.AuthAES128} {
		o := beevik.QueryOptions{Auth: beevik.AuthOptions{Type: kind, Key: "HEX:00112233445566778899aabbccddeeff", KeyID: 7}}
		r, err := query(s.address, o)
		if !errors.Is(err, beevik.ErrAuthFailed) && (r == nil || !errors.Is(r.Validate(), beevik.ErrAuthFailed)) {
			t.Errorf("MAC of kind %d: %v", kind, err)
		}
	}
	s.await(t, "two plain and four with a MAC", func(sum server.Totals) bool { return sum.Received == 6 && sum.Accepted == 6 })
}

func TestWorker_FollowsViewAndAccess(t *testing.T) {
	s := serve(t, server.Config{}, nil)
	s.view.Store(nil)
	r, err := query(s.address, beevik.QueryOptions{})
	if err != nil || r.Leap != beevik.LeapNotInSync || r.Stratum != 0 {
		t.Errorf("not synchronised: %+v, %v", r, err)
	}
	lists, err := server.NewAccess(server.Rule{Prefixes: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Action: server.Deny}, nil)
	if err != nil {
		t.Fatal(err)
	}
	s.access.Store(lists)
	if r, err = query(s.address, beevik.QueryOptions{}); err != nil || !r.IsKissOfDeath() || r.KissCode != "DENY" {
		t.Errorf("denied: %+v, %v", r, err)
	}
}

// TestS17_DualStack: on a socket for both families a client of IPv4 is judged by the prefixes of IPv4, however they are
// spelled, and by no prefix of IPv6.
func TestS17_DualStack(t *testing.T) {
	sockets, err := udp.Listen(udp.ListenConfig{Address: netip.MustParseAddrPort("[::]:0"), Clock: udp.Clock{Now: hostClock}})
	if err != nil {
		t.Skipf("no IPv6: %v", err)
	}
	s := serve(t, server.Config{}, func(w *worker) {
		_ = w.socket.Close()
		w.socket = sockets[0]
	})
	v4 := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), sockets[0].LocalAddr().Port())
	for prefix, denied := range map[string]bool{
		"127.0.0.0/8": true, "127.0.0.1/32": true, "::ffff:127.0.0.0/104": true, "126.0.0.0/8": false, "127.0.0.0/32": false,
		"::/0": false, "::1/128": false, "0.0.0.0/1": true, "128.0.0.0/1": false,
	} {
		lists, err := server.NewAccess(server.Rule{Prefixes: []netip.Prefix{netip.MustParsePrefix(prefix)}, Action: server.Deny}, nil)
		if err != nil {
			t.Fatal(err)
		}
		s.access.Store(lists)
		if r, err := query(v4, beevik.QueryOptions{}); err != nil || r.IsKissOfDeath() != denied {
			t.Errorf("%s: %+v, %v", prefix, r, err)
		}
	}
}

func TestL09_PanicLosesOnePacket(t *testing.T) {
	bad := true
	s := serve(t, server.Config{}, func(w *worker) {
		w.readClock = func() ntp.Timestamp {
			if bad {
				bad = false
				panic("injected")
			}
			return hostClock()
		}
	})
	c, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(s.address))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	request := make([]byte, 48)
	request[0] = 0x23
	for range 2 {
		if _, err := c.Write(request); err != nil {
			t.Fatal(err)
		}
	}
	_ = c.SetReadDeadline(time.Now().Add(2 * time.Second))
	if n, err := c.Read(make([]byte, 100)); err != nil || n != 48 {
		t.Errorf("%d bytes, %v", n, err)
	}
	s.await(t, "one answered, one lost", func(sum server.Totals) bool {
		return sum.Received == 2 && sum.Accepted == 1 && sum.ByVerdict[server.Panicked] == 1
	})
	if err := s.end(); err != nil {
		t.Error(err)
	}
	if text := s.log.String(); !strings.Contains(text, "injected") || strings.Count(text, "\n") != 1 {
		t.Errorf("log: %s", text)
	}
}

func TestS21_MalformedPacketsAreNotLogged(t *testing.T) {
	s := serve(t, server.Config{}, nil)
	c, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(s.address))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	sent := uint64(100_000)
	if testing.Short() {
		sent = 2000
	}
	for i := range sent {
		if _, err := c.Write(bytes.Repeat([]byte{byte(i)}, int(i%120))); err != nil {
			t.Fatal(err)
		}
	}
	r, err := query(s.address, beevik.QueryOptions{})
	for n := 0; n < 5 && err != nil; n++ { // the queue may still be full of the flood
		r, err = query(s.address, beevik.QueryOptions{})
	}
	if err != nil || r.Validate() != nil {
		t.Errorf("after the flood: %v", err)
	}
	if err := s.end(); err != nil {
		t.Error(err)
	}
	if s.log.Len() > 0 {
		t.Errorf("log: %s", s.log.String())
	}
	sum := s.totals()
	if sum.Received != sum.Accepted+sum.Ignored || sum.Received < sent/100 {
		t.Errorf("%+v", sum)
	}
}

func TestL03_WorkerEndsWithItsContext(t *testing.T) {
	s := serve(t, server.Config{}, nil)
	start := time.Now()
	if err := s.end(); err != nil || time.Since(start) > 2*time.Second {
		t.Errorf("%v after %v", err, time.Since(start))
	}
	if _, err := udp.Listen(udp.ListenConfig{Address: s.address, Clock: udp.Clock{Now: hostClock}}); err != nil {
		t.Errorf("address not free: %v", err)
	}
}

// brokenSocket fails to receive until it is interrupted.
type brokenSocket struct {
	calls  atomic.Int64
	closed atomic.Bool
	err    error
}

func (b *brokenSocket) Receive(*udp.Batch) error                     { b.calls.Add(1); return b.err }
func (b *brokenSocket) Send(*udp.Batch) int                          { return 0 }
func (b *brokenSocket) Sent(*udp.Batch, func(uint32, ntp.Timestamp)) {}
func (b *brokenSocket) Interrupt()                                   {}
func (b *brokenSocket) Dropped() uint64                              { return 0 }
func (b *brokenSocket) Close() error                                 { b.closed.Store(true); return nil }

func TestS24_ReceiveErrorsDoNotSpin(t *testing.T) {
	sock := &brokenSocket{err: errors.New("network is down")}
	w := &worker{socket: sock, responder: server.NewResponder(server.Config{}), view: new(atomic.Pointer[ntp.View]),
		keys: new(atomic.Pointer[nts.KeySet]), counters: new(server.Counters)}
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	if err := w.run(ctx); err != nil {
		t.Error(err)
	}
	if n := sock.calls.Load(); n < 2 || n > 10 {
		t.Errorf("%d calls in 300 ms", n)
	}
	if !sock.closed.Load() {
		t.Error("socket not closed")
	}
}

func TestWorker_ForeignCloseIsAnError(t *testing.T) {
	sock := &brokenSocket{err: udp.ErrClosed}
	w := &worker{socket: sock}
	if err := w.run(context.Background()); !errors.Is(err, udp.ErrClosed) {
		t.Errorf("error %v", err)
	}
}
