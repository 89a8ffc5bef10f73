package xdp

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ntp-daemon/internal/fastpath"
	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/server"
)

// What the kernel does with a packet (linux/bpf.h).
const (
	xdpPass = 2
	xdpTX   = 3
)

// world is one loaded program with what it was told, and the Responders that it must agree with.
type world struct {
	t      testing.TB
	kernel *kernelSide
	policy fastpath.Interface
	view   ntp.View
	states *publisher
}

var (
	own4    = netip.MustParseAddr("192.0.2.1")
	own6    = netip.MustParseAddr("2001:db8::1")
	client4 = netip.MustParseAddr("192.0.2.99")
	client6 = netip.MustParseAddr("2001:db8::99")
	// What else the host has: addresses of other interfaces, and the broadcast address of this one's network.
	elsewhere4, elsewhere6, broadcast4 = netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("2001:db8:5::1"), netip.MustParseAddr("192.0.2.255")
)

// newWorld loads the program with three servers: port 123 for everybody, 124 with access lists, 125 without a fast path and
// 126 for version 3 alone.
func newWorld(t testing.TB, mode fastpath.Mode) *world {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root to load programs into the kernel")
	}
	const v34 = uint8(server.DefaultVersions)
	all := []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
	w := &world{t: t, policy: fastpath.Interface{Name: "eth0", Listeners: []fastpath.Listener{
		{Address: netip.MustParseAddrPort("[::]:123"), Fast: true, Versions: v34, Limited: true, Allow: all},
		{Address: netip.MustParseAddrPort("[::]:124"), Fast: true, Versions: v34,
			Deny:    []netip.Prefix{netip.MustParsePrefix("192.0.2.64/26"), netip.MustParsePrefix("2001:db8::/112"), netip.MustParsePrefix("::/96")},
			Limited: true, Allow: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.51.100.7/32"), netip.MustParsePrefix("2001:db8::/32")}},
		{Address: netip.MustParseAddrPort("[::]:125"), Versions: v34},
		{Address: netip.MustParseAddrPort("192.0.2.1:126"), Fast: true, Versions: uint8(server.VersionSet(3))},
	}}}
	var err error
	if w.kernel, err = load(&w.policy, ownMAC[:], mode); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.kernel.Close)
	for d, s := range destinations(&w.policy, []netip.Addr{own4, own6}) {
		if err := w.kernel.Destinations.Put(d, s); err != nil {
			t.Fatal(err)
		}
	}
	for _, a := range []netip.Addr{own4, own6, elsewhere4, elsewhere6, broadcast4} {
		if err := w.kernel.Own.Put(a.As16(), uint8(1)); err != nil {
			t.Fatal(err)
		}
	}
	w.states = &publisher{current: w.kernel.Current, states: w.kernel.States}
	now := realtime(t)
	w.publish(ntp.View{
		Leap: ntp.LeapNone, Stratum: 2, RefID: 0xc0000207, Reference: now.Add(-100 * time.Second), RootDelay: 12345678 * time.Nanosecond,
		Dispersion: 3456789 * time.Nanosecond, Wander: 1.5e-6, Precision: -24, Synchronized: true,
	})
	return w
}

// realtime reads the kernel's clock as the daemon does.
func realtime(t testing.TB) ntp.Timestamp {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_REALTIME, &ts); err != nil {
		t.Fatal(err)
	}
	return ntp.FromUnix(ts.Unix())
}

// publish puts a view in force for an hour.
func (w *world) publish(v ntp.View) {
	w.t.Helper()
	w.view = v
	s := fastpath.NewState(server.Template(&w.view), &w.view)
	c, err := readClocks()
	if err != nil {
		w.t.Fatal(err)
	}
	w.states.last = time.Time{} // nobody else looks at the slots
	if err := w.states.publish(&s, c, c.monotonic+time.Hour); err != nil {
		w.t.Fatal(err)
	}
}

// run sends a frame through the program.
func (w *world) run(in []byte) (verdict uint32, out []byte) {
	w.t.Helper()
	verdict, out, err := w.kernel.Program.Test(in)
	if err != nil {
		w.t.Fatal(err)
	}
	return verdict, out
}

