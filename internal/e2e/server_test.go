package e2e_test

import (
	"encoding/binary"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/observe"
	"ntp-daemon/internal/suite"
)

// plainServer serves NTP on port 123 of every address, with its own clock.
func plainServer(name string, more string) string {
	return "[observability]\nlog-format = \"console\"\nobservation-path = \"{dir}/" + name + ".sock\"\n" +
		"[[server]]\nlisten = \"0.0.0.0:123\"\n" + more + "[synchronization]\nclock-control = false\nlocal-stratum = 2\n"
}

// pair joins two sites: a server at 10.9.0.1 and whoever bothers it at 10.9.0.2, which is its default route.
func pair(t *testing.T) (srv, other *testHost) {
	t.Helper()
	srv, other = newTestHost(t), newTestHost(t)
	suite.Link(srv.Namespace, "10.9.0.1/24", other.Namespace, "10.9.0.2/24")
	srv.IP("route", "add", "default", "via", "10.9.0.2")
	other.IP("route", "add", "default", "via", "10.9.0.1")
	return srv, other
}

// wire is the name of a testHost's first veth.
func (s *testHost) wire() (name string) {
	s.t.Helper()
	inside(s.t, s.Namespace, func() error {
		list, err := net.Interfaces()
		for _, i := range list {
			if i.Flags&net.FlagLoopback == 0 {
				name = i.Name
			}
		}
		return err
	})
	return name
}

func port123(addr string) netip.AddrPort { return netip.AddrPortFrom(netip.MustParseAddr(addr), 123) }

// TestS04_NoPingPong: a packet forged from one daemon to the other in every mode starts no exchange between them.
func TestS04_NoPingPong(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	third := newTestHost(t)
	suite.Link(third.Namespace, "10.9.1.2/24", b.Namespace, "10.9.1.1/24")
	a.up(a.start("a", plainServer("a", "accept-ntp-versions = [1, 2, 3, 4]\n")))
	b.up(b.start("b", plainServer("b", "accept-ntp-versions = [1, 2, 3, 4]\n")))
	for i := range byte(16) {
		version, mode := 1+3*(i>>3), i&7 // 1 and 4
		wire := sniff(t, a.Namespace, a.wire())
		p := hello(uint64(i))
		p[0] = version<<3 | mode
		newForger(t, third.Namespace, unix.AF_INET).send(udp4(port123("10.9.0.1"), port123("10.9.1.1"), p))
		time.Sleep(300 * time.Millisecond) // a loop would fill this time with packets
		got := wire.end()
		want := 0
		if mode == 1 || mode == 3 {
			want = 1 // the answer to what looks like a request; the other daemon does not answer that
		}
		if len(got) != want {
			t.Errorf("version %d, mode %d: %d packets between the daemons, want %d", version, mode, len(got), want)
		}
	}
}

// TestS05_ImpossibleSources: requests from addresses nobody can have get no answer, and no log line.
func TestS05_ImpossibleSources(t *testing.T) {
	t.Parallel()
	srv, other := pair(t)
	p := srv.start("server", plainServer("server", ""))
	srv.up(p)
	quiet := len(p.Log())
	f := newLinkForger(t, other, srv)
	for _, row := range []struct {
		from string
		most int
	}{
		{"10.9.0.2:0", 0}, {"0.0.0.0:4000", 0}, {"255.255.255.255:4000", 0}, {"224.0.0.1:4000", 0}, {"239.1.2.3:123", 0},
		{"10.9.0.2:4000", 1}, {"10.9.0.1:123", 1}, {"127.0.0.1:123", 0}, {"10.9.0.255:4000", 0},
	} {
		from := netip.MustParseAddrPort(row.from)
		ext, lo := sniff(t, srv.Namespace, srv.wire()), sniff(t, srv.Namespace, "lo")
		f.send(udp4(from, port123("10.9.0.1"), hello(7)))
		time.Sleep(200 * time.Millisecond) // an answer would come at once
		answers := 0
		for _, d := range append(ext.end(), lo.end()...) {
			if len(d.payload) > 0 && d.payload[0]&7 == 4 {
				answers++
			}
		}
		if answers > row.most {
			t.Errorf("from %s: %d answers", row.from, answers)
		}
	}
	if said := p.Log()[quiet:]; said != "" {
		t.Errorf("logged %q", said)
	}
	if !newAsker(t, other.Namespace, "10.9.0.1:123").ask() {
		t.Error("no answer to an honest request")
	}
}

