package ctl

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"ntp-daemon/internal/locate"
	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/nts"
	"ntp-daemon/internal/nts/ke"
	"ntp-daemon/internal/observe"
	"ntp-daemon/internal/resolve"
	"ntp-daemon/internal/server"
	"ntp-daemon/internal/suite"
)

// console is an Env with its output caught and nothing of the outside world unless a test puts it in.
type console struct {
	Env
	out, err bytes.Buffer
}

func newConsole(t *testing.T) *console {
	t.Helper()
	c := &console{}
	c.Env = Env{
		In: strings.NewReader(""), Out: &c.out, Err: &c.err, Now: time.Now,
		Finder:    locate.Finder{Resolve: names{}, Exchange: ke.Exchange},
		OpenClock: func() (Stepper, error) { t.Error("the clock was opened"); return nil, errors.New("no clock") },
		Sleep:     func(ctx context.Context, _ time.Duration) error { return ctx.Err() },
	}
	return c
}

// names is a resolver that knows these names, and addresses written out.
type names map[string]resolve.Answer

func (n names) Lookup(_ context.Context, host string, port uint16) (resolve.Answer, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return resolve.Answer{Addrs: []netip.AddrPort{netip.AddrPortFrom(a, port)}}, nil
	}
	a, ok := n[host]
	if !ok {
		return a, fmt.Errorf("look up %q: no such name in this test", host)
	}
	a.Addrs = slices.Clone(a.Addrs)
	for i := range a.Addrs {
		a.Addrs[i] = netip.AddrPortFrom(a.Addrs[i].Addr(), port)
	}
	if len(a.Addrs) == 0 {
		return a, resolve.ErrNoUsable
	}
	return a, nil
}

// run runs a command line and returns the exit code.
func (c *console) run(args ...string) int {
	c.out.Reset()
	c.err.Reset()
	return Main(context.Background(), append([]string{"ntp-ctl"}, args...), c.Env)
}

// expect fails the test unless the exit code is as given and both outputs hold what they should.
func (c *console) expect(t *testing.T, code, want int, out, err string) {
	t.Helper()
	if code != want || !strings.Contains(c.out.String(), out) || !strings.Contains(c.err.String(), err) {
		t.Errorf("exit %d, want %d\nstdout %q, want %q\nstderr %q, want %q", code, want, c.out.String(), out, c.err.String(), err)
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	suite.Golden(t, filepath.Join("testdata", name), got)
}

func writeFile(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// observed serves what next returns on an observation socket.
func observed(t *testing.T, next func() *observe.Snapshot) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "observe")
	ln, err := observe.Listen("observation-path", path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = observe.Serve(ctx, ln, next, zerolog.Nop()) }()
	t.Cleanup(func() { cancel(); <-done })
	return path
}

// timeServer is the suite's own responder on a loopback port, its clock ahead by shift.
type timeServer struct {
	addr netip.AddrPort
	keys *nts.KeySet
}

func startTimeServer(t *testing.T, view ntp.View, shift time.Duration) *timeServer {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	key, err := nts.NewMasterKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s := &timeServer{addr: pc.LocalAddr().(*net.UDPAddr).AddrPort(), keys: nts.NewKeySet(key, 1)}
	var wg sync.WaitGroup
	wg.Go(func() {
		clock := func() ntp.Timestamp { return ntp.FromTime(time.Now()).Add(shift) }
		r := server.NewResponder(server.Config{Rand: rand.Reader})
		in, out := make([]byte, ntp.MaxPacket), make([]byte, ntp.MaxPacket)
		for {
			n, from, err := pc.ReadFrom(in)
			if err != nil {
				return
			}
			view.Reference = clock()
			d := server.Datagram{Data: in[:n], From: from.(*net.UDPAddr).AddrPort(), To: s.addr, Received: clock()}
			if reply, _ := r.Respond(out, &view, s.keys, &d, clock); reply != nil {
				_, _ = pc.WriteTo(reply, from)
			}
		}
	})
	t.Cleanup(func() { _ = pc.Close(); wg.Wait() })
	return s
}

func goodView() ntp.View {
	return ntp.View{
		Leap: ntp.LeapNone, Stratum: 2, RefID: ntp.RefIDFromAddr(netip.MustParseAddr("203.0.113.9")),
		RootDelay: 2 * time.Millisecond, Dispersion: time.Millisecond, Precision: -24, Synchronized: true,
	}
}

// scripted answers each datagram with what reply makes of it; nil is silence.
func scripted(t *testing.T, reply func(request []byte) []byte) netip.AddrPort {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		in := make([]byte, ntp.MaxPacket)
		for {
			n, from, err := pc.ReadFrom(in)
			if err != nil {
				return
			}
			if b := reply(in[:n]); b != nil {
				_, _ = pc.WriteTo(b, from)
			}
		}
	})
	t.Cleanup(func() { _ = pc.Close(); wg.Wait() })
	return pc.LocalAddr().(*net.UDPAddr).AddrPort()
}
