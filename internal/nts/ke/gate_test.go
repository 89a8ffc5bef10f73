package ke

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"ntp-daemon/internal/testca"
)

// record of a ClientHello with a body of n bytes.
func helloRecord(n int) []byte {
	b := append([]byte{recordHandshake, 3, 1, byte(n >> 8), byte(n)}, make([]byte, n)...)
	b[recordHeader] = clientHello
	return b
}

// guest is a connection that tells the gate about its peer.
type guest struct {
	net.Conn
	prefix netip.Prefix
	gone   chan struct{}
	left   bool
}

func (g *guest) Prefix() netip.Prefix  { return g.prefix }
func (g *guest) Gone() <-chan struct{} { return g.gone }
func (g *guest) Present() bool         { return !g.left }

// visit is a gated connection and the peer's end.
func visit(g *Gate, from string) (*GatedConn, *guest, net.Conn) {
	ours, theirs := net.Pipe()
	v := &guest{Conn: ours, prefix: netip.MustParsePrefix(from + "/32"), gone: make(chan struct{})}
	return g.Conn(v), v, theirs
}

// arrive sends a ClientHello and reads it; the result is what became of the read.
func arrive(c *GatedConn, peer net.Conn) <-chan error {
	result := make(chan error, 1)
	go func() { _, _ = peer.Write(helloRecord(100)) }()
	go func() {
		_, err := io.ReadFull(c, make([]byte, recordHeader+100))
		result <- err
	}()
	synctest.Wait()
	return result
}

func arrived(t *testing.T, result <-chan error) bool {
	t.Helper()
	select {
	case err := <-result:
		if err != nil {
			t.Fatal(err)
		}
		return true
	default:
		return false
	}
}

// TestKS18_GateIsNarrowerThanTheMachine: a processor stays free, if there are two.
func TestKS18_GateIsNarrowerThanTheMachine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGate(0)
		computing := 0
		for range runtime.GOMAXPROCS(0) + 2 {
			c, _, peer := visit(g, "192.0.2.1")
			if arrived(t, arrive(c, peer)) {
				computing++
			}
			defer c.Close()
		}
		if want := max(1, runtime.GOMAXPROCS(0)-1); computing != want {
			t.Errorf("%d compute at one time, want %d", computing, want)
		}
	})
}

// TestGate_SlowReaderKeepsNoPlace: a peer that takes nothing of what we write holds up nobody.
func TestGate_SlowReaderKeepsNoPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGate(1)
		slow, _, peer := visit(g, "192.0.2.1")
		if !arrived(t, arrive(slow, peer)) {
			t.Fatal("no place for the first")
		}
		other, _, otherPeer := visit(g, "192.0.2.2")
		result := arrive(other, otherPeer)
		if arrived(t, result) {
			t.Fatal("two places")
		}
		go func() { _, _ = slow.Write([]byte{1}) }() // nobody reads at the other end
		synctest.Wait()
		if !arrived(t, result) {
			t.Error("the place is kept by a write")
		}
		_, _ = slow.Close(), other.Close()
	})
}

// TestGate_NobodyComputesForTheGone: who closed, was closed or is closed by its own deadline loses its turn, and is not
// charged for it.
func TestGate_NobodyComputesForTheGone(t *testing.T) {
	for name, leave := range map[string]func(*GatedConn, *guest){
		"the peer closed":                func(_ *GatedConn, v *guest) { v.left = true },
		"the accept loop made room":      func(_ *GatedConn, v *guest) { close(v.gone) },
		"the time for it all was over":   func(c *GatedConn, _ *guest) { _ = c.Close() },
		"both happened at the same time": func(c *GatedConn, v *guest) { close(v.gone); _ = c.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := NewGate(1)
				busy, _, peer := visit(g, "192.0.2.1")
				if !arrived(t, arrive(busy, peer)) {
					t.Fatal("no place for the first")
				}
				c, v, otherPeer := visit(g, "192.0.2.2")
				result := arrive(c, otherPeer)
				leave(c, v)
				synctest.Wait()
				busy.Done(true)
				synctest.Wait()
				if err := <-result; !errors.Is(err, net.ErrClosed) && !errors.Is(err, ErrLeft) {
					t.Errorf("%v", err)
				}
				c.Done(false)
				if s := g.line.known.of(v.prefix, 0); *s != (standing{}) || g.line.busy != 0 || g.line.size != 0 {
					t.Errorf("standing %+v, %d busy, %d in line", *s, g.line.busy, g.line.size)
				}
				_, _ = c.Close(), busy.Close()
			})
		})
	}
}

