package poolke

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"ntp-daemon/internal/accept"
	"ntp-daemon/internal/config"
	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/nts"
	"ntp-daemon/internal/nts/aead"
	"ntp-daemon/internal/nts/ke"
	"ntp-daemon/internal/observe"
	"ntp-daemon/internal/pool"
	"ntp-daemon/internal/poolmonitor"
	"ntp-daemon/internal/server"
	"ntp-daemon/internal/source"
)

// timeServer is the NTP side of a time source, on loopback over both families at one port.
type timeServer struct {
	port  uint16
	conns [2]*net.UDPConn // IPv4, IPv6

	mu     sync.Mutex
	offset time.Duration
	view   ntp.View
	keys   *nts.KeySet // nil: no cookie is known
	access *server.Access
	silent bool
}

// set changes the behaviour.
func (s *timeServer) set(f func(*timeServer)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(s)
}

// newTimeServer opens the sockets; it serves when it is given keys.
func newTimeServer(t *testing.T) *timeServer {
	t.Helper()
	s := &timeServer{view: ntp.View{Stratum: 2, Dispersion: time.Millisecond, Precision: -20, Synchronized: true}}
	for try := 0; s.port == 0; try++ {
		four, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		port := four.LocalAddr().(*net.UDPAddr).Port
		six, err := net.ListenUDP("udp6", &net.UDPAddr{IP: net.IPv6loopback, Port: port})
		if err != nil && try == 10 {
			t.Skipf("no IPv6 loopback: %v", err)
		}
		if err != nil {
			_ = four.Close()
			continue
		}
		s.port, s.conns = uint16(port), [2]*net.UDPConn{four, six}
	}
	var wg sync.WaitGroup
	for _, c := range s.conns {
		wg.Go(func() { s.serve(c) })
	}
	t.Cleanup(func() {
		for _, c := range s.conns {
			_ = c.Close()
		}
		wg.Wait()
	})
	return s
}

func (s *timeServer) serve(c *net.UDPConn) {
	buf := make([]byte, ntp.MaxPacket)
	to := c.LocalAddr().(*net.UDPAddr).AddrPort()
	for {
		n, from, err := c.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		s.mu.Lock()
		now := func() ntp.Timestamp { return ntp.FromTime(time.Now().Add(s.offset)) }
		view, silent := s.view, s.silent
		view.Reference = now()
		r := server.NewResponder(server.Config{Rand: rand.Reader, Access: s.access})
		reply, _ := r.Respond(nil, &view, s.keys, &server.Datagram{Data: buf[:n], From: from, To: to, Received: now()}, now)
		s.mu.Unlock()
		if reply != nil && !silent {
			_, _ = c.WriteToUDPAddrPort(reply, from)
		}
	}
}

// whole adds a time source of ours with its NTP server.
func (w *testPool) whole(name string) *timeServer {
	w.t.Helper()
	s := newTimeServer(w.t)
	_, keys := w.real(name, "a token of "+name, func(c *ke.ServerConfig) {
		c.NTPPort, c.Algorithms = s.port, []aead.Algorithm{aead.GCMSIV128, aead.SIVCMAC256, aead.SIVCMAC512}
	})
	s.set(func(s *timeServer) { s.keys = keys })
	return s
}

// monitored makes the rounds short.
func (w *testPool) monitored() {
	w.cfg.Monitor = MonitorConfig{Enabled: true, NTPTimeout: 500 * time.Millisecond, Params: poolmonitor.Params{
		Interval: 300 * time.Millisecond, Spread: 20 * time.Millisecond, Retry: 30 * time.Millisecond, Believe: time.Minute,
	}}
}

// monitorDeps resolve every name to loopback.
func monitorDeps() Deps {
	return Deps{Lookup: func(context.Context, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()}, nil
	}}
}

