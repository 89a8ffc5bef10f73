package faultnet

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"os"
	"reflect"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/suite"
)

func TestMain(m *testing.M) {
	suite.Helper()
	os.Exit(m.Run())
}

const nearAddr, farAddr = "198.18.1.1", "198.18.2.1"

// lab is two joined namespaces and an echo server at the far side.
type lab struct {
	t         *testing.T
	near, far *suite.Namespace
	r         *Router
	conn      *net.UDPConn
	echo      netip.AddrPort
}

func newLab(t *testing.T, c Config) *lab {
	t.Parallel()
	l := &lab{t: t, near: suite.NewNamespace(t), far: suite.NewNamespace(t)}
	c.Near, c.Far = []string{nearAddr, "2001:db8:1::1"}, []string{farAddr, "2001:db8:2::1"}
	l.r = New(t, l.near, l.far, c)
	l.echo = netip.MustParseAddrPort(farAddr + ":123")
	server := ListenUDP(t, l.far, l.echo)
	go func() {
		b := make([]byte, 65536)
		for {
			n, from, err := server.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			_, _ = server.WriteToUDPAddrPort(b[:n], from)
		}
	}()
	l.conn = ListenUDP(t, l.near, netip.MustParseAddrPort(nearAddr+":0"))
	return l
}

// ask sends n numbered datagrams and returns which came back and how long they took.
func (l *lab) ask(n, size int) map[byte][]time.Duration {
	l.t.Helper()
	got := map[byte][]time.Duration{}
	sent := make([]time.Time, n)
	for i := range n {
		b := make([]byte, size)
		b[0] = byte(i)
		sent[i] = time.Now()
		if _, err := l.conn.WriteToUDPAddrPort(b, l.echo); err != nil {
			l.t.Fatal(err)
		}
	}
	b := make([]byte, 65536)
	for {
		_ = l.conn.SetReadDeadline(time.Now().Add(400 * time.Millisecond))
		k, _, err := l.conn.ReadFromUDPAddrPort(b)
		if err != nil {
			return got
		}
		if k > 0 && int(b[0]) < n {
			got[b[0]] = append(got[b[0]], time.Since(sent[b[0]]))
		}
	}
}

func TestRouter_PerfectWire(t *testing.T) {
	l := newLab(t, Config{})
	if got := l.ask(50, 48); len(got) != 50 {
		t.Errorf("%d of 50 came back", len(got))
	}
	conn, err := DialTCP(l.near, l.echo)
	if err == nil || !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("TCP to a closed port: %v, %v", conn, err)
	}
	l.echo = netip.MustParseAddrPort("[2001:db8:2::1]:123")
	ListenUDP(t, l.far, l.echo)
	six := ListenUDP(t, l.near, netip.MustParseAddrPort("[2001:db8:1::1]:0"))
	before := l.r.Counters(Out).Delivered
	if _, err := six.WriteToUDPAddrPort([]byte("x"), l.echo); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(5 * time.Second); l.r.Counters(Out).Delivered == before; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("IPv6 does not pass")
		}
	}
}

func TestRouter_DelayAndLoss(t *testing.T) {
	l := newLab(t, Config{Seed: 7, Pair: Pair{Out: Link{Delay: 30 * time.Millisecond, Loss: 0.33}, Back: Link{Delay: 10 * time.Millisecond}}})
	got := l.ask(200, 48)
	if len(got) < 110 || len(got) > 158 {
		t.Errorf("%d of 200 came back through 33 %% loss", len(got))
	}
	for n, d := range got {
		if d[0] < 40*time.Millisecond {
			t.Errorf("datagram %d took %v", n, d[0])
		}
	}
}

// TestRouter_SameSeed: the same datagrams are lost in every run.
func TestRouter_SameSeed(t *testing.T) {
	c := Config{Seed: 12345, Pair: Pair{Out: Link{Loss: 0.3}, Back: Link{Loss: 0.2, Duplicate: 0.2}}}
	var runs [2][100]int
	t.Run("runs", func(t *testing.T) {
		for i := range runs {
			t.Run("", func(t *testing.T) {
				for n, d := range newLab(t, c).ask(100, 48) {
					runs[i][n] = len(d)
				}
			})
		}
	})
	if os.Getenv(seedEnv) == "" && runs[0] != runs[1] {
		t.Errorf("the same seed lost other datagrams:\n%v\n%v", runs[0], runs[1])
	}
}

