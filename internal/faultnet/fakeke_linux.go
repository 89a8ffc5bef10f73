package faultnet

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"ntp-daemon/internal/nts/ke"
	"ntp-daemon/internal/nts/record"
	"ntp-daemon/internal/suite"
)

// kePort is where scripted key exchange servers listen.
const kePort = 4460

// scriptTimeout ends every scripted connection, so that a test never hangs on one.
const scriptTimeout = 30 * time.Second

// KEConn is a client's connection to a scripted key exchange server.
type KEConn struct {
	*tls.Conn          // after the handshake; nil in a Raw script
	Raw       net.Conn // below TLS
	Done      <-chan struct{}

	keyLog *bytes.Buffer
}

// KEScript plays one connection and returns when it is done with it.
type KEScript func(c *KEConn)

// KE is a scripted key exchange server.
type KE struct {
	Addr netip.AddrPort

	mu    sync.Mutex
	conns int
}

// Conns counts the connections so far.
func (k *KE) Conns() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.conns
}

// FakeKE runs a scripted TLS 1.3 server at address, port 4460, until the test ends. edit may change its TLS side.
func FakeKE(t testing.TB, n *suite.Namespace, address string, cert tls.Certificate, s KEScript, edit func(*tls.Config)) *KE {
	return serveKE(t, n, address, func(raw net.Conn, done <-chan struct{}) {
		var log bytes.Buffer
		conf := &tls.Config{
			MinVersion: tls.VersionTLS13, NextProtos: []string{ke.ALPN}, Certificates: []tls.Certificate{cert},
			SessionTicketsDisabled: true, KeyLogWriter: &log,
		}
		if edit != nil {
			edit(conf)
		}
		conn := tls.Server(raw, conf)
		if conn.Handshake() == nil {
			s(&KEConn{Conn: conn, Raw: raw, Done: done, keyLog: &log})
		}
	})
}

// RawKE runs a scripted TCP server at address, port 4460, below TLS.
func RawKE(t testing.TB, n *suite.Namespace, address string, s KEScript) *KE {
	return serveKE(t, n, address, func(raw net.Conn, done <-chan struct{}) { s(&KEConn{Raw: raw, Done: done}) })
}

func serveKE(t testing.TB, n *suite.Namespace, address string, play func(raw net.Conn, done <-chan struct{})) *KE {
	t.Helper()
	k := &KE{Addr: netip.AddrPortFrom(netip.MustParseAddr(address), kePort)}
	ln := ListenTCP(t, n, k.Addr)
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			raw, err := ln.Accept()
			if err != nil {
				return
			}
			k.mu.Lock()
			k.conns++
			k.mu.Unlock()
			wg.Go(func() {
				defer raw.Close()
				_ = raw.SetDeadline(time.Now().Add(scriptTimeout))
				stop := make(chan struct{})
				defer close(stop)
				go func() {
					select {
					case <-done:
						_ = raw.Close()
					case <-stop:
					}
				}()
				play(raw, done)
			})
		}
	})
	t.Cleanup(func() { _ = ln.Close(); close(done); wg.Wait() })
	return k
}

// ReadRequest reads one whole request.
func (c *KEConn) ReadRequest() []byte {
	msg, err := ke.NewReader(c.Conn, record.RequestLimits).Next()
	if err != nil {
		return nil
	}
	return bytes.Clone(msg)
}

// Drain reads until the peer gives up.
func (c *KEConn) Drain() { _, _ = io.Copy(io.Discard, c.Raw) }

// Message is a script that reads the request and answers with fixed bytes, in order and at once.
func Message(b []byte) KEScript {
	return func(c *KEConn) {
		c.ReadRequest()
		_, _ = c.Write(b)
	}
}

// Good is the answer of an honest server with eight cookies of n bytes for AEAD 15. The cookies are worthless.
func Good(n int, more ...record.Record) []byte {
	b := record.Append(nil, record.Record{Type: record.TypeNextProtocol, Critical: true, Body: []byte{0, 0}})
	b = record.Append(b, record.Record{Type: record.TypeAEAD, Critical: true, Body: []byte{0, 15}})
	for i := range 8 {
		b = record.Append(b, record.Record{Type: record.TypeCookie, Body: bytes.Repeat([]byte{byte(i + 1)}, n)})
	}
	for _, r := range more {
		b = record.Append(b, r)
	}
	return record.Append(b, record.Record{Type: record.TypeEnd, Critical: true})
}

// WithCookies is like Good with count cookies of n bytes.
func WithCookies(count, n int) []byte {
	b := record.Append(nil, record.Record{Type: record.TypeNextProtocol, Critical: true, Body: []byte{0, 0}})
	b = record.Append(b, record.Record{Type: record.TypeAEAD, Critical: true, Body: []byte{0, 15}})
	for i := range count {
		b = record.Append(b, record.Record{Type: record.TypeCookie, Body: bytes.Repeat([]byte{byte(i)}, n)})
	}
	return record.Append(b, record.Record{Type: record.TypeEnd, Critical: true})
}

