package ke

import (
	"crypto/tls"
	"io"
	"net"
	"runtime"
	"slices"
	"testing"
	"time"

	"ntp-daemon/internal/testca"
)

// TestNagle_RequestNeedNotWait: a client that leaves Nagle's algorithm on gets its answer without the 40 ms by which the
// kernel delays an acknowledgement. A quarter of the exchanges is enough to tell: each would take longer.
func TestNagle_RequestNeedNotWait(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("TCP_QUICKACK is Linux's")
	}
	s := startServer(t, nil)
	var took []time.Duration
	for range 21 {
		raw, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		_ = raw.(*net.TCPConn).SetNoDelay(false)
		_ = raw.SetDeadline(time.Now().Add(10 * time.Second))
		conn := tls.Client(raw, ClientTLS("time.test", s.ca.Pool(), nil))
		if err := conn.Handshake(); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if _, err := conn.Write(wire(t, hexKS01)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(conn, make([]byte, 800)); err != nil {
			t.Fatal(err)
		}
		took = append(took, time.Since(began))
		_ = raw.Close()
	}
	slices.Sort(took)
	t.Logf("request to answer: quartile %v, median %v", took[5], took[10])
	if took[5] > 20*time.Millisecond {
		t.Errorf("request to answer: %v in a quarter of the exchanges", took[5])
	}
}

// TestTimeout_IsTheOnlyLimit: with a longer time for an exchange, a peer that is silent, and one that sends only a part
// of its request, have all of it.
func TestTimeout_IsTheOnlyLimit(t *testing.T) {
	const limit = 2600 * time.Millisecond // above the two seconds that the handshake once had
	s := startServer(t, func(_ *testServer, c *ServerConfig) { c.Timeout = limit })
	closed := make(chan time.Duration, 2)
	began := time.Now()
	silent, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	slow := s.dial(nil)
	if _, err := slow.Write(wire(t, hexNP)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []net.Conn{silent, slow} {
		go func() {
			defer c.Close()
			_ = c.SetDeadline(began.Add(10 * time.Second))
			_, _ = io.ReadAll(c)
			closed <- time.Since(began)
		}()
	}
	for range 2 {
		if d := <-closed; d < limit || d > limit+2*time.Second {
			t.Errorf("closed after %v", d)
		}
	}
}

// TestNagle_AnswerInPieces: neither does the rest of an answer wait whose sender leaves the algorithm on and writes it in
// three pieces, of which the third waits for the acknowledgement of the second.
func TestNagle_AnswerInPieces(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("TCP_QUICKACK is Linux's")
	}
	ca := testca.New(t)
	leaf := ca.Leaf("time.test")
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	var took []time.Duration
	for range 21 {
		go func() {
			raw, err := ln.Accept()
			if err != nil {
				return
			}
			defer raw.Close()
			_ = raw.(*net.TCPConn).SetNoDelay(false)
			conn := tls.Server(raw, ServerTLS(func() *tls.Certificate { return &leaf }, nil))
			if _, err := conn.Read(make([]byte, 100)); err != nil {
				return
			}
			for _, piece := range []string{"a", "b", "c"} {
				_, _ = io.WriteString(conn, piece)
			}
			_, _ = conn.Read(make([]byte, 1))
		}()
		raw, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_ = raw.SetDeadline(time.Now().Add(10 * time.Second))
		conn, err := Handshake(t.Context(), raw, ClientTLS("time.test", ca.Pool(), nil))
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		_, _ = io.WriteString(conn, "request")
		if _, err := io.ReadFull(conn, make([]byte, 3)); err != nil {
			t.Fatal(err)
		}
		took = append(took, time.Since(began))
		_ = raw.Close()
	}
	slices.Sort(took)
	t.Logf("request to answer: quartile %v, median %v", took[5], took[10])
	if took[5] > 20*time.Millisecond {
		t.Errorf("request to answer: %v in a quarter of the exchanges", took[5])
	}
}