// view is what the monitor knows of a time source.
func (w *testPool) view(i int, f poolmonitor.Family) poolmonitor.ViewStatus {
	m := w.pool.monitor
	m.mu.Lock()
	defer m.mu.Unlock()
	views, _ := m.core.Views(w.pool.snap.Load().directory.At(i).Name(), time.Now())
	return views[f]
}

// within waits for a condition for as long as a busy machine may need.
func within(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(40 * time.Second); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: waited in vain", what)
		}
	}
}

// allUsable reports whether every view of the time sources is proven.
func (w *testPool) allUsable() bool {
	for i := range w.cfg.Backends {
		for f := range poolmonitor.Families {
			if w.view(i, f).State != poolmonitor.Usable {
				return false
			}
		}
	}
	return true
}

// servers are the names that n users get, in no order.
func (w *testPool) servers(n int) (names []string) {
	w.t.Helper()
	for range n {
		res, err := w.keyExchange(nil)
		if err != nil {
			w.t.Fatal(err)
		}
		if !slices.Contains(names, res.Server) {
			names = append(names, res.Server)
		}
	}
	slices.Sort(names)
	return names
}

// TestMonitor is the whole way on loopback: time sources of ours are probed, one whose NTP is silent and one whose clock is wrong are not handed
// out although their key exchanges work, one is lost to users of IPv6 alone, and a restarted pool knows.
func TestMonitor(t *testing.T) {
	w := newTestPool(t)
	var sources []*timeServer
	for _, name := range []string{"one.example", "two.example", "three.example", "four.example", "five.example"} {
		sources = append(sources, w.whole(name))
	}
	w.monitored()
	w.cfg.Monitor.StatePath = filepath.Join(t.TempDir(), "scores.json")
	w.startWith(monitorDeps())
	within(t, "all are usable", w.allUsable)
	within(t, "every algorithm was tried", func() bool {
		o := w.pool.monitor.member(w.cfg.Backends[0].Name(), 5, time.Now())
		return len(o.Algorithms) == 3 && o.Views[0].Score > 4
	})
	if v := w.view(0, poolmonitor.IPv4); v.Offset.Abs() > 20*time.Millisecond || v.Reading.Delay <= 0 || v.Reading.Claimed < time.Millisecond {
		t.Errorf("view %+v", v)
	}

	sources[1].set(func(s *timeServer) { s.silent = true })
	sources[2].set(func(s *timeServer) { s.offset = 100 * time.Millisecond })
	_ = sources[3].conns[1].Close()
	out := func(i int, f poolmonitor.Family) func() bool {
		return func() bool { return w.view(i, f).State == poolmonitor.Out }
	}
	within(t, "silent one", out(1, poolmonitor.IPv4))
	within(t, "wrong one", out(2, poolmonitor.IPv4))
	within(t, "one without IPv6", out(3, poolmonitor.IPv6))
	if v := w.view(1, poolmonitor.IPv4); v.Reason != "no reply" {
		t.Errorf("silent one: %+v", v)
	}
	if v := w.view(2, poolmonitor.IPv4); !strings.HasPrefix(v.Reason, "its clock is off by 1") && !strings.HasPrefix(v.Reason, "its clock is off by 9") {
		t.Errorf("wrong one: %+v", v)
	}
	if v := w.view(3, poolmonitor.IPv4); v.State != poolmonitor.Usable {
		t.Errorf("one without IPv6, over IPv4: %+v", v)
	}
	if got := w.servers(12); !slices.Equal(got, []string{"five.example", "four.example", "one.example"}) {
		t.Errorf("users got %v", got)
	}
	up := w.pool.snap.Load().upstreams[3]
	if up.usable(pool.IPv6) || !up.usable(pool.IPv4) || !up.usable(pool.AnyFamily) {
		t.Error("a time source without IPv6 is for users of IPv4")
	}
	seen := (&observer{p: w.pool, loop: accept.New(accept.Config{})}).snapshot().Pool
	if m := seen.Monitor; m == nil || m.Rounds == 0 || m.Reference != observe.ReferenceMembers || m.ReferenceVoices < 3 || m.RoundAge < 0 {
		t.Errorf("monitor %+v", seen.Monitor)
	}
	if v := seen.Servers[1].Monitored.Views[0]; v.Verdict != observe.VerdictOut || v.Usable || v.Outcome != "no reply" || v.History.Failures[len(v.History.Failures)-1] == 0 {
		t.Errorf("%+v", v)
	}
	w.stop()
	if err := <-w.done; err != nil {
		t.Fatal(err)
	}
	w.done <- nil

	again := newTestPool(t)
	again.ca, again.cfg = w.ca, w.cfg
	again.cfg.Monitor.Params.Interval = time.Hour
	again.startWith(monitorDeps())
	within(t, "restored", func() bool { return !again.pool.snap.Load().upstreams[1].usable(pool.IPv4) })
	if v := again.view(0, poolmonitor.IPv4); v.Score < 4 || again.view(2, poolmonitor.IPv4).State != poolmonitor.Out {
		t.Errorf("after a restart: %+v", v)
	}
}

