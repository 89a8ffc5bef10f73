package ke

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"ntp-daemon/internal/accept"
	"ntp-daemon/internal/nts"
	"ntp-daemon/internal/testca"
)

// narrow is a listener whose connections have a small send buffer, as they have towards far peers.
type narrow struct{ net.Listener }

func (n narrow) Accept() (net.Conn, error) {
	c, err := n.Listener.Accept()
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetWriteBuffer(4096)
	}
	return c, err
}

// TestKS23_KeyUpdatesUnread: a peer that asks for key updates, reads none of the answers and sends a byte of
// data now and then, so that crypto/tls does not count the updates as useless. Once the socket is full, the
// answer to an update is a write inside of a read; it must end with the exchange.
func TestKS23_KeyUpdatesUnread(t *testing.T) {
	ca := testca.New(t)
	leaf, set := ca.Leaf("time.test"), testKeySet(t)
	srv := NewServer(ServerConfig{
		Certificate: func() *tls.Certificate { return &leaf }, KeySet: func() *nts.KeySet { return set }, Rand: rand.Reader,
		Log: zerolog.Nop(), Timeout: 500 * time.Millisecond,
	})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ctx, narrow{ln}) }()
	defer func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}()

	raw, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	_ = raw.(*net.TCPConn).SetReadBuffer(4096)
	_ = raw.SetDeadline(time.Now().Add(10 * time.Second))
	var keys strings.Builder
	conf := ClientTLS("time.test", ca.Pool(), nil)
	conf.KeyLogWriter = &keys
	conn := tls.Client(raw, conf)
	if err := conn.Handshake(); err != nil {
		t.Fatal(err)
	}
	if conn.ConnectionState().CipherSuite != tls.TLS_AES_128_GCM_SHA256 {
		t.Skip("skipped: this machine has no AES in hardware, so crypto/tls chose another cipher suite")
	}
	w := recordWriter{t: t, raw: raw, secret: trafficSecret(t, keys.String(), "CLIENT_TRAFFIC_SECRET_0 ")}
	began := time.Now()
	if err := w.write(23, wire(t, "2222 3000")); err != nil { // the start of a long record without meaning
		t.Fatal(err)
	}
	_ = raw.SetWriteDeadline(began.Add(400 * time.Millisecond))
	for n := 0; err == nil; n++ {
		if n%15 == 14 {
			err = w.write(23, []byte{0})
		} else {
			err = w.update()
		}
	}
	if !errors.Is(err, context.DeadlineExceeded) && !accept.IsTimeout(err) {
		t.Fatalf("the server did not stop to read: %v", err)
	}
	for srv.Counters().Accept.Open > 0 {
		if time.Since(began) > 3*time.Second {
			t.Fatalf("still open after %v: %+v", time.Since(began), srv.Counters().Accept)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
