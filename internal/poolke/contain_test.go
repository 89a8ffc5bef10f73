package poolke

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"ntp-daemon/internal/accept"
	"ntp-daemon/internal/nts/aead"
	"ntp-daemon/internal/nts/ke"
	"ntp-daemon/internal/nts/record"
)

// A panic in a handshake costs that user and no more: the place among those who compute is given back. With
// one processor to spare a single lost place would be the end of all handshakes.
func TestPanicInHandshake(t *testing.T) {
	w := newTestPool(t)
	w.fake("a.example", healthy, nil)
	var calls atomic.Int64
	certificate := w.cfg.Certificate
	w.prepare = func(p *Pool) {
		p.gate = ke.NewGate(1)
		p.tls.GetConfigForClient = nil // variants of their own
		p.tls.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			if calls.Add(1) == 1 {
				panic("bug")
			}
			return certificate, nil
		}
	}
	w.start()
	if _, err := w.keyExchange([]aead.Algorithm{15}); err == nil {
		t.Fatal("no panic happened")
	}
	if _, err := w.keyExchange([]aead.Algorithm{15}); err != nil {
		t.Errorf("after the panic: %v", err)
	}
}

// docs/rules/pool.md#list-in-use: the names that a time source may hand out are those of the list in use, although
// nothing else about the time source changed.
func TestReloadChangesNames(t *testing.T) {
	w := newTestPool(t)
	w.fake("a.example", func(c, n int, req *record.Request, hung <-chan struct{}) ([]byte, bool) {
		if req.Kind == record.Support {
			return healthy(c, n, req, hung)
		}
		return cookies(aead.SIVCMAC256, func(r *record.Response) { r.Server = "ntp.example" }), true
	}, nil)
	w.cfg.Backends[0].Names = []string{"ntp.example"}
	w.start()
	if r, err := w.keyExchange([]aead.Algorithm{15}); err != nil || r.Server != "ntp.example" {
		t.Fatalf("%v, %v", r.Server, err)
	}
	c := w.cfg
	c.Backends = append(c.Backends[:0:0], c.Backends...)
	c.Backends[0].Names = []string{"other.example"}
	if err := w.pool.Swap(c); err != nil {
		t.Fatal(err)
	}
	if r, err := w.keyExchange([]aead.Algorithm{15}); err == nil {
		t.Errorf("the name %q is not on the list any more", r.Server)
	}
}

// TestReload_Panic: a panic in a reload costs that reload; the list in use stays, and the next reload works.
func TestReload_Panic(t *testing.T) {
	w := newTestPool(t)
	w.fake("a.example", healthy, nil)
	hup, calls := make(chan os.Signal), 0
	w.startWith(Deps{Reload: hup, Load: func() (Config, error) {
		if calls++; calls == 1 {
			panic("injected")
		}
		return w.cfg, nil
	}})
	for range 3 { // when the third is taken, the second is done
		select {
		case hup <- os.Interrupt:
		case <-time.After(10 * time.Second):
			t.Fatalf("nobody reloads any more: %q", w.log.lines(t))
		}
	}
	if _, err := w.keyExchange([]aead.Algorithm{15}); err != nil {
		t.Error(err)
	}
	lines := w.log.lines(t)
	if !slices.Contains(lines, "bug: reload ended by a panic") || !slices.Contains(lines, "configuration reloaded") {
		t.Errorf("%q", lines)
	}
}

// TestL09_PanicInTheReloadLoop: a panic in a goroutine that is nobody's request ends the pool in order, with an error.
func TestL09_PanicInTheReloadLoop(t *testing.T) {
	w := newTestPool(t)
	w.fake("a.example", healthy, nil)
	var calls atomic.Int64
	p, err := New(w.cfg, Deps{Log: zerolog.Nop(), Listen: func(ctx context.Context, _ string) (net.Listener, error) {
		return accept.Listen(ctx, "127.0.0.1:0")
	}, Now: func() time.Time {
		if calls.Add(1) == 1 {
			panic("injected") // the reload loop asks first, for the certificate
		}
		return time.Now()
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Run(t.Context()); !errors.Is(err, errBug) || !strings.Contains(err.Error(), "injected") {
		t.Errorf("%v", err)
	}
}