// TestGate_Standing: what becomes of a handshake is remembered of its prefix.
func TestGate_Standing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGate(1)
		for _, row := range []struct {
			finished bool
			credit   int32
		}{{false, -fullCredit}, {false, -2 * fullCredit}, {true, -fullCredit}, {true, 0}, {true, fullCredit}, {true, fullCredit}} {
			c, v, peer := visit(g, "192.0.2.1")
			if !arrived(t, arrive(c, peer)) {
				t.Fatal("no place")
			}
			c.Done(row.finished)
			c.Done(row.finished)
			if s := g.line.known.of(v.prefix, 0); s.credit != row.credit || s.open != 0 {
				t.Errorf("%+v, want credit %d", *s, row.credit)
			}
			_ = c.Close()
		}
	})
}

// TestGate_PauseEnds: one in debt is served after the pause, although nothing else happens at the gate.
func TestGate_PauseEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGate(1)
		began := time.Now()
		for i := range 3 {
			c, _, peer := visit(g, "192.0.2.1")
			if err := <-arrive(c, peer); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Millisecond) // the work
			c.Done(false)
			_ = c.Close()
			if i == 2 && time.Since(began) != 120*time.Millisecond { // the first had no debt, so only the second is followed by a pause
				t.Errorf("three in vain took %v", time.Since(began))
			}
		}
	})
}

// TestStandings_Forget: half of it in each minute, in the end all, good or bad.
func TestStandings_Forget(t *testing.T) {
	var s standings
	p := netip.MustParsePrefix("192.0.2.1/32")
	for _, finished := range []bool{true, false} {
		row := s.of(p, 0)
		*row = standing{}
		for range 40 {
			row.begin()
			row.end(finished)
		}
		was := row.value()
		if finished && was != fullCredit || !finished && was != worstCredit {
			t.Errorf("after 40: %d", was)
		}
		if now := s.of(p, standingEpoch).value(); now != was/2 {
			t.Errorf("after a minute %d of %d", now, was)
		}
		if now := s.of(p, time.Hour).value(); now != 0 {
			t.Errorf("after an hour %d", now)
		}
		s = standings{}
	}
}

// TestIsHello: only a whole record that begins a ClientHello comes to the gate.
func TestIsHello(t *testing.T) {
	whole := helloRecord(100)
	for n := range whole {
		if complete, err := isHello(whole[:n]); complete || err != nil {
			t.Fatalf("%d bytes: %v, %v", n, complete, err)
		}
	}
	for _, more := range [][]byte{whole, append(bytes.Clone(whole), 1, 2, 3), helloRecord(longestRecord)} {
		if complete, err := isHello(more); !complete || err != nil {
			t.Errorf("%d bytes: %v, %v", len(more), complete, err)
		}
	}
	for _, wrong := range [][]byte{
		[]byte("GET / HTTP/1.1"), {0x80}, {recordHandshake, 2}, {21, 3, 1, 0, 2, 1, 0}, {20, 3, 1, 0, 1, 1},
		{recordHandshake, 3, 1, 0, 0}, {recordHandshake, 3, 1, 0, 3}, {recordHandshake, 3, 1, 0x40, 1}, {recordHandshake, 3, 1, 0, 100, 2},
	} {
		if _, err := isHello(wrong); !errors.Is(err, errNotHello) {
			t.Errorf("%x: %v", wrong, err)
		}
	}
}

// TestGate_SignatureIsNoticed: from the signature on, and not before it, a handshake needs no place, even if the client had
// to be asked for another key share first.
func TestGate_SignatureIsNoticed(t *testing.T) {
	ca := testca.New(t)
	leaf := ca.Leaf("time.test")
	for _, curves := range [][]tls.CurveID{{tls.X25519}, {tls.CurveP521, tls.X25519}} {
		ours, theirs := net.Pipe()
		gated := NewGate(1).Conn(ours)
		conf := ServerTLS(func() *tls.Certificate { return &leaf }, nil)
		conf.CurvePreferences = []tls.CurveID{tls.X25519} // P-521 is asked to come again
		reads := []bool{}
		server := tls.Server(&spy{gated, func() { reads = append(reads, gated.signed) }}, conf)
		ask := conf.GetCertificate
		conf.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			own := *hello
			own.Conn = gated // what crypto/tls has without the spy
			return ask(&own)
		}
		go func() {
			c := ClientTLS("time.test", ca.Pool(), nil)
			c.CurvePreferences = curves
			_ = tls.Client(theirs, c).Handshake()
		}()
		if err := server.Handshake(); err != nil {
			t.Fatal(err)
		}
		if gated.ticket != nil {
			t.Errorf("%v: a place is held", curves)
		}
		gated.Done(true)
		_ = ours.Close()
		if n := len(reads); n < 2 || reads[0] || !reads[n-1] {
			t.Errorf("%v: signed before each read: %v", curves, reads)
		}
	}
}

// spy calls before each read.
type spy struct {
	net.Conn
	before func()
}

func (s *spy) Read(b []byte) (int, error) {
	s.before()
	return s.Conn.Read(b)
}