// TestS05_OneForAll: a request to a broadcast or multicast address gets no answer, whatever the daemon listens on; one to
// an address of the host does.
func TestS05_OneForAll(t *testing.T) {
	t.Parallel()
	for _, listen := range []string{"0.0.0.0:123", "[::]:123"} {
		srv, other := pair(t)
		for _, s := range []*testHost{srv, other} {
			s.IP("addr", "add", map[*testHost]string{srv: "fd09::1/64", other: "fd09::2/64"}[s], "dev", s.wire(), "nodad")
		}
		srv.up(srv.start("server", strings.Replace(plainServer("server", ""), "0.0.0.0:123", listen, 1)))
		wire, unicasts := other.wire(), uint64(0)
		for _, row := range []struct {
			network, to string
			want        int
		}{
			{"udp4", "10.9.0.1:123", 1}, {"udp4", "10.9.0.255:123", 0}, {"udp4", "255.255.255.255:123", 0}, {"udp4", "224.0.0.1:123", 0},
			{"udp6", "[fd09::1]:123", 1}, {"udp6", "[ff02::1%" + wire + "]:123", 0},
		} {
			if row.network == "udp6" && listen[0] != '[' {
				continue
			}
			seen := sniff(t, other.Namespace, wire)
			inside(t, other.Namespace, func() error {
				to, err := net.ResolveUDPAddr(row.network, row.to)
				if err != nil {
					return err
				}
				c, err := net.ListenUDP(row.network, nil) // Go sets SO_BROADCAST
				if err != nil {
					return err
				}
				defer c.Close()
				_, err = c.WriteTo(hello(11), to)
				return err
			})
			time.Sleep(200 * time.Millisecond) // an answer would come at once
			answers := 0
			for _, d := range seen.end() {
				if len(d.payload) > 0 && d.payload[0]&7 == 4 {
					answers++
				}
			}
			if answers != row.want {
				t.Errorf("listening on %s, asked at %s: %d answers, want %d", listen, row.to, answers, row.want)
			}
			unicasts += uint64(row.want)
		}
		stats := suite.Snapshot(srv.socket("server")).Servers[0].Stats
		if stats.Accepted != unicasts || stats.Ignored == 0 || stats.SendErrors != 0 { // no answer that only the kernel stopped
			t.Errorf("listening on %s: %+v, want %d accepted", listen, stats, unicasts)
		}
	}
}

// TestS15_SpoofedCrowd: a million requests from as many addresses leave the memory of a server with rate limiting
// where it was, and its honest client served; a /64 is one client.
func TestS15_SpoofedCrowd(t *testing.T) {
	t.Parallel()
	srv, other := pair(t)
	p := srv.start("server", plainServer("server", "rate-limiting-cache-size = 4096\nrate-limiting-cutoff-ms = 8000\n"+
		"[[server]]\nlisten = \"[fd00::1]:123\"\nrate-limiting-cache-size = 4096\nrate-limiting-cutoff-ms = 60000\n"))
	srv.up(p)
	srv.IP("addr", "add", "fd00::1/64", "dev", srv.wire(), "nodad")
	other.IP("addr", "add", "fd00::2/64", "dev", other.wire(), "nodad")
	f := newLinkForger(t, other, srv)
	honest := newAsker(t, other.Namespace, "10.9.0.1:123")
	crowd := func(n int) {
		packet := udp4(netip.MustParseAddrPort("11.0.0.0:1024"), port123("10.9.0.1"), hello(9))
		for i := range n {
			binary.BigEndian.PutUint32(packet[12:], 11<<24+uint32(i))
			f.send(packet)
		}
	}
	crowd(20000) // warms up buffers and the runtime
	before := use(t, p)
	begin := time.Now()
	crowd(1_000_000)
	took := time.Since(begin)
	after := use(t, p)
	if grown := after.rss - before.rss; grown > 4<<10 {
		t.Errorf("memory grew by %d KiB: %v, then %v", grown, before, after)
	}
	if first := honest.ask(); !first && !honest.ask() { // one packet may be lost
		t.Error("honest client is not served")
	}
	t.Logf("a million addresses in %v; before: %v, after: %v", took.Round(time.Millisecond), before, after)

	v6 := newForger(t, other.Namespace, unix.AF_INET6)
	six := func() (limited, received uint64) {
		for _, l := range suite.Snapshot(srv.socket("server")).Servers {
			if l.Address == "[fd00::1]:123" {
				return l.Stats.RateLimited, l.Stats.Received
			}
		}
		return 0, 0
	}
	to := port123("fd00::1")
	var source [16]byte
	copy(source[:], []byte{0xfd, 0, 0, 0, 0, 0, 0, 0})
	const inOne64 = 1000
	for i := range uint16(inOne64) {
		binary.BigEndian.PutUint16(source[14:], 0x1000+i)
		v6.send(udp6(netip.AddrPortFrom(netip.AddrFrom16(source), 1024), to, hello(uint64(i))))
	}
	eventually(t, 5*time.Second, "count of IPv6 requests", func() bool { _, n := six(); return n >= inOne64 })
	// One bucket of eight, and one in four let through (S14).
	if limited, _ := six(); limited < inOne64*65/100 {
		t.Errorf("%d of %d requests from one /64 were limited: it is not counted as one client", limited, inOne64)
	}
}