// TestMonitor_Kinds: what a time source can be unfit by, each with its word.
func TestMonitor_Kinds(t *testing.T) {
	w := newTestPool(t)
	deny, err := server.NewAccess(server.Rule{Prefixes: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}, Action: server.Deny}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var words []string
	for _, k := range []struct {
		name string
		edit func(*timeServer)
	}{
		{"good one", func(*timeServer) {}}, {"good two", func(*timeServer) {}}, {"good three", func(*timeServer) {}}, {"good four", func(*timeServer) {}}, {"good five", func(*timeServer) {}},
		{"not synchronised", func(s *timeServer) {
			s.view.Synchronized, s.view.Stratum, s.view.Leap = false, ntp.MaxStratum, ntp.LeapUnknown
		}},
		{"stratum of 8 or more", func(s *timeServer) { s.view.Stratum = 8 }},
		{"nts nak", func(s *timeServer) { s.keys = nil }},
		{"denied", func(s *timeServer) { s.access = deny }},
		{"root distance of 1 s or more", func(s *timeServer) { s.view.Dispersion = 2 * time.Second }},
	} {
		s := w.whole(strings.ReplaceAll(k.name, " ", "-") + ".example")
		s.set(k.edit)
		words = append(words, k.name)
	}
	w.monitored()
	w.startWith(monitorDeps())
	for i, name := range words {
		if strings.HasPrefix(name, "good") {
			within(t, name, func() bool { return w.view(i, poolmonitor.IPv4).State == poolmonitor.Usable })
			continue
		}
		within(t, name, func() bool { return w.view(i, poolmonitor.IPv4).State == poolmonitor.Out })
		if v := w.view(i, poolmonitor.IPv6); v.State == poolmonitor.Out && v.Reason != name {
			t.Errorf("%s: %q", name, v.Reason)
		}
	}
}

// TestMonitor_References: the clocks are compared with a source of the configuration, by whose measure two time sources of three are wrong
// and one is not, and which is found out to be silent.
func TestMonitor_References(t *testing.T) {
	w := newTestPool(t)
	ref := newTimeServer(t)
	for i, name := range []string{"one.example", "two.example", "three.example"} {
		w.whole(name).set(func(s *timeServer) { s.offset = time.Duration(i) / 2 * 100 * time.Millisecond })
	}
	w.monitored()
	w.cfg.Monitor.Sources = []config.Source{{Mode: source.ModeServer, Host: "localhost", Port: ref.port, PollMin: -2, PollMax: 10, PollInitial: -2, Version: 4}}
	w.startWith(monitorDeps())
	within(t, "wrong one", func() bool { return w.view(2, poolmonitor.IPv4).State == poolmonitor.Out })
	within(t, "the reference is in use", func() bool { return w.pool.monitor.observed(time.Now()).Reference == observe.ReferenceSources })
	if w.view(0, poolmonitor.IPv4).State != poolmonitor.Usable || w.view(1, poolmonitor.IPv4).State != poolmonitor.Usable {
		t.Error("right ones are out")
	}
	if o := w.pool.monitor.observed(time.Now()); o.ClockOffset > 0.05 || o.ClockOffset < -0.05 {
		t.Errorf("our clock is off by %v", o.ClockOffset)
	}
	ref.set(func(s *timeServer) { s.silent = true })
	r := w.pool.monitor.refs
	within(t, "silence", func() bool { return r.conditions(r.scale.start.Add(time.Minute)).Silent })
}