func TestRouter_DuplicateReorderCorrupt(t *testing.T) {
	l := newLab(t, Config{Pair: Pair{Out: Link{Duplicate: 1}}})
	for n, d := range l.ask(10, 48) {
		if len(d) != 2 {
			t.Errorf("datagram %d came %d times", n, len(d))
		}
	}
	l.r.SetPath(Pair{Out: Link{Corrupt: 1}}) // the kernel drops what has a wrong checksum
	if got := l.ask(10, 48); len(got) != 0 {
		t.Errorf("%d damaged datagrams arrived", len(got))
	}
	l.r.SetPath(Pair{Back: Link{Corrupt: 1, FixSum: true}})
	if n := l.r.Counters(Back).Corrupted; n != 0 {
		t.Error(n)
	}
	l.ask(10, 1400)
	if n := l.r.Counters(Back).Corrupted; n != 10 {
		t.Errorf("%d damaged", n)
	}
}

func TestRouter_MTU(t *testing.T) {
	l := newLab(t, Config{Pair: Pair{Out: Link{MTU: 600}}})
	l.ask(1, 1000) // the first teaches the kernel the MTU
	if got := l.ask(5, 1000); len(got) != 5 {
		t.Errorf("%d of 5 came back in fragments", len(got))
	}
	raw, err := l.conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	_ = raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_PROBE)
	})
	if err != nil {
		t.Fatal(err)
	}
	refused := l.r.Counters(Out).Refused
	if got := l.ask(3, 1000); len(got) != 0 || l.r.Counters(Out).Refused != refused+3 {
		t.Errorf("%d came back although they were too long; %d refused", len(got), l.r.Counters(Out).Refused-refused)
	}
	if got := l.ask(3, 500); len(got) != 3 {
		t.Errorf("%d of 3 short ones came back", len(got))
	}
	l.r.SetPath(Pair{Out: Link{MaxNTP: 200}})
	if got := l.ask(3, 201); len(got) != 0 {
		t.Error("the filter let 201 bytes pass")
	}
	if got := l.ask(3, 200); len(got) != 3 {
		t.Error("the filter dropped 200 bytes")
	}
}

func TestRouter_Rate(t *testing.T) {
	l := newLab(t, Config{Pair: Pair{Out: Link{Rate: 10280, Queue: 400 * time.Millisecond}}}) // ten packets of 1028 B a second
	got := l.ask(20, 1000)
	if len(got) < 4 || len(got) > 6 {
		t.Errorf("%d of 20 fitted into the queue", len(got))
	}
}

func TestRouter_Hooks(t *testing.T) {
	var c Capture
	l := newLab(t, Config{Hook: Chain(c.Hook, func(r *Router, p *Packet) Verdict {
		if b := p.NTP(); p.Dir == Out && b != nil {
			if b[0] == 1 {
				return Drop
			}
			r.Inject(Back, p.Answer([]byte{9}), 0)
			p.SetUDP(append(b, "more"...))
		}
		return Pass
	})})
	got := l.ask(10, 20)
	if len(got[1]) != 0 || len(got[2]) != 1 || len(got[9]) != 10 {
		t.Errorf("%v", got)
	}
	if out, back := c.Packets(Out, ""), c.Packets(Back, farAddr); len(out) != 10 || len(back) != 9 || len(back[0].NTP()) != 24 {
		t.Errorf("captured %d out and %d back", len(out), len(back))
	}
	// An ICMP error reaches the socket it is about.
	raw, _ := l.conn.SyscallConn()
	_ = raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_RECVERR, 1) })
	l.r.SetHook(func(r *Router, p *Packet) Verdict {
		r.Inject(Back, Unreachable(p.Far(), CodePort, 0, p.Data), 0)
		return Drop
	})
	_, _ = l.conn.WriteToUDPAddrPort(make([]byte, 48), l.echo)
	_ = l.conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, _, err := l.conn.ReadFromUDPAddrPort(make([]byte, 9)); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("port unreachable gives %v", err)
	}
}

func TestSpoofer(t *testing.T) {
	l := newLab(t, Config{})
	third := suite.NewNamespace(t)
	suite.Link(l.near, "198.18.3.1/24", third, "198.18.3.66/24")
	third.IP("route", "add", "default", "via", "198.18.3.1")
	to := l.conn.LocalAddr().(*net.UDPAddr).AddrPort()
	if err := NewSpoofer(t, third).Send(UDP(l.echo, to, []byte("boo"))); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 10)
	_ = l.conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	n, from, err := l.conn.ReadFromUDPAddrPort(b)
	if err != nil || string(b[:n]) != "boo" || from != l.echo {
		t.Errorf("%q from %v, %v", b[:n], from, err)
	}
}

// The fates depend on seed and order only, never on the settings that others have.
func TestDice_Deterministic(t *testing.T) {
	link := Link{Loss: 0.3, Duplicate: 0.1, Reorder: 0.1, Corrupt: 0.1, Jitter: Jitter{Pareto, time.Millisecond}}
	a, b, c := newDice(1, 2), newDice(1, 2), newDice(1, 3)
	same, differs := true, false
	for i := range 1000 {
		other := link
		if i < 500 {
			other = Link{} // what the link was like before does not matter
		}
		x, y, z := a.next(&link), b.next(&other), c.next(&link)
		same = same && (i < 500 || reflect.DeepEqual(x, y))
		differs = differs || !reflect.DeepEqual(x, z)
	}
	if !same || !differs {
		t.Errorf("same seed the same: %v, another stream another: %v", same, differs)
	}
}

