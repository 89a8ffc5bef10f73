package daemon

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/netip"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"ntp-daemon/internal/config"
	"ntp-daemon/internal/fastpath"
	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/program"
	"ntp-daemon/internal/server"
)

// fastDaemon is a daemon of three servers: two on eth0, and one that is down.
func fastDaemon(t *testing.T) *Daemon {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	d := &Daemon{cfg: &config.Config{Process: config.Process{XDPPath: filepath.Join(t.TempDir(), "xdp")}}, log: zerolog.Nop(), group: newGroup(ctx, zerolog.Nop())}
	for _, s := range []config.Server{
		{Listen: netip.MustParseAddrPort("[::]:123"), XDP: "eth0", Responder: server.Config{Versions: server.DefaultVersions}},
		{Listen: netip.MustParseAddrPort("192.0.2.1:123")},
		{Listen: netip.MustParseAddrPort("[::]:124"), XDP: "eth0"},
	} {
		l := &listener{address: s.Listen}
		l.rules.Store(&s)
		l.part = program.NewPart("server", zerolog.Nop(), func() error { return nil }, nil)
		if s.Listen.Port() != 124 {
			_ = l.part.Try()
		}
		d.servers, d.cfg.Servers = append(d.servers, l), append(d.cfg.Servers, s)
	}
	d.view.Store(&ntp.View{Stratum: 3, Synchronized: true})
	return d
}

// TestFastPath: ntp-xdp hears the policy and the state, again when one has changed, and what it reports is among the counters, also
// when it is gone.
func TestFastPath(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs Linux, which says whose process the other end is")
	}
	d := fastDaemon(t)
	if err := d.openFastPath(); err != nil || d.fastPath.part.Down() != nil {
		t.Fatalf("%v, %+v", err, d.fastPath.part.Down())
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- d.fastPath.serve(ctx) }()
	defer func() {
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
		d.group.wg.Wait()
	}()
	c, err := fastpath.Dial(t.Context(), d.cfg.Process.XDPPath)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	read := func() (o fastpath.Order) {
		t.Helper()
		if err := fastpath.Read(c, &o); err != nil {
			t.Fatal(err)
		}
		return o
	}
	p := read().Policy
	if p == nil || len(p.Interfaces) != 1 || len(p.Interfaces[0].Listeners) != 2 || !p.Interfaces[0].Listeners[0].Fast || p.Interfaces[0].Listeners[1].Fast {
		t.Fatalf("policy %+v: want the two servers that are up, and the one with xdp alone fast", p)
	}
	if s := read().State; s == nil || s.Header[1] != 3 {
		t.Fatalf("state %+v", s)
	}

	d.view.Store(&ntp.View{Stratum: 4, Synchronized: true})
	offer(d.fastPath.changed, struct{}{})
	for s := read().State; s.Header[1] != 4; s = read().State { // renewals may come between
	}
	lists := *d.servers[0].rules.Load()
	lists.Deny.Prefixes = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	d.followLists(d.servers[0], lists)
	for o := read(); o.Policy == nil || len(o.Policy.Interfaces[0].Listeners[0].Deny) != 1; o = read() {
	}

	counts := []fastpath.Counts{{Address: d.servers[0].address, Packets: [fastpath.Outcomes]uint64{5, 1, 2, 3}}}
	if err := fastpath.Write(c, &fastpath.Report{Attached: []fastpath.Attached{{Interface: "eth0", Mode: fastpath.Driver, Counts: counts}}}); err != nil {
		t.Fatal(err)
	}
	for d.fastSnapshot(d.servers[0]).Mode != "driver" {
		read() // the next renewal comes after the report, or after the one that follows
	}
	if s := d.fastSnapshot(d.servers[0]); s.Answered != 5 || s.Resting != 1 || s.Listed != 2 || s.Other != 3 || s.Reason != "" {
		t.Errorf("%+v", s)
	}
	if got := d.totals(d.servers[0]); got.Received != 5 || got.Accepted != 5 || got.ByVerdict[server.Answered] != 5 {
		t.Errorf("%+v", got)
	}
	if err := fastpath.Write(c, &fastpath.Report{Error: "interface eth0: gone"}); err != nil {
		t.Fatal(err)
	}
	for { // the daemon closes the connection
		if err := fastpath.Read(c, new(fastpath.Order)); err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, context.Canceled) {
				t.Logf("the end: %v", err)
			}
			break
		}
	}
	next, err := fastpath.Dial(t.Context(), d.cfg.Process.XDPPath)
	if err != nil {
		t.Fatal(err)
	}
	c = next
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	read() // whoever is attended now, the last one has been left
	if s := d.fastSnapshot(d.servers[0]); s.Answered != 5 || s.Mode != "" || s.Reason != "ntp-xdp has ended: interface eth0: gone" {
		t.Errorf("after its end: %+v", s)
	}
	if s := d.fastSnapshot(d.servers[1]); s != nil {
		t.Errorf("a server without xdp: %+v", s)
	}
}