// check holds an outcome against what it may be: untouched, or turned into what the Responder of that server says.
func (w *world) check(in []byte, verdict uint32, out []byte) {
	w.t.Helper()
	switch verdict {
	case xdpPass:
		if !bytes.Equal(in, out) {
			w.t.Errorf("passed on, but changed:\n% x\n% x", in, out)
		}
		return
	case xdpTX:
	default:
		w.t.Fatalf("verdict %d for % x", verdict, in)
	}
	if len(out) != len(in) {
		w.t.Fatalf("reply of %d bytes to %d", len(out), len(in))
	}
	if !bytes.Equal(out[:6], in[6:12]) || !bytes.Equal(out[6:12], in[:6]) || !bytes.Equal(out[12:14], in[12:14]) {
		w.t.Errorf("Ethernet: % x for % x", out[:14], in[:14])
	}
	src, dst, request, whole := datagram(in)
	from, to, reply, wholeReply := datagram(out)
	if !whole || !wholeReply {
		w.t.Fatalf("whole: request %v, reply %v: % x\n% x", whole, wholeReply, in, out)
	}
	if from != dst || to != src {
		w.t.Fatalf("reply from %v to %v, request from %v to %v", from, to, src, dst)
	}
	want, judged := w.respond(src, dst, request, ntp.Timestamp(binary.BigEndian.Uint64(reply[40:])))
	if judged != server.Answered {
		w.t.Fatalf("answered what the daemon does not: %v: % x", judged, in)
	}
	if d, e := binary.BigEndian.Uint32(reply[8:]), binary.BigEndian.Uint32(want[8:]); d-e+1 > 2 { // each is rounded up, and the daemon's is some milliseconds ahead
		w.t.Errorf("root dispersion %#x, the daemon says %#x", d, e)
	}
	copy(want[8:12], reply[8:12])
	if !bytes.Equal(reply, want) {
		w.t.Errorf("reply\n% x, the daemon says\n% x", reply, want)
	}
}

// respond asks the daemon's Responder, for which the clock stands at now.
func (w *world) respond(src, dst netip.AddrPort, request []byte, now ntp.Timestamp) ([]byte, server.Verdict) {
	i := closest(&w.policy, dst.Addr(), dst.Port())
	if i < 0 || !w.policy.Listeners[i].Fast {
		w.t.Fatalf("answered for %v, which has no fast path", dst)
	}
	l := w.policy.Listeners[i]
	var allow *server.Rule
	if l.Limited {
		allow = &server.Rule{Prefixes: l.Allow, Action: server.Ignore}
	}
	access, err := server.NewAccess(server.Rule{Prefixes: l.Deny, Action: server.Deny}, allow)
	if err != nil {
		w.t.Fatal(err)
	}
	r := server.NewResponder(server.Config{
		Access: access, Versions: server.Versions(l.Versions), Interleaves: server.NewInterleaves([2]uint64{1, 2}),
	})
	return r.Respond(nil, &w.view, nil, &server.Datagram{Data: request, From: src, To: dst, Received: now}, func() ntp.Timestamp { return now })
}

// request is a client's, from a port of its own.
func request(src, dst netip.Addr, change func(*frame)) *frame {
	p := make([]byte, ntp.HeaderLen)
	p[0], p[2] = 4<<3|3, 6
	binary.BigEndian.PutUint64(p[40:], 0x123456789abcdef0)
	f := &frame{to: ownMAC, from: clientMAC, src: netip.AddrPortFrom(src, 50123), dst: netip.AddrPortFrom(dst, 123), ttl: 57, payload: p}
	if change != nil {
		change(f)
	}
	return f
}