// NeverAnswers takes the request and says nothing.
func NeverAnswers(c *KEConn) { c.Drain() }

// SlowTLS sends a good answer one byte a second, each in a TLS record of its own.
func SlowTLS(c *KEConn) {
	c.ReadRequest()
	for _, b := range Good(104) {
		if _, err := c.Write([]byte{b}); err != nil {
			return
		}
		select {
		case <-time.After(time.Second):
		case <-c.Done:
			return
		}
	}
}

// Endless sends non-critical records of an unknown type for as long as somebody reads them.
func Endless(c *KEConn) {
	c.ReadRequest()
	b := record.Append(nil, record.Record{Type: 0x7000, Body: make([]byte, 8000)})
	for {
		if _, err := c.Write(b); err != nil {
			return
		}
	}
}

// HalfClose sends half an answer and its end of the connection.
func HalfClose(c *KEConn) {
	c.ReadRequest()
	_, _ = c.Write(Good(104)[:200])
	_ = c.CloseWrite()
	if t, ok := c.Raw.(*net.TCPConn); ok {
		_ = t.CloseWrite()
	}
	c.Drain()
}

// ResetAfterRequest ends the connection with a TCP reset.
func ResetAfterRequest(c *KEConn) {
	if c.Conn != nil {
		c.ReadRequest()
	}
	if t, ok := c.Raw.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
}

// Garbage is a raw script: bytes that are no TLS.
func Garbage(c *KEConn) { _, _ = c.Raw.Write(bytes.Repeat([]byte("220 mail.example ESMTP\r\n"), 400)) }

// HandshakeStall is a raw script: it takes the hello and sends the first bytes of an answer, one a second.
func HandshakeStall(c *KEConn) {
	for range 30 {
		if _, err := c.Raw.Write([]byte{22}); err != nil {
			return
		}
		select {
		case <-time.After(time.Second):
		case <-c.Done:
			return
		}
	}
}

// KeyUpdates asks for new keys again and again, below crypto/tls, which would not.
func KeyUpdates(c *KEConn) {
	c.ReadRequest()
	w, err := newTLSWriter(c, "SERVER_TRAFFIC_SECRET_0 ")
	if err != nil {
		c.Drain() // another cipher suite: at least never answer
		return
	}
	for w.update() == nil {
		time.Sleep(100 * time.Microsecond) // the flood is meant to last, not to fill the socket buffer
	}
}

// BadTLSRecord sends application data that does not decrypt.
func BadTLSRecord(c *KEConn) {
	c.ReadRequest()
	_, _ = c.Raw.Write(append([]byte{23, 3, 3, 0, 64}, make([]byte, 64)...))
	c.Drain()
}

// tlsWriter seals TLS 1.3 records with a traffic secret.
type tlsWriter struct {
	raw    net.Conn
	secret []byte
	seq    uint64
}

func newTLSWriter(c *KEConn, label string) (*tlsWriter, error) {
	_, after, _ := strings.Cut(c.keyLog.String(), label)
	fields := strings.Fields(after)
	if len(fields) < 2 || c.ConnectionState().CipherSuite != tls.TLS_AES_128_GCM_SHA256 {
		return nil, errors.New("no usable traffic secret")
	}
	secret, err := hex.DecodeString(fields[1])
	return &tlsWriter{raw: c.Raw, secret: secret}, err
}

// expand is HKDF-Expand-Label of TLS 1.3 with SHA-256 (RFC 8446 §7.1).
func (w *tlsWriter) expand(label string, n int) ([]byte, error) {
	info := binary.BigEndian.AppendUint16(nil, uint16(n))
	info = append(info, byte(len("tls13 "+label)))
	info = append(info, "tls13 "+label+"\x00"...)
	return hkdf.Expand(sha256.New, w.secret, string(info), n)
}

// write sends one record of the inner content type.
func (w *tlsWriter) write(content []byte, kind byte) error {
	key, err := w.expand("key", 16)
	if err != nil {
		return err
	}
	iv, err := w.expand("iv", 12)
	if err != nil {
		return err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return err
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return err
	}
	for i := range 8 {
		iv[4+i] ^= byte(w.seq >> (56 - 8*i))
	}
	w.seq++
	plain := append(bytes.Clone(content), kind)
	head := binary.BigEndian.AppendUint16([]byte{23, 3, 3}, uint16(len(plain)+gcm.Overhead()))
	_, err = w.raw.Write(gcm.Seal(head, iv, plain, head))
	return err
}

// update announces the next traffic secret, asks for the peer's, and takes it (RFC 8446 §4.6.3).
func (w *tlsWriter) update() error {
	if err := w.write([]byte{24, 0, 0, 1, 1}, 22); err != nil {
		return err
	}
	next, err := w.expand("traffic upd", 32)
	w.secret, w.seq = next, 0
	return err
}
