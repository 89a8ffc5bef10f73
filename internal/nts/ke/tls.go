package ke

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"ntp-daemon/internal/accept"
	"ntp-daemon/internal/nts"
	"ntp-daemon/internal/nts/aead"
	"ntp-daemon/internal/nts/record"
	"ntp-daemon/internal/printable"
	"ntp-daemon/internal/secret"
)

const (
	// ALPN is the protocol name of NTS key exchange (RFC 8915 §7.3).
	ALPN = "ntske/1"
	// DefaultPort is the TCP port of NTS key exchange (RFC 8915 §7.1).
	DefaultPort uint16 = 4460
)

// ErrALPN says that the peer did not agree on ntske/1. crypto/tls lets a peer without ALPN pass on both sides,
// so both sides check (docs/rules/key-exchange.md#alpn).
var ErrALPN = errors.New(`peer did not negotiate ALPN "ntske/1"`)

// ErrAlgorithm says that keys were asked for an algorithm whose key size is not in our table.
var ErrAlgorithm = errors.New("AEAD algorithm without known key size")

// settings is what client and server have in common: TLS 1.3 only (RFC 8915 §3), no resumption, so that every
// exporter secret is from a full handshake, and whole messages in one TLS record.
func settings(now func() time.Time) *tls.Config {
	return &tls.Config{
		MinVersion:                  tls.VersionTLS13,
		NextProtos:                  []string{ALPN},
		SessionTicketsDisabled:      true,
		DynamicRecordSizingDisabled: true,
		Time:                        now,
	}
}

// ServerTLS is the configuration of a key exchange server. The certificate is looked up per handshake, so
// that it can be replaced while the server runs; nil fails the handshake. A nil now is the system's clock.
func ServerTLS(certificate func() *tls.Certificate, now func() time.Time) *tls.Config {
	c := settings(now)
	c.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		// Asked for right before the signature, and not before a HelloRetryRequest, which costs us nothing yet.
		if gated, ok := hello.Conn.(*GatedConn); ok {
			gated.signed = true
		}
		if cert := certificate(); cert != nil {
			return cert, nil
		}
		return nil, errors.New("no certificate loaded")
	}
	byCurve := forCurves(c)
	c.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) { return byCurve(hello), nil }
	return c
}

// forCurves says which variant of the configuration is for a client; nil is c itself. What a ClientHello offers is known if it
// came through a gate.
func forCurves(c *tls.Config) func(*tls.ClientHelloInfo) *tls.Config {
	variants := map[tls.CurveID]*tls.Config{}
	for _, curve := range append(cheapFirst(), tls.X25519MLKEM768) {
		v := c.Clone()
		v.CurvePreferences = []tls.CurveID{curve}
		variants[curve] = v
	}
	return func(hello *tls.ClientHelloInfo) *tls.Config {
		if gated, ok := hello.Conn.(*GatedConn); ok && gated.chosen {
			return variants[gated.curve]
		}
		return nil
	}
}

// ClientTLS is the configuration of a client of the server name, a host name or an address, whose certificate
// must chain to roots (nil: the system's).
func ClientTLS(name string, roots *x509.CertPool, now func() time.Time) *tls.Config {
	c := settings(now)
	c.ServerName = strings.TrimSuffix(name, ".")
	c.RootCAs = roots
	return c
}

// Handshake completes TLS as the client on a connection that was just dialled, and closes it on failure. Bytes of the
// peer in the error are escaped. ALPN is not checked.
func Handshake(ctx context.Context, raw net.Conn, c *tls.Config) (*tls.Conn, error) {
	conn := tls.Client(accept.Prompt(raw), c)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, printable.Error(err)
	}
	return conn, nil
}

// CheckALPN is the check that crypto/tls leaves to us, for after the handshake.
func CheckALPN(cs tls.ConnectionState) error {
	if cs.NegotiatedProtocol != ALPN {
		return ErrALPN
	}
	return nil
}

// ExportKeys derives the keys of algorithm a from the TLS session (RFC 8915 §5.1). The length comes from the
// table in aead only: crypto/tls panics for a length that a stranger could choose. context is the algorithm id
// in the exporter context, which is a except for AEAD 30 with old chrony (docs/rules/key-exchange.md#aead-30).
func ExportKeys(cs *tls.ConnectionState, p record.Protocol, a, context aead.Algorithm) (nts.Keys, error) {
	n, known := a.KeySize()
	if !known {
		return nts.Keys{}, fmt.Errorf("%v: %w", a, ErrAlgorithm)
	}
	keys := nts.Keys{Algorithm: a}
	for _, half := range []struct {
		key *secret.Bytes
		s2c bool
	}{{&keys.C2S, false}, {&keys.S2C, true}} {
		ctx := nts.ExporterContext(uint16(p), context, half.s2c)
		key, err := cs.ExportKeyingMaterial(nts.ExporterLabel, ctx[:], n)
		if err != nil {
			return nts.Keys{}, fmt.Errorf("export keys: %w", err)
		}
		*half.key = key
	}
	return keys, nil
}
