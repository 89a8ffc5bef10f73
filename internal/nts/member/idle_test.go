package member

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"ntp-daemon/internal/nts/record"
	"ntp-daemon/internal/testca"
)

// watchedConn is a TCP connection that calls read around every read.
type watchedConn struct {
	*net.TCPConn
	before, after func()
}

func (c watchedConn) Read(b []byte) (int, error) {
	c.before()
	n, err := c.TCPConn.Read(b)
	c.after()
	return n, err
}

// watched makes the member dial connections that call the functions around reads.
func watched(c *Config, before, after func()) {
	c.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return watchedConn{conn.(*net.TCPConn), before, after}, nil
	}
}

// TestD3_38_BytesInsideTLS: what a time source sends behind its answer may have been taken off the socket
// together with the answer, where no look at the socket finds it. It must not become the next user's answer.
func TestD3_38_BytesInsideTLS(t *testing.T) {
	// An answer that fills crypto/tls's first record of 1186 bytes, so that what follows is in another record.
	first := unhex("800a0008 000f0020 00110040 80090002 0000 00080000 22220484")
	first = append(append(first, make([]byte, 0x484)...), unhex("80000000")...)
	late := unhex("800a0004 000f0020 80090002 0000 00080000 80000000")
	f := startServer(t, func(c, n int, got []byte) ([]byte, bool) {
		if hex.EncodeToString(got) != v5 {
			return errorCode(0), false
		}
		if c == 0 && n == 0 {
			return append(first, late...), true
		}
		return eraCList, true
	}, func(_ *testca.CA, c *tls.Config) { c.DynamicRecordSizingDisabled = false })
	m := f.member(t, func(c *Config) {
		watched(c, func() { time.Sleep(20 * time.Millisecond) }, func() {}) // both records arrive before they are read
	})
	for i := range 3 {
		if s, err := m.Supports(t.Context(), nil); err != nil || len(s.Algorithms) != 2 {
			t.Errorf("request %d: %v, %v", i, s.Algorithms, err)
		}
	}
	if _, conns := f.seen(); conns != 2 {
		t.Errorf("%d connections, want a second one for the second request and no other", conns)
	}
}

// TestClient_InterruptedConnectionIsNotKept: the end of a user's context sets the connection's deadline from
// another goroutine, perhaps only when the next user has the connection.
func TestClient_InterruptedConnectionIsNotKept(t *testing.T) {
	f := startServer(t, speaks(v5, eraCList, nil), nil)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	armed := false
	m := f.member(t, func(c *Config) {
		watched(c, func() {}, func() {
			if armed {
				cancel()
			}
		})
	})
	c, err := m.connection(ctx, false)
	if err != nil {
		t.Fatal(err)
	}
	armed = true
	_, v, err := m.askOn(ctx, c, attempt{dialect: record.IANA, token: m.cfg.Tokens[0]})
	if v != failed || !errors.Is(err, context.Canceled) {
		t.Errorf("dialectVerdict %d, error %v", v, err)
	}
	if c := m.takeIdle(time.Now()); c != nil {
		t.Error("the connection was kept")
	}
}

// TestP16_SupportHidesTheToken: fmt calls no methods of unexported fields, so the type itself must see to it.
func TestP16_SupportHidesTheToken(t *testing.T) {
	s := Support{Dialect: record.IANA, token: []byte("hihi")}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q", "%d"} {
		for _, v := range []any{s, &s, struct{ S any }{s}} {
			text := strings.ToLower(fmt.Sprintf(verb, v))
			for _, leak := range []string{"hihi", "68696869", "104 105", "0x68"} {
				if strings.Contains(text, leak) {
					t.Errorf("%s of %T: %s", verb, v, text)
				}
			}
		}
	}
}

// TestP06_KeyStrength: what a time source's public key must have at least (docs/rules/pool.md#time-source-keys).
func TestP06_KeyStrength(t *testing.T) {
	rsaKey := func(bits int) any { return &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), uint(bits-1)), E: 65537} }
	for _, row := range []struct {
		name string
		key  any
		good bool
	}{
		{"RSA 1024", rsaKey(1024), false}, {"RSA 2047", rsaKey(2047), false}, {"RSA 2048", rsaKey(2048), true},
		{"P-224", &ecdsa.PublicKey{Curve: elliptic.P224()}, false}, {"P-256", &ecdsa.PublicKey{Curve: elliptic.P256()}, true},
		{"P-521", &ecdsa.PublicKey{Curve: elliptic.P521()}, true}, {"Ed25519", ed25519.PublicKey{}, true},
	} {
		err := checkKey(tls.ConnectionState{PeerCertificates: []*x509.Certificate{{PublicKey: row.key}}})
		if (err == nil) != row.good || err != nil && !errors.Is(err, ErrWeakKey) {
			t.Errorf("%s: %v", row.name, err)
		}
	}
}
