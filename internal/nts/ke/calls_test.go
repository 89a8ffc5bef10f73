package ke

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"io"
	"net"
	"sync/atomic"
	"testing"

	"ntp-daemon/internal/accept"
	"ntp-daemon/internal/nts"
	"ntp-daemon/internal/testca"

	"github.com/rs/zerolog"
)

// countedConn counts what would be system calls.
type countedConn struct {
	net.Conn
	reads, writes atomic.Int64
}

func (c *countedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.reads.Add(1)
	}
	return n, err
}

func (c *countedConn) Write(b []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(b)
}

// TestExchange_Calls: one exchange is two writes of ours, our flight of the handshake, and the answer with close_notify; and
// three reads of what the peer has written in as many pieces: ClientHello, end of the handshake and request, close_notify.
func TestExchange_Calls(t *testing.T) {
	ca := testca.New(t)
	leaf, set := ca.Leaf("time.test"), testKeySet(t)
	s := NewServer(ServerConfig{Certificate: func() *tls.Certificate { return &leaf }, KeySet: func() *nts.KeySet { return set }, Rand: rand.Reader, Log: zerolog.Nop()})
	ln, err := accept.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	raw, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	ours, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	counted, done := &countedConn{Conn: ours}, make(chan struct{})
	go func() {
		defer close(done)
		s.handle(context.Background(), &accept.Conn{Conn: counted})
		_ = ours.Close()
	}()
	// What the client writes after the handshake goes out together, as it does from a client that does not flush between.
	conn := tls.Client(&lastFlight{Conn: raw}, ClientTLS("time.test", ca.Pool(), nil))
	if _, err := conn.Write(wire(t, hexKS01)); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(conn); len(b) < 800 || err != nil {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	_ = conn.Close()
	<-done
	if r, w := counted.reads.Load(), counted.writes.Load(); r > 3 || w != 2 {
		t.Errorf("%d reads, %d writes", r, w)
	}
}

// lastFlight sends the client's end of the handshake only with the request.
type lastFlight struct {
	net.Conn
	writes int
	kept   []byte
}

func (c *lastFlight) Write(b []byte) (int, error) {
	c.writes++
	if c.writes == 2 { // the end of the handshake
		c.kept = append(c.kept, b...)
		return len(b), nil
	}
	all := append(c.kept, b...)
	c.kept = nil
	if _, err := c.Conn.Write(all); err != nil {
		return 0, err
	}
	return len(b), nil
}
