package ctl

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/nts"
	"ntp-daemon/internal/nts/aead"
	"ntp-daemon/internal/nts/ke"
	"ntp-daemon/internal/program"
	"ntp-daemon/internal/resolve"
	"ntp-daemon/internal/testca"
)

// ahead is how much the servers of these tests are ahead of this machine.
const ahead = 250 * time.Millisecond

func near(offset, want float64) bool { return offset > want-0.05 && offset < want+0.05 }

func queried(t *testing.T, c *console) []answer {
	t.Helper()
	var list []answer
	if err := json.Unmarshal(c.out.Bytes(), &list); err != nil {
		t.Fatalf("%v in %q", err, c.out.String())
	}
	return list
}

func TestQuery_OwnServer(t *testing.T) {
	s := startTimeServer(t, goodView(), ahead)
	c := newConsole(t)
	c.expect(t, c.run("query", s.addr.String()), 0, "NTS:        no", "")
	c.expect(t, c.run("query", s.addr.String()), 0, "this clock is behind", "")
	for _, version := range []string{"3", "4"} {
		c.expect(t, c.run("query", "-V", version, "--json", s.addr.String()), 0, "", "")
		a := queried(t, c)[0]
		if !near(a.Offset, 0.25) || a.Stratum != 2 || a.ReferenceID != "203.0.113.9" || a.Leap != "none" || fmt.Sprint(a.Version) != version || a.NTS {
			t.Errorf("version %s: %+v", version, a)
		}
	}
}

func TestQuery_SeveralTimes(t *testing.T) {
	s := startTimeServer(t, goodView(), -ahead)
	c := newConsole(t)
	sleeps := 0
	c.Sleep = func(_ context.Context, d time.Duration) error {
		if sleeps++; d != querySpacing {
			t.Errorf("spacing %v", d)
		}
		return nil
	}
	c.expect(t, c.run("query", "-n3", s.addr.String()), 0, "best of 3 answers", "")
	if sleeps != 2 || !strings.Contains(c.out.String(), "3: offset -2") {
		t.Errorf("%d sleeps, %q", sleeps, c.out.String())
	}
}

func TestQuery_ByName(t *testing.T) {
	s := startTimeServer(t, goodView(), ahead)
	c := newConsole(t)
	// That the name of a time source stands for this host is refused; looking at this host is not.
	c.Finder.Resolve = names{
		"time.example.org":      {Refused: []resolve.Refusal{{Addr: s.addr.Addr(), Reason: resolve.Loopback}}},
		"multicast.example.org": {Refused: []resolve.Refusal{{Addr: netip.MustParseAddr("224.0.1.1"), Reason: resolve.Multicast}}},
	}
	c.expect(t, c.run("query", fmt.Sprintf("time.example.org:%d", s.addr.Port())), 0, "time.example.org at 127.0.0.1", "")
	c.expect(t, c.run("query", "other.example.org"), 69, "", `look up "other.example.org"`)
	c.expect(t, c.run("query", "multicast.example.org"), 69, "", "no usable address")
}

// A family that leads nowhere does not hide the other one.
func TestQuery_OtherFamily(t *testing.T) {
	s := startTimeServer(t, goodView(), ahead)
	c := newConsole(t)
	c.Finder.Resolve = names{"dual.example.org": {Addrs: []netip.AddrPort{
		netip.MustParseAddrPort("[::1]:1"), netip.MustParseAddrPort("[::2]:1"), netip.AddrPortFrom(s.addr.Addr(), 1),
	}}}
	c.expect(t, c.run("query", "-n", "2", fmt.Sprintf("dual.example.org:%d", s.addr.Port())), 0, "best of 2 answers", "")
	conf := sourcesOf(t, 1, fmt.Sprintf("dual.example.org:%d", s.addr.Port()))
	c.expect(t, c.run("force-sync", "--dry-run", "-c", conf), 0, "1 source says", "")
	pool := writeFile(t, t.TempDir(), "pool.toml", fmt.Sprintf(
		"[[source]]\nmode = \"pool\"\naddress = \"dual.example.org:%d\"\ncount = 1\n[synchronization]\nminimum-agreeing-sources = 1\n", s.addr.Port()))
	c.expect(t, c.run("force-sync", "--dry-run", "-c", pool), 0, "1 source says", "")
	if c.err.Len() != 0 {
		t.Errorf("a spare server made up for the silent ones, and yet: %s", &c.err)
	}
}