// TestMonitor_Algorithm: an algorithm that does not work at a time source is not negotiated with its users.
func TestMonitor_Algorithm(t *testing.T) {
	w := newTestPool(t)
	w.whole("one.example")
	w.start()
	exchange := func() aead.Algorithm {
		res, err := w.keyExchange([]aead.Algorithm{aead.GCMSIV128, aead.SIVCMAC256})
		if err != nil {
			t.Fatal(err)
		}
		return res.Algorithm
	}
	if a := exchange(); a != aead.GCMSIV128 {
		t.Errorf("got %v", a)
	}
	v := &poolmonitor.Verdict{Usable: [poolmonitor.Families]bool{true, true}, Lacks: []aead.Algorithm{aead.GCMSIV128}}
	w.pool.snap.Load().upstreams[0].verdict.Store(v)
	if a := exchange(); a != aead.SIVCMAC256 {
		t.Errorf("got %v", a)
	}
}

// TestMonitor_Reload: who comes by a reload is on probation, who stays keeps its score, and when nobody is usable all are used and that is counted.
func TestMonitor_Reload(t *testing.T) {
	w := newTestPool(t)
	w.whole("one.example")
	w.whole("two.example")
	w.monitored()
	w.startWith(monitorDeps())
	within(t, "usable", w.allUsable)
	w.whole("three.example")
	if err := w.pool.Swap(w.cfg); err != nil {
		t.Fatal(err)
	}
	ups := w.pool.snap.Load().upstreams
	if ups[2].usable(pool.IPv4) || !ups[0].usable(pool.IPv4) {
		t.Error("the new one is on probation, the old one is not")
	}
	if got := w.servers(6); !slices.Equal(got, []string{"one.example", "two.example"}) {
		t.Errorf("users got %v", got)
	}
	for _, u := range ups {
		u.verdict.Store(&poolmonitor.Verdict{})
	}
	w.pool.monitor.mu.Lock() // no verdict is published meanwhile
	res, err := w.keyExchange(nil)
	w.pool.monitor.mu.Unlock()
	if err != nil {
		t.Fatalf("nobody is usable: %v", err)
	}
	if w.pool.monitor.allOut.Load() == 0 {
		t.Errorf("served by %s, and not counted", res.Server)
	}
	within(t, "the new one has earned its score", func() bool { return ups[2].usable(pool.IPv4) })
}

// flap makes the addresses unreachable for a pool, now and then.
type flap struct {
	mu   sync.Mutex
	down map[string]bool
	open map[string][]net.Conn
}

func (f *flap) dial(ctx context.Context, network, address string) (net.Conn, error) {
	f.mu.Lock()
	down := f.down[address]
	f.mu.Unlock()
	if down {
		return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
	}
	c, err := accept.Dial(ctx, network, address)
	if err == nil {
		f.mu.Lock()
		f.open[address] = append(f.open[address], c)
		f.mu.Unlock()
	}
	return c, err
}

func (f *flap) set(address string, down bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down[address] = down
	if down {
		for _, c := range f.open[address] {
			_ = c.Close()
		}
		f.open[address] = nil
	}
}