// requests are the rows of TestProgram, and the seeds of what is mutated.
var requests = []struct {
	name     string
	answered bool
	change   func(*frame)
}{
	{"version 4", true, nil},
	{"version 3", true, func(f *frame) { f.payload[0] = 3<<3 | 3 }},
	{"leap bits set", true, func(f *frame) { f.payload[0] |= 0xc0 }},
	{"poll out of range", true, func(f *frame) { f.payload[2] = 0x80 }},
	{"poll above the range", true, func(f *frame) { f.payload[2] = 100 }},
	{"from port 123", true, func(f *frame) { f.src = netip.AddrPortFrom(f.src.Addr(), 123) }},
	{"checksum left to hardware", true, func(f *frame) { f.checksum = partial }},
	{"origin with equal stamps", true, func(f *frame) { f.payload[30], f.payload[32] = 1, 0; copy(f.payload[32:40], f.payload[40:48]) }},
	{"receive without origin", true, func(f *frame) { f.payload[39] = 1 }},
	{"type of service", true, func(f *frame) { f.tos = 0xb8 }},

	{"interleaved", false, func(f *frame) { f.payload[24], f.payload[32] = 1, 2 }},
	{"version 2", false, func(f *frame) { f.payload[0] = 2<<3 | 3 }},
	{"version 1", false, func(f *frame) { f.payload[0] = 1<<3 | 3 }},
	{"version 5", false, func(f *frame) { f.payload[0] = 5<<3 | 3 }},
	{"server", false, func(f *frame) { f.payload[0] = 4<<3 | 4 }},
	{"symmetric", false, func(f *frame) { f.payload[0] = 4<<3 | 1 }},
	{"control", false, func(f *frame) { f.payload[0] = 4<<3 | 6 }},
	{"extension field", false, func(f *frame) { f.payload = append(f.payload, make([]byte, 28)...) }},
	{"MAC", false, func(f *frame) { f.payload = append(f.payload, make([]byte, 20)...) }},
	{"short", false, func(f *frame) { f.payload = f.payload[:47] }},
	{"empty", false, func(f *frame) { f.payload = nil }},
	{"trailing byte", false, func(f *frame) { f.trailing = []byte{0} }},
	{"long UDP length", false, func(f *frame) { f.udpLength = 60 }},
	{"short UDP length", false, func(f *frame) { f.udpLength = 50 }},
	{"source port 0", false, func(f *frame) { f.src = netip.AddrPortFrom(f.src.Addr(), 0) }},
	{"another port", false, func(f *frame) { f.dst = netip.AddrPortFrom(f.dst.Addr(), 1123) }},
	{"port without a fast path", false, func(f *frame) { f.dst = netip.AddrPortFrom(f.dst.Addr(), 125) }},
	{"denied", false, func(f *frame) { f.dst = netip.AddrPortFrom(f.dst.Addr(), 124) }},
	{"wrong checksum", false, func(f *frame) { f.checksum = wrong }},
	{"VLAN", false, func(f *frame) { f.etherType = 0x8100 }},
	{"another hardware address", false, func(f *frame) { f.to[5] = 9 }},
	{"hardware broadcast", false, func(f *frame) { f.to = [6]byte{255, 255, 255, 255, 255, 255} }},
	{"from a hardware multicast", false, func(f *frame) { f.from[0] = 1 }},
	{"TCP", false, func(f *frame) { f.next = 6 }},
	{"fragment header or ICMP", false, func(f *frame) { f.next = 44 }},
	{"from ourselves", false, func(f *frame) { f.src = netip.AddrPortFrom(f.dst.Addr(), 123) }},
}

func TestProgram(t *testing.T) {
	for _, mode := range []fastpath.Mode{fastpath.Driver, fastpath.Generic} {
		t.Run(string(mode), func(t *testing.T) { testRequests(t, newWorld(t, mode)) })
	}
}

func testRequests(t *testing.T, w *world) {
	for _, tt := range requests {
		for _, f := range []*frame{request(client4, own4, tt.change), request(client6, own6, tt.change)} {
			t.Run(tt.name+" "+f.src.Addr().String(), func(t *testing.T) {
				w := *w
				w.t = t
				in := f.bytes()
				verdict, out := w.run(in)
				if answered := verdict == xdpTX; answered != tt.answered {
					t.Errorf("answered: %v", answered)
				}
				w.check(in, verdict, out)
			})
		}
	}
}