// flood sends requests as fast as it can from the given number of threads until the end; the sum comes back.
func flood(t *testing.T, from, to *testHost, threads int, end <-chan struct{}) (sent *sync.WaitGroup, total *[8]uint64) {
	t.Helper()
	sent, total = new(sync.WaitGroup), new([8]uint64)
	for i := range threads {
		f := newLinkForger(t, from, to)
		sent.Go(func() {
			packet := udp4(netip.MustParseAddrPort("12.0.0.0:1024"), port123("10.9.0.1"), hello(9))
			r := rand.New(rand.NewPCG(1, uint64(i)))
			for k := uint64(0); ; k++ {
				if k%64 == 0 {
					select {
					case <-end:
						total[i] = k
						return
					default:
					}
				}
				binary.BigEndian.PutUint32(packet[12:], 12<<24|r.Uint32()>>8)
				f.send(packet)
			}
		})
	}
	return sent, total
}

// TestS22_Flood: while requests come faster than both processors can answer, the observation socket answers within
// a second, key exchanges complete and memory stays.
func TestS22_Flood(t *testing.T) {
	t.Setenv("GOGC", "100") // without the ballast of a key exchange server, in whose swing a leak would not show
	srv, other := pair(t)   // not parallel: it wants the machine for itself
	path := srv.file("server.toml", server("server"))
	// A lower priority than the flood's: so that it comes faster than it can be answered.
	p := srv.Start("nice", "-n", "5", suite.Program(t, "ntp-daemon"), "-c", path)
	p.Name = "server"
	srv.up(p)
	received := func() (n uint64) {
		for _, l := range suite.Snapshot(srv.socket("server")).Servers {
			n += l.Stats.Received
		}
		return n
	}
	end := make(chan struct{})
	done, total := flood(t, other, srv, 3, end)
	var slowest, slowestKE time.Duration
	exchanges := 0
	strain := func(d time.Duration) (most usage) {
		for begin := time.Now(); time.Since(begin) < d; exchanges++ {
			ask := time.Now()
			if suite.Snapshot(srv.socket("server")) == nil {
				t.Error("the observation socket does not answer")
			}
			slowest = max(slowest, time.Since(ask))
			ask = time.Now()
			if _, err := srv.exchange(8080, nil); err != nil {
				t.Errorf("key exchange under flood: %v", err)
			}
			slowestKE = max(slowestKE, time.Since(ask))
			if u := use(t, p); u.rss > most.rss {
				most = u
			}
		}
		return most
	}
	at, begin := received(), time.Now()
	before := strain(1500 * time.Millisecond) // what the runtime needs for its first flood is no growth
	after := strain(2500 * time.Millisecond)
	n, took := received()-at, time.Since(begin)
	close(end)
	done.Wait()
	sent := total[0] + total[1] + total[2]
	t.Logf("%.0f requests/s sent, %.0f/s answered; %d key exchanges, slowest %v; slowest snapshot %v; before: %v, after: %v",
		float64(sent)/took.Seconds(), float64(n)/took.Seconds(), exchanges, slowestKE, slowest, before, after)
	if slowest > time.Second {
		t.Errorf("the observation socket took %v", slowest)
	}
	// A tenth, or what the garbage collector lets a heap of its least size swing.
	if after.rss > max(before.rss*110/100, before.rss+3<<10) {
		t.Errorf("memory grew from %d to %d KiB", before.rss, after.rss)
	}
	calm(t, p)
}