// TestD3_45_HalfDeadOneFlapping: with half of the time sources dead and one that comes and goes, at least 999 of 1000 users are served once the
// monitor has seen it.
func TestD3_45_HalfDeadOneFlapping(t *testing.T) {
	w := newTestPool(t)
	for i := range 6 {
		w.whole(fmt.Sprintf("s%d.example", i))
	}
	address := func(i int) string {
		b := w.cfg.Backends[i]
		return netip.AddrPortFrom(b.Addresses[0], b.Port).String()
	}
	f := &flap{down: map[string]bool{}, open: map[string][]net.Conn{}}
	for i := range 3 {
		f.down[address(i)] = true
	}
	w.monitored()
	d := monitorDeps()
	d.Dial = f.dial
	w.startWith(d)
	within(t, "dead ones are out", func() bool {
		for i := range 3 {
			if w.view(i, poolmonitor.IPv4).State != poolmonitor.Out {
				return false
			}
		}
		return true
	})
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for down := true; ; down = !down {
			f.set(address(3), down)
			select {
			case <-stop:
				return
			case <-time.After(150 * time.Millisecond):
			}
		}
	}()
	const users = 1200
	var failed []error
	for range users {
		if _, err := w.keyExchange([]aead.Algorithm{aead.SIVCMAC256}); err != nil {
			failed = append(failed, err)
		}
	}
	close(stop)
	<-stopped
	t.Logf("%d of %d users were served", users-len(failed), users)
	if len(failed)*1000 > users {
		t.Errorf("%d of %d users were not served: %v", len(failed), users, errors.Join(failed...))
	}
}

// TestD3_46_PoolOfPools: a time source that is this pool itself, or another one, is found out and refused.
func TestD3_46_PoolOfPools(t *testing.T) {
	other := newTestPool(t)
	other.whole("far.example")
	other.whole("farther.example")
	other.start()

	w := newTestPool(t)
	for _, name := range []string{"one.example", "two.example", "three.example"} {
		w.whole(name)
	}
	ln := w.listen()
	w.list("pool.example", ln.Addr().(*net.TCPAddr).AddrPort())
	w.monitored()
	cert := w.ca.Leaf("other-pool.example")
	swapped := other.cfg
	swapped.Certificate = &cert
	if err := other.pool.Swap(swapped); err != nil {
		t.Fatal(err)
	}
	w.list("other-pool.example", other.addr)
	d := monitorDeps()
	d.Listen = func(context.Context, string) (net.Listener, error) { return ln, nil }
	w.startWith(d)
	for i, name := range map[int]string{3: "this pool", 4: "another pool"} {
		within(t, name, func() bool { return w.view(i, poolmonitor.IPv4).State == poolmonitor.Out })
		if v := w.view(i, poolmonitor.IPv4); v.Reason != "is a pool" {
			t.Errorf("%s: %q", name, v.Reason)
		}
	}
	if got := w.servers(8); !slices.Equal(got, []string{"one.example", "three.example", "two.example"}) {
		t.Errorf("users got %v", got)
	}
}

// TestD3_47_ClockWrong: on a host whose clock is years off no certificate is valid. Nobody is taken out for it, certificates are checked all the same, so
// users are told that there is no server, and operators are told why.
func TestD3_47_ClockWrong(t *testing.T) {
	w := newTestPool(t)
	for _, name := range []string{"one.example", "two.example", "three.example"} {
		w.whole(name)
	}
	w.monitored()
	d := monitorDeps()
	d.Now = func() time.Time { return time.Now().AddDate(-30, 0, 0) }
	w.startWith(d)
	within(t, "said so", func() bool { return w.pool.monitor.observed(time.Now()).ClockOutOfRange })
	o := w.pool.monitor.observed(time.Now())
	if o.VoidRounds == 0 || o.Void != "most certificates are not valid by this host's clock" {
		t.Errorf("%+v", o)
	}
	for i := range w.cfg.Backends {
		if !w.pool.snap.Load().upstreams[i].usable(pool.IPv4) {
			t.Errorf("time source %d is out", i)
		}
	}
	if answer, _ := w.ask(request15); !slices.Equal(answer, error2) {
		t.Errorf("answer %x", answer)
	}
	within(t, "logged", func() bool {
		return strings.Count(w.log.String(), "are not valid by this host's clock: set it") == 1
	})
}