// TestFastPath_LongLists: lists that no message holds end the fast path with a reason that both sides tell, and whoever connects
// next is served as soon as they are shorter.
func TestFastPath_LongLists(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs Linux, which says whose process the other end is")
	}
	d := fastDaemon(t)
	var log bytes.Buffer
	d.log = zerolog.New(&log)
	if err := d.openFastPath(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- d.fastPath.serve(ctx) }()
	long := make([]netip.Prefix, 400_000)
	for i := range long {
		long[i] = netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, byte(i >> 16), byte(i >> 8), byte(i), 1}), 64)
	}
	lists := func(prefixes []netip.Prefix) {
		s := *d.servers[0].rules.Load()
		s.Deny.Prefixes = prefixes
		d.followLists(d.servers[0], s)
	}
	heard := func() (last fastpath.Order, err error) {
		c, err := fastpath.Dial(t.Context(), d.cfg.Process.XDPPath)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(time.Minute))
		for {
			var o fastpath.Order
			if err := fastpath.Read(c, &o); err != nil {
				return last, err
			}
			last = o
			if o.Policy != nil && len(o.Policy.Interfaces[0].Listeners[0].Deny) == 1 {
				return o, nil
			}
			if o.Policy != nil {
				lists(long)
			}
		}
	}
	for _, when := range []string{"a reload", "the next one that comes"} {
		if o, err := heard(); err != io.EOF || o.Error != errLongLists.Error() {
			t.Errorf("%s: %v, %+v", when, err, o)
		}
	}
	if s := d.fastSnapshot(d.servers[0]); s.Reason != errLongLists.Error() {
		t.Errorf("%+v", s)
	}
	lists(long[:1])
	if o, err := heard(); err != nil || o.Policy == nil {
		t.Errorf("shorter lists: %v, %+v", err, o)
	}
	stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
	d.group.wg.Wait()
	if want := `"error":"the access lists of the servers with xdp are longer than a message to ntp-xdp; write fewer or shorter prefixes`; !strings.Contains(log.String(), want) ||
		!strings.Contains(log.String(), "the sockets answer all") {
		t.Errorf("log: %s", log.String())
	}
}

// TestFastReport: what several helpers and interfaces counted for one address is one sum.
func TestFastReport(t *testing.T) {
	a, b := netip.MustParseAddrPort("[::]:123"), netip.MustParseAddrPort("[::]:124")
	one := func(at netip.AddrPort, n uint64) fastpath.Counts {
		return fastpath.Counts{Address: at, Packets: [fastpath.Outcomes]uint64{n}}
	}
	r := fastReport{
		before:   merged([]fastpath.Counts{one(a, 1), one(b, 10), one(a, 2)}),
		attached: []fastpath.Attached{{Counts: []fastpath.Counts{one(a, 4), one(b, 20)}}, {Counts: []fastpath.Counts{one(a, 8)}}},
	}
	if len(r.before) != 2 || r.packets(a)[0] != 15 || r.packets(b)[0] != 30 {
		t.Errorf("%+v: %v, %v", r, r.packets(a), r.packets(b))
	}
}

// TestFastListener_Lists: the lists go only to where something is answered; those of a server without xdp may be longer than a message.
func TestFastListener_Lists(t *testing.T) {
	list := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	l := &listener{}
	l.rules.Store(&config.Server{XDP: "eth0", Deny: server.Rule{Prefixes: list}, Allow: server.Rule{Prefixes: list}})
	if f := l.fastListener("eth0"); !f.Fast || len(f.Deny) != 1 || len(f.Allow) != 1 || !f.Limited {
		t.Errorf("its own interface: %+v", f)
	}
	if f := l.fastListener("eth1"); f.Fast || f.Deny != nil || f.Allow != nil {
		t.Errorf("another interface: %+v", f)
	}
}