// TestS23_Fragments: a long request in fragments, and one without UDP checksum, get an answer no longer than they
// are, or none; nothing is logged.
func TestS23_Fragments(t *testing.T) {
	t.Parallel()
	srv, other := pair(t)
	p := srv.start("server", plainServer("server", ""))
	srv.up(p)
	quiet := len(p.Log())
	other.IP("link", "set", other.wire(), "mtu", "600")
	wire := sniff(t, srv.Namespace, srv.wire())
	long := hello(1)
	for len(long) < 1400 {
		long = ntp.AppendField(long, 0x4242, make([]byte, 28))
	}
	c := dial(t, other.Namespace, "udp4", "10.9.0.1:123")
	raw, err := c.(*net.UDPConn).SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) {
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DONT)
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(long); err != nil {
		t.Fatal(err)
	}
	few := ntp.AppendField(ntp.AppendField(hello(2), 0x4242, make([]byte, 700)), 0x4243, make([]byte, 700))
	if _, err := c.Write(few); err != nil {
		t.Fatal(err)
	}
	newForger(t, other.Namespace, unix.AF_INET).send(udp4(netip.MustParseAddrPort("10.9.0.2:7777"), port123("10.9.0.1"), hello(3)))
	var fragments, answers int
	eventually(t, 5*time.Second, "answers", func() bool {
		fragments, answers = 0, 0
		for _, d := range wire.packets() {
			switch {
			case d.from.Port() == 0:
				fragments++
			case d.from.Port() == 123 && len(d.payload) > 1452:
				t.Fatalf("answer of %d bytes", len(d.payload))
			case d.from.Port() == 123:
				answers++
			}
		}
		return answers >= 2
	})
	if fragments < 4 {
		t.Errorf("only %d fragments on the wire: the test tests nothing", fragments)
	}
	if said := p.Log()[quiet:]; said != "" {
		t.Errorf("logged %q", said)
	}
}

// TestS24_InterfacesComeAndGo: the server answers again within 5 s when its address or interface comes back, also an
// address that it did not have at its start; meanwhile it does not spin.
func TestS24_InterfacesComeAndGo(t *testing.T) {
	t.Parallel()
	srv, other := pair(t)
	conf := plainServer("server", "[[server]]\nlisten = \"10.9.0.77:124\"\n[[server]]\nlisten = \"10.9.0.1:125\"\n")
	p := srv.start("server", conf)
	srv.up(p)
	veth := srv.wire()
	other.IP("route", "replace", "10.9.0.77/32", "dev", other.wire())
	again := func(what, address string) {
		t.Helper()
		a := newAsker(t, other.Namespace, address)
		took := eventually(t, 5*time.Second, "answer from "+address+" after "+what, a.ask)
		t.Logf("%s: %s answers after %v", what, address, took.Round(time.Millisecond))
	}
	route := func() { srv.IP("route", "replace", "default", "via", "10.9.0.2") }
	again("start", "10.9.0.1:123")
	again("start", "10.9.0.1:125")
	idleBefore := use(t, p)

	srv.IP("addr", "add", "10.9.0.77/24", "dev", veth)
	again("address added", "10.9.0.77:124")
	again("address added", "10.9.0.77:123")

	srv.IP("addr", "del", "10.9.0.1/24", "dev", veth)
	srv.IP("addr", "flush", "dev", veth)
	time.Sleep(time.Second) // the time without address, in which nothing may spin
	srv.IP("addr", "add", "10.9.0.1/24", "dev", veth)
	srv.IP("addr", "add", "10.9.0.77/24", "dev", veth)
	route()
	again("address removed and added", "10.9.0.1:125")
	again("address removed and added", "10.9.0.77:124")

	srv.IP("link", "set", veth, "down")
	time.Sleep(time.Second)
	srv.IP("link", "set", veth, "up")
	route()
	again("interface down and up", "10.9.0.1:123")
	again("interface down and up", "10.9.0.1:125")
	again("interface down and up", "10.9.0.77:124")

	if cpu := use(t, p).cpu - idleBefore.cpu; cpu > 300*time.Millisecond {
		t.Errorf("%v of CPU time", cpu)
	}
	p.WaitSnapshot(srv.socket("server"), "counters", func(o *observe.Snapshot) bool { return len(o.Servers) == 3 })
	calm(t, p)
}