func TestQuery_UnusableServers(t *testing.T) {
	unsynchronised := goodView()
	unsynchronised.Leap, unsynchronised.Stratum, unsynchronised.Synchronized = ntp.LeapUnknown, 16, false
	c := newConsole(t)
	c.expect(t, c.run("query", startTimeServer(t, unsynchronised, 0).addr.String()), 1, "Usable:     no", "")

	kiss := scripted(t, func(req []byte) []byte {
		h, _ := ntp.ParseHeader(req)
		r := ntp.Header{Leap: ntp.LeapUnknown, Version: 4, Mode: ntp.ModeServer, RefID: ntp.KissRATE, Origin: h.Transmit, Receive: 1, Transmit: 2}
		return r.AppendTo(nil)
	})
	c.expect(t, c.run("query", kiss.String()), 1, `refuses with the kiss "RATE"`, "")

	silent := scripted(t, func([]byte) []byte { return nil })
	c.expect(t, c.run("query", "-t", "100ms", silent.String()), 69, "", "timeout")
	c.expect(t, c.run("query", "-t", "100ms", "-n", "2", silent.String()), 69, "", "timeout")

	other := scripted(t, func(req []byte) []byte {
		r := ntp.Header{Version: 4, Mode: ntp.ModeServer, Stratum: 1, Origin: 77, Receive: 1, Transmit: 2}
		return r.AppendTo(nil)
	})
	c.expect(t, c.run("query", other.String()), 1, "", "match")
	short := scripted(t, func(req []byte) []byte { return req[:20] })
	c.expect(t, c.run("query", short.String()), 1, "", "ntp-ctl: ")
}

// Some malformed NTPv5 answers make the library's parser panic; the panic must end in an error.
func TestQuery_PanicOfTheLibraryIsContained(t *testing.T) {
	contained := 0
	for name, tail := range map[string][]byte{
		"length 0": {0xf5, 0x01, 0, 0}, "length 3": {0xf5, 0x01, 0, 3}, "unpadded": {0xf5, 0x01, 0, 5, 1},
		"MAC without body": {0xf5, 0x02, 0, 4}, "MAC with key id only": {0xf5, 0x02, 0, 8, 0, 0, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			addr := scripted(t, func(req []byte) []byte {
				reply := append([]byte(nil), req[:ntp.HeaderLen]...)
				reply[0] = 5<<3 | 4
				return append(reply, tail...)
			})
			r, err := askOnce(context.Background(), question{to: addr, version: 5, timeout: 2 * time.Second})
			if err == nil {
				t.Errorf("accepted: %+v", r)
			} else if strings.Contains(err.Error(), "malformed answer") {
				contained++
			}
		})
	}
	t.Logf("%d panics contained", contained)
	if contained == 0 {
		t.Error("no sample made the library panic; find new ones or drop the wrapper")
	}
}

// ntsServer is a key exchange server in front of a time server.
type ntsServer struct {
	*timeServer
	ke net.Addr
	ca string // PEM file
}