// TestProgram_Family: what only one of the families has.
func TestProgram_Family(t *testing.T) {
	w := newWorld(t, fastpath.Driver)
	at := func(s string) func(*frame) {
		return func(f *frame) { f.src = netip.MustParseAddrPort(s) }
	}
	to := func(s string) func(*frame) {
		return func(f *frame) { f.dst = netip.MustParseAddrPort(s) }
	}
	both := func(src, dst string) func(*frame) {
		return func(f *frame) { f.src, f.dst = netip.MustParseAddrPort(src), netip.MustParseAddrPort(dst) }
	}
	for _, tt := range []struct {
		name     string
		answered bool
		change   func(*frame)
	}{
		{"no checksum", true, func(f *frame) { f.checksum = none }},
		{"do not fragment", true, func(f *frame) { f.fragment = 0x4000 }},
		{"first fragment", false, func(f *frame) { f.fragment = 0x2000 }},
		{"later fragment", false, func(f *frame) { f.fragment = 6 }},
		{"reserved flag", false, func(f *frame) { f.fragment = 0x8000 }},
		{"options", false, func(f *frame) { f.options = []byte{1, 1, 1, 0} }},
		{"damaged header", false, func(f *frame) { f.ipChecksum = 1 }},
		{"from 0.1.2.3", false, at("0.1.2.3:5000")},
		{"from loopback", false, at("127.0.0.1:5000")},
		{"from multicast", false, at("224.0.1.1:5000")},
		{"from a broadcast address of ours", false, at("192.0.2.255:5000")},
		{"from beside it", true, at("192.0.2.254:5000")},
		{"from another address of ours", false, at("198.51.100.1:5000")},
		{"from class E", false, at("240.0.0.1:5000")},
		{"from broadcast", false, at("255.255.255.255:5000")},
		{"to multicast", false, to("224.0.1.1:123")},
		{"to broadcast", false, to("255.255.255.255:123")},
		{"to another host", false, to("192.0.2.2:123")},
		{"version 4 where only 3 is served", false, to("192.0.2.1:126")},
		{"version 3 where only 3 is served", true, func(f *frame) { f.payload[0] = 3<<3 | 3; f.dst = netip.MustParseAddrPort("192.0.2.1:126") }},
		{"in the allow list", true, both("192.0.2.20:5000", "192.0.2.1:124")},
		{"in the allow list, one address", true, both("198.51.100.7:5000", "192.0.2.1:124")},
		{"beside the allow list", false, both("198.51.100.8:5000", "192.0.2.1:124")},
		{"in the deny list", false, both("192.0.2.64:5000", "192.0.2.1:124")},
		{"IPv6 no checksum", false, func(f *frame) { *f = *request(client6, own6, nil); f.checksum = none }},
		{"IPv6 from none", false, both("[::]:5000", "[2001:db8::1]:123")},
		{"IPv6 from loopback", false, both("[::1]:5000", "[2001:db8::1]:123")},
		{"IPv6 from another address of ours", false, both("[2001:db8:5::1]:5000", "[2001:db8::1]:123")},
		{"IPv6 from beside it", true, both("[2001:db8:5::2]:5000", "[2001:db8::1]:123")},
		{"IPv6 from multicast", false, both("[ff02::1]:5000", "[2001:db8::1]:123")},
		{"IPv6 to multicast", false, both("[2001:db8::99]:5000", "[ff05::101]:123")},
		{"IPv6 in the allow list", true, both("[2001:db8:1::1]:5000", "[2001:db8::1]:124")},
		{"IPv6 in the deny list", false, both("[2001:db8::5]:5000", "[2001:db8::1]:124")},
		{"IPv6 beside the allow list", false, both("[2001:db9::5]:5000", "[2001:db8::1]:124")},
		{"IPv6 from an IPv4 address in disguise", false, both("[::ffff:192.0.2.20]:5000", "[2001:db8::1]:123")},
		{"IPv6 from a link-local address", true, both("[fe80::5]:5000", "[2001:db8::1]:123")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := *w
			w.t = t
			in := request(client4, own4, tt.change).bytes()
			verdict, out := w.run(in)
			if answered := verdict == xdpTX; answered != tt.answered {
				t.Errorf("answered: %v", answered)
			}
			w.check(in, verdict, out)
		})
	}
}