func TestJitter_Shapes(t *testing.T) {
	const n, scale = 20000, time.Millisecond
	for _, c := range []struct {
		shape             Shape
		least, most, mean time.Duration // of the samples; mean ± 10 % of the scale
	}{
		{Uniform, -scale, scale, 0}, {Normal, -6 * scale, 6 * scale, 0}, {Exponential, 0, 15 * scale, scale},
		{Pareto, scale / 2, paretoCut * scale, 1400 * time.Microsecond}, {Bursts, 0, scale, scale / 10},
	} {
		d, sum, lo, hi := newDice(5, uint64(c.shape)), time.Duration(0), time.Hour, -time.Hour
		for range n {
			x := Jitter{c.shape, scale}.draw(d.Float64(), d.Float64())
			sum, lo, hi = sum+x, min(lo, x), max(hi, x)
		}
		if mean := sum / n; lo < c.least || hi > c.most || (mean-c.mean).Abs() > scale/10 {
			t.Errorf("shape %d: %v…%v, mean %v", c.shape, lo, hi, mean)
		}
	}
}

func TestPacket_Checksums(t *testing.T) {
	for _, ends := range [][2]string{{"192.0.2.1:5", "198.51.100.2:123"}, {"[2001:db8::1]:5", "[2001:db8::2]:123"}} {
		src, dst := netip.MustParseAddrPort(ends[0]), netip.MustParseAddrPort(ends[1])
		for _, payload := range []string{"", "x", "xy", "hello, world"} {
			p := Packet{Data: UDP(src, dst, []byte(payload))}
			if a, b := p.Ends(); a != src || b != dst || string(p.UDP()) != payload {
				t.Fatalf("%v %v %q", a, b, p.UDP())
			}
			_, at, _, _ := layout(p.Data)
			a, b := addrs(p.Data)
			body := p.Data[at:]
			if s := fold(sum(sum(sum(0, a.AsSlice()), b.AsSlice())+protoUDP+uint32(len(body)), body)); s != 0xffff {
				t.Errorf("%s: checksum over all %#x", ends[0], s)
			}
		}
	}
}

func TestPacket_Fragment(t *testing.T) {
	b := UDP(netip.MustParseAddrPort("192.0.2.1:5"), netip.MustParseAddrPort("192.0.2.2:123"), make([]byte, 1000))
	if fragment(b, 600) != nil {
		t.Error("cut although it must not be")
	}
	b[6] = 0
	parts := fragment(b, 600)
	var whole []byte
	for _, f := range parts {
		whole = append(whole, f[20:]...)
		if len(f) > 600 {
			t.Errorf("fragment of %d bytes", len(f))
		}
	}
	if len(parts) != 2 || !bytes.Equal(whole, b[20:]) || parts[0][6] != 0x20 || parts[1][6] != 0 || parts[1][7] != 72 {
		t.Errorf("%x", parts)
	}
}

// Nothing a test could feed the parsers makes them panic.
func FuzzPacket(f *testing.F) {
	f.Add(UDP(netip.MustParseAddrPort("192.0.2.1:5"), netip.MustParseAddrPort("192.0.2.2:123"), make([]byte, 48)))
	f.Add([]byte{0x45})
	f.Add([]byte{0x60, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		p := Packet{Data: b}
		p.Ends()
		p.Far()
		p.NTP()
		p.Secured()
		p.Request()
		corrupt(bytes.Clone(b), 12345, true)
		fragment(bytes.Clone(b), 100)
	})
}

func TestLeaks(t *testing.T) {
	s := []byte("0123456789abcdefghijklmnopqrstuvwxyz")
	for _, text := range []string{
		"x 0123456789abcdef", "X 3031323334353637", "[48 49 50 51 52 53 54 55 56]", "MDEyMzQ1Njc4OWFiY2RlZmdoaWprbG1ub3BxcnN0dXZ3eHl6",
		"30313233343536373839", "Ojk4OWMDEyMzQ1Njc4OWFiY2RlZmdoaWprbG1ubw==",
	} {
		if len(Leaks(text, s)) == 0 {
			t.Errorf("not found in %q", text)
		}
	}
	if l := Leaks("nothing here 303132 [48 49 50]", s); l != nil {
		t.Error(l)
	}
	if got := (&Packet{}).UDP(); got != nil {
		t.Error(got)
	}
	h := ntp.Header{}
	if Kiss("RATE")(&h); !h.IsKiss() || h.RefID != ntp.KissRATE {
		t.Errorf("%+v", h)
	}
}
