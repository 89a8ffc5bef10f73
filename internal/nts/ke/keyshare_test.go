package ke

import (
	"crypto/tls"
	"net"
	"slices"
	"testing"
)

// helloOf is the ClientHello of a client that prefers these curves; it sends keys for the first, and for a hybrid also
// for its second half.
func helloOf(t testing.TB, curves ...tls.CurveID) []byte {
	t.Helper()
	conf := ClientTLS("time.test", nil, nil)
	conf.CurvePreferences = curves
	ours, theirs := net.Pipe()
	defer ours.Close()
	go func() {
		_ = tls.Client(theirs, conf).Handshake()
		_ = theirs.Close()
	}()
	b := make([]byte, longestRecord)
	n, err := ours.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return b[:n]
}

// withShares is a ClientHello with these key shares, each of one byte.
func withShares(groups ...tls.CurveID) []byte {
	var list []byte
	for _, g := range groups {
		list = append(list, byte(g>>8), byte(g), 0, 1, 9)
	}
	ext := append([]byte{0, 13, 0, 1, 7, 0, extKeyShare, byte((len(list) + 2) >> 8), byte(len(list) + 2), byte(len(list) >> 8), byte(len(list))}, list...)
	b := make([]byte, recordHeader+helloFixed)
	b = append(b, 2, 1, 1, 0, 2, 19, 1, 1, 0) // session id, cipher suites, compression
	return append(append(b, byte(len(ext)>>8), byte(len(ext))), ext...)
}

func TestChooseCurve(t *testing.T) {
	const grease, ffdhe = tls.CurveID(0x1a1a), tls.CurveID(256)
	many := slices.Repeat([]tls.CurveID{grease}, maxKeyShares)
	for _, row := range []struct {
		name  string
		hello []byte
		want  tls.CurveID // 0: left to crypto/tls
	}{
		{"Go's own", helloOf(t), tls.X25519MLKEM768},
		{"Go with X25519 alone", helloOf(t, tls.X25519), tls.X25519},
		{"Go with P-256 alone", helloOf(t, tls.CurveP256), tls.CurveP256},
		{"chrony and others: P-256 and X25519", withShares(tls.CurveP256, tls.X25519), tls.CurveP256},
		{"the other way round", withShares(tls.X25519, tls.CurveP256), tls.CurveP256},
		{"the hybrid first", withShares(grease, tls.X25519MLKEM768, tls.X25519), tls.X25519MLKEM768},
		{"the hybrid, but not first", withShares(tls.X25519, tls.X25519MLKEM768), tls.X25519},
		{"P-521 and P-384", withShares(tls.CurveP521, tls.CurveP384), tls.CurveP384},
		{"none of ours", withShares(grease, ffdhe), 0},
		{"no key at all", withShares(), 0},
		{"more than are looked at", withShares(append(many, tls.X25519)...), 0},
		{"as many as are looked at", withShares(append(many[1:], tls.X25519)...), tls.X25519},
	} {
		got, ok := chooseCurve(row.hello)
		if got != row.want || ok != (row.want != 0) {
			t.Errorf("%s: %v, %v", row.name, got, ok)
		}
	}
}

// TestChooseCurve_Cut: what is no whole ClientHello decides nothing.
func TestChooseCurve_Cut(t *testing.T) {
	hello := withShares(tls.X25519, tls.CurveP256)
	for n := range hello {
		if got, ok := chooseCurve(hello[:n]); ok {
			t.Errorf("%d of %d bytes: %v", n, len(hello), got)
		}
	}
}

// TestCurves_NoSecondHello: each client gets what its first ClientHello has a key for, so nobody is asked for another one.
func TestCurves_NoSecondHello(t *testing.T) {
	s := startServer(t, nil)
	for _, offer := range [][]tls.CurveID{nil, {tls.X25519}, {tls.CurveP256}, {tls.CurveP384}, {tls.CurveP521, tls.X25519}} {
		conn := s.dial(func(c *tls.Config) { c.CurvePreferences = offer })
		if cs := conn.ConnectionState(); cs.HelloRetryRequest {
			t.Errorf("%v: asked again, then %v", offer, cs.CurveID)
		}
		_ = conn.Close()
	}
}

// FuzzKeyShares: no bytes make the parser fail, read beyond them or return more than there is room for, and what it returns is
// what crypto/tls reads.
func FuzzKeyShares(f *testing.F) {
	f.Add(helloOf(f))
	f.Add(helloOf(f, tls.CurveP256))
	f.Add(withShares(tls.X25519, tls.CurveP256))
	f.Add([]byte{22, 3, 1})
	f.Fuzz(func(t *testing.T, hello []byte) {
		var buf [maxKeyShares]tls.CurveID
		shares := keyShares(slices.Clip(hello), buf[:0])
		if len(shares) > maxKeyShares {
			t.Fatalf("%d", len(shares))
		}
		if c, ok := chooseCurve(hello); ok && !slices.Contains(shares, c) {
			t.Fatalf("%v chosen of %v", c, shares)
		}
		if len(shares) == 0 {
			return
		}
		for n := range hello { // a shorter one never says something else
			if cut := keyShares(hello[:n], buf[:0]); len(cut) > 0 && n < recordHeader+helloFixed {
				t.Fatalf("%v of %d bytes", cut, n)
			}
		}
	})
}