// TestProgram_Mutated: whatever is sent, the program answers only what the Responder answers, as it does, and changes nothing
// else. From a fixed seed, so that a failure comes again.
func TestProgram_Mutated(t *testing.T) {
	w := newWorld(t, fastpath.Driver)
	r := rand.New(rand.NewPCG(1, 2))
	answers := 0
	for range 100_000 {
		row := requests[r.IntN(len(requests))]
		f := request(client4, own4, row.change)
		if r.IntN(2) == 0 {
			f = request(client6, own6, row.change)
		}
		if r.IntN(4) == 0 {
			f.dst = netip.AddrPortFrom(f.dst.Addr(), 123+uint16(r.IntN(5)))
		}
		in := f.bytes()
		switch r.IntN(8) {
		case 0: // cut
			in = in[:14+r.IntN(len(in)-13)]
		case 1: // grown
			in = append(in, make([]byte, r.IntN(40))...)
		case 2, 3, 4: // bits anywhere
			for range 1 + r.IntN(3) {
				in[r.IntN(len(in))] ^= 1 << r.IntN(8)
			}
		case 5: // another NTP header
			for i := max(len(in)-47, 0); i < len(in); i++ {
				in[i] = byte(r.Uint32())
			}
		case 6: // bits that the addresses and lengths are in
			in[14+r.IntN(min(len(in)-14, 48))] = byte(r.Uint32())
		}
		verdict, out := w.run(in)
		w.check(in, verdict, out)
		if verdict == xdpTX {
			answers++
		}
	}
	if answers < 1000 {
		t.Errorf("only %d answers: nothing was compared", answers)
	}
}

// TestProgram_Views: the system variables that a view brings are the daemon's, whatever they are.
func TestProgram_Views(t *testing.T) {
	w := newWorld(t, fastpath.Driver)
	now := realtime(t)
	r := rand.New(rand.NewPCG(3, 4))
	for i := range 2000 {
		v := ntp.View{
			Leap: ntp.LeapIndicator(r.IntN(4)), Stratum: ntp.Stratum(r.IntN(17)), RefID: ntp.RefID(r.Uint32()),
			Reference: now.Add(-time.Duration(r.Int64N(int64(100 * 24 * time.Hour)))), RootDelay: time.Duration(r.Int64N(int64(40 * time.Hour))),
			Dispersion: time.Duration(r.Int64() >> r.IntN(63)), Wander: r.Float64() * 1e-4, Precision: int8(-r.IntN(32)), Synchronized: r.IntN(4) > 0,
		}
		switch i % 8 {
		case 0:
			v.Wander = 0
		case 1:
			v.Reference = now.Add(time.Minute) // a clock that was stepped back
		}
		w.publish(v)
		in := request(client4, own4, nil).bytes()
		verdict, out := w.run(in)
		if verdict != xdpTX {
			t.Fatalf("not answered: %+v", v)
		}
		w.check(in, verdict, out)
	}
}

// TestProgram_Rests: without a state that holds, the daemon answers.
func TestProgram_Rests(t *testing.T) {
	w := newWorld(t, fastpath.Driver)
	in := request(client4, own4, nil).bytes()
	s := fastpath.NewState(server.Template(&w.view), &w.view)
	c, err := readClocks()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name     string
		answered bool
		put      func() error
	}{
		{"a state that holds", true, func() error { return w.states.publish(&s, c, c.monotonic+time.Hour) }},
		{"a state that is old", false, func() error { return w.states.publish(&s, c, c.monotonic) }},
		{"TAI has another offset than the state says", false, func() error {
			moved := *c
			moved.base += time.Second
			return w.states.publish(&s, &moved, c.monotonic+time.Hour)
		}},
		{"the same, the other way", false, func() error {
			moved := *c
			moved.base -= time.Second
			return w.states.publish(&s, &moved, c.monotonic+time.Hour)
		}},
		{"a growth beyond all measure", false, func() error {
			fast := s
			fast.Rate = 1 << 48
			return w.states.publish(&fast, c, c.monotonic+time.Hour)
		}},
		{"an update of long ago", false, func() error {
			old := s
			old.Reference -= 200 * 86400 << 32
			return w.states.publish(&old, c, c.monotonic+time.Hour)
		}},
		{"a state that holds, again", true, func() error { return w.states.publish(&s, c, c.monotonic+time.Hour) }},
		{"rest", false, w.states.rest},
		{"a slot that is being written", false, func() error {
			serial := uint64(1000)
			if err := w.kernel.States.Put(uint32(0), &kernelState{Serial: serial, SerialAgain: serial - 2, Until: 1 << 62}); err != nil {
				return err
			}
			return w.states.makeCurrent(serial)
		}},
	} {
		if err := tt.put(); err != nil {
			t.Fatal(err)
		}
		verdict, out := w.run(in)
		if answered := verdict == xdpTX; answered != tt.answered {
			t.Errorf("%s: answered %v", tt.name, answered)
		}
		w.check(in, verdict, out)
	}
}

