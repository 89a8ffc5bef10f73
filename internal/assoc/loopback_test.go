package assoc

import (
	"context"
	"crypto/rand"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"ntp-daemon/internal/config"
	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/resolve"
	"ntp-daemon/internal/source"
	"ntp-daemon/internal/system"
	"ntp-daemon/internal/udp"
)

// wallClock is the machine's clock, read only.
type wallClock struct{}

func (wallClock) Now() ntp.Timestamp { return ntp.FromTime(time.Now()) }
func (wallClock) Epoch() uint64      { return 0 }

// loopbackServer answers plain requests on a real socket and notes where they come from.
type loopbackServer struct {
	pc    *net.UDPConn
	mu    sync.Mutex
	ports map[uint16]int // guarded by mu
	n     int            // guarded by mu
}

func newLoopbackServer(t *testing.T) *loopbackServer {
	t.Helper()
	pc, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	s := &loopbackServer{pc: pc, ports: map[uint16]int{}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 2048)
		for {
			n, from, err := pc.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			s.mu.Lock()
			s.ports[from.Port()]++
			s.n++
			s.mu.Unlock()
			q, err := ntp.ParseHeader(buf[:n])
			if err != nil {
				continue
			}
			now := wallClock{}.Now()
			h := ntp.Header{
				Version: 4, Mode: ntp.ModeServer, Stratum: 1, Precision: -20, RefID: ntp.RefIDFromString("TEST"),
				Origin: q.Transmit, Receive: now, Transmit: now, Reference: now,
			}
			_, _ = pc.WriteToUDPAddrPort(h.AppendTo(nil), from)
		}
	}()
	t.Cleanup(func() { _ = pc.Close(); <-done })
	return s
}

func (s *loopbackServer) addr() netip.AddrPort { return s.pc.LocalAddr().(*net.UDPAddr).AddrPort() }

// loopback runs a supervisor with the production resolver and sockets until enough measurements came.
func loopback(t *testing.T, s *loopbackServer, want int) []ntp.Measurement {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	inbox := make(chan Message)
	done := make(chan error, 1)
	go func() {
		done <- Supervise(ctx, config.Source{
			Mode: source.ModeServer, Host: "127.0.0.1", Port: s.addr().Port(), PollMin: -6, PollMax: -6, PollInitial: -6,
		}, 1, Deps{
			Clock: wallClock{}, Resolve: resolve.New(resolve.Config{}), Rand: rand.Reader, Log: zerolog.Nop(),
			Inbox: inbox, NextID: func() ntp.SourceID { return 1 },
		})
	}()
	var got []ntp.Measurement
	for len(got) < want {
		select {
		case m := <-inbox:
			if e, ok := m.Event.(system.Measured); ok {
				got = append(got, e.Measurement)
			}
		case <-ctx.Done():
			t.Fatalf("%d measurements of %d: %v", len(got), want, ctx.Err())
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return got
}

func TestC02_PortsOfRealSockets(t *testing.T) {
	s := newLoopbackServer(t)
	loopback(t, s, 100)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ports[123] != 0 || len(s.ports) < 95*s.n/100 {
		t.Errorf("%d distinct ports in %d requests, port 123 %d times", len(s.ports), s.n, s.ports[123])
	}
}

func TestLoopback_Measurements(t *testing.T) {
	for i, m := range loopback(t, newLoopbackServer(t), 20) {
		if off, d := m.Offset().Abs(), m.Delay(); off > 20*time.Millisecond || d < 0 || d > 40*time.Millisecond {
			t.Errorf("measurement %d: offset %v, delay %v", i, off, d)
		}
		if m.T4.Origin != ntp.OriginKernel {
			t.Logf("measurement %d without kernel receive stamp", i)
		}
	}
}

// TestC30_PortUnreachable: nobody listens, so each request is answered by ICMP; the association goes on trying.
func TestC30_PortUnreachable(t *testing.T) {
	s := newLoopbackServer(t)
	addr := s.addr()
	_ = s.pc.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	requests := 0 // of the one task
	inbox := make(chan Message, 1024)
	err := Supervise(ctx, config.Source{
		Mode: source.ModeServer, Host: "127.0.0.1", Port: addr.Port(), PollMin: -4, PollMax: -4, PollInitial: -4,
	}, 1, Deps{
		Clock: wallClock{}, Rand: rand.Reader, Log: zerolog.Nop(), Inbox: inbox, NextID: func() ntp.SourceID { return 1 },
		Dial: func(remote netip.AddrPort) (Conn, error) {
			if requests++; requests == 4 {
				cancel()
			}
			return udp.Dial(remote, wallClock{}.Now, nil)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	close(inbox)
	last := system.Status{}
	for m := range inbox {
		switch e := m.Event.(type) {
		case system.Status:
			last = e
		case system.Measured:
			t.Error("measured something")
		}
	}
	if last.Reachable || last.Fault == "" || requests < 4 {
		t.Errorf("status %+v after %d requests", last, requests)
	}
}

// TestL05_SilenceAsTheResolverSaysIt: what Go's resolver returns when nobody answers is what silentNames looks for.
func TestL05_SilenceAsTheResolverSaysIt(t *testing.T) {
	mute, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}) // nobody reads it
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	gone, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	_ = gone.Close()
	for name, at := range map[string]net.Addr{"mute": mute.LocalAddr(), "nobody there": gone.LocalAddr()} {
		r := resolve.New(resolve.Config{
			Timeout: 300 * time.Millisecond,
			Dial: func(context.Context, string, string) (net.Conn, error) {
				return net.Dial("udp4", at.String())
			},
		})
		if _, err := r.Lookup(t.Context(), "ntp.test", 123); !silentNames(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