func startNTS(t *testing.T, view ntp.View, edit func(*ke.ServerConfig)) ntsServer {
	t.Helper()
	s := startTimeServer(t, view, ahead)
	ca := testca.New(t)
	leaf := ca.Leaf("localhost", "127.0.0.1")
	cfg := ke.ServerConfig{
		Certificate: func() *tls.Certificate { return &leaf }, KeySet: func() *nts.KeySet { return s.keys },
		Rand: rand.Reader, NTPPort: s.addr.Port(), Log: zerolog.Nop(),
	}
	if edit != nil {
		edit(&cfg)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = ke.NewServer(cfg).Serve(ctx, ln) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	return ntsServer{s, ln.Addr(), writeFile(t, t.TempDir(), "ca.pem", string(ca.PEM()))}
}

func TestQuery_NTS(t *testing.T) {
	for _, algorithm := range []aead.Algorithm{aead.SIVCMAC256, aead.SIVCMAC512, aead.GCMSIV128} {
		t.Run(fmt.Sprint(algorithm), func(t *testing.T) {
			w := startNTS(t, goodView(), func(c *ke.ServerConfig) { c.Algorithms = []aead.Algorithm{algorithm} })
			c := newConsole(t)
			c.expect(t, c.run("query", "--nts", "--ca", w.ca, "--json", "-n", "2", w.ke.String()), 0, "", "")
			for _, a := range queried(t, c) {
				if !a.NTS || a.AEAD != uint16(algorithm) || !near(a.Offset, 0.25) {
					t.Errorf("%+v", a)
				}
			}
			c.expect(t, c.run("query", "--nts", "--ca", w.ca, w.ke.String()), 0, fmt.Sprintf("NTS:        yes, AEAD %d", algorithm), "")
		})
	}
}

// The name in a Server record is absolute, and may all the same be one of the hosts file.
func TestQuery_NameOfTheHostsFile(t *testing.T) {
	w := startNTS(t, goodView(), func(c *ke.ServerConfig) { c.NTPServer = "localhost" })
	c := newConsole(t)
	c.Finder.Resolve = resolve.New(resolve.Config{})
	c.expect(t, c.run("query", "--nts", "--ca", w.ca, w.ke.String()), 0, "localhost at 127.0.0.1", "")
}

// ntpd in orphan mode has never set its clock and says so with a reference timestamp of zero.
func TestQuery_ReferenceTime(t *testing.T) {
	now := ntp.FromTime(time.Now())
	for _, tc := range []struct {
		name      string
		reference ntp.Timestamp
		code      int
	}{{"zero", 0, 0}, {"past", now - 60<<32, 0}, {"future", now + 60<<32, ExitFailed}} {
		server := scripted(t, func(req []byte) []byte {
			h, _ := ntp.ParseHeader(req)
			at := ntp.FromTime(time.Now())
			r := ntp.Header{Version: 4, Mode: ntp.ModeServer, Stratum: 2, RefID: 0x7f000001, Reference: tc.reference, Origin: h.Transmit, Receive: at, Transmit: at}
			return r.AppendTo(nil)
		})
		c := newConsole(t)
		if code := c.run("query", server.String()); code != tc.code {
			t.Errorf("%s: exit %d\n%s", tc.name, code, c.out.String())
		}
	}
}

// A monitor must look at every algorithm that a server or pool has (docs/rules/key-exchange.md#aead-30).
func TestQuery_AEAD(t *testing.T) {
	w := startNTS(t, goodView(), nil)
	c := newConsole(t)
	for _, tc := range []struct {
		args []string
		want uint16
	}{{[]string{"--aead", "15"}, 15}, {[]string{"--aead", "17"}, 17}, {[]string{"--aead=30"}, 30}, {[]string{"--aead", "31", "--aead", "15"}, 0}} {
		args := append(append([]string{"query", "--nts", "--ca", w.ca, "--json"}, tc.args...), w.ke.String())
		if tc.want == 0 {
			c.expect(t, c.run(args...), program.ExitUsage, "", "--aead [31 15] is no AEAD algorithm that is built")
			continue
		}
		c.expect(t, c.run(args...), 0, "", "")
		if a := queried(t, c)[0]; a.AEAD != tc.want {
			t.Errorf("%v: AEAD %d", tc.args, a.AEAD)
		}
	}
	c.expect(t, c.run("query", "--aead", "15", w.addr.String()), program.ExitUsage, "", "--aead has no effect without --nts")
}

func TestQuery_NTSFailures(t *testing.T) {
	w := startNTS(t, goodView(), nil)
	c := newConsole(t)
	c.expect(t, c.run("query", "--nts", w.ke.String()), 69, "", "certificate signed by unknown authority")
	c.expect(t, c.run("query", "--nts", "--ca", "/nonexistent.pem", w.ke.String()), 78, "", "/nonexistent.pem")
	c.expect(t, c.run("query", "--nts", "--ca", writeFile(t, t.TempDir(), "x", "y"), w.ke.String()), 78, "", "holds no certificate")

	// A server that answers without protection, and one that never saw the keys.
	plain := scripted(t, func(req []byte) []byte {
		h, _ := ntp.ParseHeader(req)
		r := ntp.Header{Version: 4, Mode: ntp.ModeServer, Stratum: 1, Origin: h.Transmit, Receive: h.Transmit, Transmit: h.Transmit}
		return r.AppendTo(nil)
	})
	stripped := startNTS(t, goodView(), func(c *ke.ServerConfig) { c.NTPPort = plain.Port() })
	c.expect(t, c.run("query", "--nts", "--ca", stripped.ca, stripped.ke.String()), 1, "", "not authentic")
	stranger := startTimeServer(t, goodView(), 0)
	wrong := startNTS(t, goodView(), func(c *ke.ServerConfig) { c.NTPPort = stranger.addr.Port() })
	c.expect(t, c.run("query", "--nts", "--ca", wrong.ca, wrong.ke.String()), 1, "", "NAK")
	tampered := scripted(t, func(req []byte) []byte {
		conn, err := net.Dial("udp", w.addr.String())
		if err != nil {
			return nil
		}
		defer conn.Close()
		_, _ = conn.Write(req)
		b := make([]byte, ntp.MaxPacket)
		n, _ := conn.Read(b)
		binary.BigEndian.PutUint32(b[4:], 1) // root delay, protected by the authenticator
		return b[:n]
	})
	relayed := startNTS(t, goodView(), func(c *ke.ServerConfig) {
		c.NTPPort = tampered.Port()
		c.KeySet = func() *nts.KeySet { return w.keys }
	})
	c.expect(t, c.run("query", "--nts", "--ca", relayed.ca, relayed.ke.String()), 1, "", "not authentic")
}

func TestQuery_Usage(t *testing.T) {
	c := newConsole(t)
	for _, tt := range []struct {
		args []string
		want string
	}{
		{nil, "one HOST"}, {[]string{"a", "b"}, "one HOST"}, {[]string{"-V", "5", "a"}, "version 5"}, {[]string{"-V", "x", "a"}, "invalid value"},
		{[]string{"--nts", "-V", "3", "a"}, "NTS needs"}, {[]string{"--ca", "f", "a"}, "without --nts"}, {[]string{"-n", "0", "a"}, "out of range"},
		{[]string{"-n", "1000", "a"}, "out of range"}, {[]string{"-t", "0s", "a"}, "must be positive"}, {[]string{"a:0"}, "no valid port; use 1 to 65535"},
		{[]string{"a:70000"}, "no valid port; use 1 to 65535"}, {[]string{"http://a"}, "no valid port"}, {[]string{":123"}, "no host name"}, {[]string{"a\x1b:1:2"}, `"a\x1b:1:2" is no address`},
	} {
		c.expect(t, c.run(append([]string{"query"}, tt.args...)...), 64, "", tt.want)
	}
}