// TestProgram_Time: the stamps are the clock's. They lie between a reading before and one after; a microsecond is left for
// the kernel's reading without locks, which this code cannot see.
func TestProgram_Time(t *testing.T) {
	const slack = time.Microsecond
	w := newWorld(t, fastpath.Driver)
	in := request(client6, own6, nil).bytes()
	for range 1000 {
		before := realtime(t)
		verdict, out := w.run(in)
		after := realtime(t)
		if verdict != xdpTX {
			t.Fatal("not answered")
		}
		_, _, reply, _ := datagram(out)
		receive, transmit := ntp.Timestamp(binary.BigEndian.Uint64(reply[32:])), ntp.Timestamp(binary.BigEndian.Uint64(reply[40:]))
		if receive&1 != 1 || transmit&1 != 0 { // what a client must give back for an interleaved answer, and what it must not
			t.Fatalf("receive stamp %#x, transmit stamp %#x", uint64(receive), uint64(transmit))
		}
		if receive.Sub(before) < -slack || transmit.Sub(after) > slack || !receive.Before(transmit) {
			t.Fatalf("asked at %d, received %v, sent %v, back at %d", before, receive.Sub(before), transmit.Sub(before), after.Sub(before))
		}
	}
}

// TestProgram_Counts: every packet to a served port is counted once, under its listener.
func TestProgram_Counts(t *testing.T) {
	w := newWorld(t, fastpath.Driver)
	var want [4][fastpath.Outcomes]uint64
	send := func(n int, o fastpath.Outcome, listener int, change func(*frame)) {
		for range n {
			w.run(request(client4, own4, change).bytes())
		}
		want[listener][o] += uint64(n)
	}
	port := func(p uint16) func(*frame) {
		return func(f *frame) { f.dst = netip.AddrPortFrom(f.dst.Addr(), p) }
	}
	send(5, fastpath.Answered, 0, nil)
	send(3, fastpath.Listed, 1, port(124))
	send(2, fastpath.Other, 3, port(126))
	send(4, fastpath.Other, 0, func(f *frame) { f.payload[0] = 4<<3 | 4 })
	w.run(request(client4, own4, port(125)).bytes())
	w.run(request(client4, own4, func(f *frame) { f.fragment = 9 }).bytes())
	if err := w.states.rest(); err != nil {
		t.Fatal(err)
	}
	send(6, fastpath.Resting, 0, nil)
	got, err := w.kernel.counts(&w.policy)
	if err != nil {
		t.Fatal(err)
	}
	for i := range want {
		if got[i].Packets != want[i] || got[i].Address != w.policy.Listeners[i].Address {
			t.Errorf("%v: %v, want %v", got[i].Address, got[i].Packets, want[i])
		}
	}
}

// BenchmarkProgram shows what a packet costs that goes up after so many checks. One that is answered cannot be repeated: the
// kernel would run the program on the reply.
func BenchmarkProgram(b *testing.B) {
	w := newWorld(b, fastpath.Driver)
	for _, tt := range []struct {
		name   string
		change func(*frame)
	}{
		{"another port", func(f *frame) { f.dst = netip.AddrPortFrom(own4, 53) }},
		{"another mode", func(f *frame) { f.payload[0] = 4<<3 | 4 }},
		{"denied", func(f *frame) { f.dst = netip.AddrPortFrom(own4, 124) }},
		{"resting", nil},
	} {
		if tt.change == nil {
			if err := w.states.rest(); err != nil {
				b.Fatal(err)
			}
		}
		in := request(client4, own4, tt.change).bytes()
		b.Run(tt.name, func(b *testing.B) {
			_, each, err := w.kernel.Program.Benchmark(in, b.N, b.ResetTimer)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(each.Nanoseconds()), "ns/packet")
		})
	}
}
