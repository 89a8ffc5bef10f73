package ke

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/hex"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"ntp-daemon/internal/testca"
)

// expandLabel is HKDF-Expand-Label of TLS 1.3 with SHA-256 (RFC 8446 §7.1).
func expandLabel(t *testing.T, secret []byte, label string, n int) []byte {
	t.Helper()
	info := binary.BigEndian.AppendUint16(nil, uint16(n))
	info = append(info, byte(len("tls13 "+label)))
	info = append(info, "tls13 "+label...)
	info = append(info, 0)
	out, err := hkdf.Expand(sha256.New, secret, string(info), n)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// recordWriter seals TLS records with a traffic secret, which crypto/tls would not send by itself.
type recordWriter struct {
	t      *testing.T
	raw    net.Conn
	secret []byte
	seq    uint64
}

// write sends one record with the inner content type; AES-128-GCM.
func (w *recordWriter) write(contentType byte, content []byte) error {
	key, iv := expandLabel(w.t, w.secret, "key", 16), expandLabel(w.t, w.secret, "iv", 12)
	block, err := aes.NewCipher(key)
	if err != nil {
		w.t.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		w.t.Fatal(err)
	}
	for i := range 8 {
		iv[4+i] ^= byte(w.seq >> (56 - 8*i))
	}
	w.seq++
	plain := append(bytes.Clone(content), contentType)
	head := binary.BigEndian.AppendUint16([]byte{23, 3, 3}, uint16(len(plain)+gcm.Overhead()))
	_, err = w.raw.Write(gcm.Seal(head, iv, plain, head))
	return err
}

// update announces and takes the next traffic secret (RFC 8446 §4.6.3).
func (w *recordWriter) update() error {
	if err := w.write(22, []byte{24, 0, 0, 1, 1}); err != nil {
		return err
	}
	w.secret, w.seq = expandLabel(w.t, w.secret, "traffic upd", 32), 0
	return nil
}

// trafficSecret finds a secret in a key log.
func trafficSecret(t *testing.T, keyLog, label string) []byte {
	t.Helper()
	_, after, _ := strings.Cut(keyLog, label)
	fields := strings.Fields(after)
	if len(fields) < 2 {
		t.Fatalf("key log without %s", label)
	}
	secret, err := hex.DecodeString(fields[1])
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

// TestKC20_HostileServers: a client survives key updates without end and a certificate of 300 KiB.
func TestKC20_HostileServers(t *testing.T) {
	t.Run("key updates", func(t *testing.T) {
		var keys strings.Builder
		p := startPeer(t, func(_ *testca.CA, c *tls.Config) { c.KeyLogWriter = &keys }, func(conn *tls.Conn) {
			if conn.ConnectionState().CipherSuite != tls.TLS_AES_128_GCM_SHA256 {
				return // without AES in hardware; the client then sees an early end, which is an error as well
			}
			w := recordWriter{t: t, raw: conn.NetConn(), secret: trafficSecret(t, keys.String(), "SERVER_TRAFFIC_SECRET_0 ")}
			for w.update() == nil {
				time.Sleep(100 * time.Microsecond)
			}
		})
		c := p.client()
		c.Timeout = 500 * time.Millisecond
		began := time.Now()
		if _, err := Exchange(t.Context(), c); err == nil || time.Since(began) > 1500*time.Millisecond {
			t.Errorf("error %v after %v", err, time.Since(began))
		}
	})
	t.Run("certificate", func(t *testing.T) {
		p := startPeer(t, func(ca *testca.CA, c *tls.Config) {
			c.Certificates = []tls.Certificate{ca.Custom(ca.Leaf("key").PrivateKey.(cryptoSigner), func(x *x509.Certificate) {
				x.ExtraExtensions = []pkix.Extension{{Id: []int{1, 2, 3, 4}, Value: make([]byte, 300<<10)}}
			}, "time.test")}
		}, answers(wire(t, hexNP+hexAE15+hexCookie+hexEOM)))
		if _, err := Exchange(t.Context(), p.client()); err == nil {
			t.Error("accepted")
		}
	})
}

// TestKS23_KeyUpdateFlood: updates that ask for updates, without end and without a request.
func TestKS23_KeyUpdateFlood(t *testing.T) {
	s := startServer(t, func(_ *testServer, c *ServerConfig) { c.Timeout = 500 * time.Millisecond })
	var keys strings.Builder
	conn := s.dial(func(c *tls.Config) { c.KeyLogWriter = &keys })
	if conn.ConnectionState().CipherSuite != tls.TLS_AES_128_GCM_SHA256 {
		t.Skip("skipped: this machine has no AES in hardware, so crypto/tls chose another cipher suite")
	}
	w := recordWriter{t: t, raw: conn.NetConn(), secret: trafficSecret(t, keys.String(), "CLIENT_TRAFFIC_SECRET_0 ")}
	if err := w.write(23, wire(t, hexNP)); err != nil { // half a request, to show that the secret is right
		t.Fatal(err)
	}
	began := time.Now()
	for range 1000 {
		if w.update() != nil {
			break
		}
	}
	_, _ = io.Copy(io.Discard, conn.NetConn())
	if d := time.Since(began); d > 2*time.Second {
		t.Errorf("closed after %v", d)
	}
	s.wait("ended", func(c Counters) bool { return c.Accept.Open == 0 && c.Of(ClosedEarly)+c.Of(TimedOut) == 1 })
	if b := s.ask(hexKS01); len(b) < 800 {
		t.Errorf("afterwards %d bytes", len(b))
	}
}
