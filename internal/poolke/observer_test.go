package poolke

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ntp-daemon/internal/nts/aead"
	"ntp-daemon/internal/nts/member"
	"ntp-daemon/internal/observe"
	"ntp-daemon/internal/pool"
)

// TestObservation: what happened to users and time sources stands in the snapshot, and nothing that is secret does.
func TestObservation(t *testing.T) {
	w := newTestPool(t)
	w.cfg.ObservationPath, w.cfg.ObservationPermissions = filepath.Join(t.TempDir(), "observe"), 0o600
	const token = "a token that nobody may see"
	w.dead("dead.example")
	w.real("good.example", token, nil)
	w.start()
	for range 2 * breakerFailures {
		if _, err := w.keyExchange([]aead.Algorithm{aead.SIVCMAC256}); err != nil {
			t.Fatal(err)
		}
	}
	w.requireCount(Served, 2*breakerFailures)
	w.look(0, breakerFailures-1)
	w.look(1, 1)
	s, err := observe.Read(t.Context(), w.cfg.ObservationPath)
	if err != nil {
		t.Fatal(err)
	}
	p := s.Pool
	if p == nil || p.Address == "" || p.Stage != "serving" || s.Program.Version == "" || len(p.Servers) != 2 || s.System != (observe.System{}) {
		t.Fatalf("%+v", s)
	}
	if p.Outcomes["served"] != 2*breakerFailures || len(p.Outcomes) != int(outcomes) || p.Connections.Accepted != 2*breakerFailures {
		t.Errorf("users: %+v", p)
	}
	dead, good := p.Servers[0], p.Servers[1]
	if !strings.HasPrefix(dead.Server, "dead.example:") || dead.Breaker != observe.BreakerOpen || dead.Failures != breakerFailures || dead.OpenFor <= 0 ||
		dead.Known || dead.LastError != "connection" || dead.Exchanges["no_server"] != 1 || dead.Opened != 0 {
		t.Errorf("dead time source: %+v", dead)
	}
	if good.Breaker != observe.BreakerClosed || good.Failures != 0 || !good.Known || good.Dialect == "" || good.LastError != "" ||
		!slices.Contains(good.Algorithms, uint16(aead.SIVCMAC256)) || good.Exchanges["served"] != 2*breakerFailures || len(good.Exchanges) != 6 {
		t.Errorf("good time source: %+v", good)
	}
	if good.RTT <= 0 || good.InFlight != 0 || good.ListsAge <= 0 || good.Names == nil || good.Idle != 1 || good.OneShot || good.Opened != 2 || good.Resumed != 0 ||
		good.Reused != 2*breakerFailures+1 || good.CertificateNotAfter < time.Now().Unix() {
		t.Errorf("connections to the good time source: %+v", good)
	}
	if text := fmt.Sprintf("%+v", *p); strings.Contains(text, token) {
		t.Error("the token is shown")
	}
	if st, err := os.Stat(w.cfg.ObservationPath); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st, err)
	}
}

// A socket that cannot be had does not keep users from their keys, and leaves alone what is in its place.
func TestObservation_SocketInTheWay(t *testing.T) {
	w := newTestPool(t)
	w.cfg.ObservationPath = filepath.Join(t.TempDir(), "observe")
	if err := os.WriteFile(w.cfg.ObservationPath, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.real("good.example", "", nil)
	w.start()
	if _, err := w.keyExchange(nil); err != nil {
		t.Error(err)
	}
	if lines := w.log.lines(t); !slices.ContainsFunc(lines, func(l string) bool {
		return strings.HasPrefix(l, "the observation socket "+w.cfg.ObservationPath+" is down")
	}) {
		t.Errorf("%q", lines)
	}
	if b, err := os.ReadFile(w.cfg.ObservationPath); err != nil || string(b) != "mine" {
		t.Errorf("%q, %v", b, err)
	}
}

// TestBreakerStates: closed, open, on trial when the pause is over, closed after a success.
func TestBreakerStates(t *testing.T) {
	now := time.Now()
	u := &upstream{backend: &pool.Backend{Domain: "a.example", Port: 4460}, member: member.New(member.Config{})}
	want := func(state string, failures int) {
		t.Helper()
		if s := u.observed(u.backend, now); s.Breaker != state || s.Failures != failures || (s.OpenFor > 0) != (state == observe.BreakerOpen) {
			t.Errorf("%+v, want %s after %d", s, state, failures)
		}
		if s := u.standing(u.backend, now); s.Breaker != state {
			t.Errorf("/readyz sees it %s, want %s", s.Breaker, state)
		}
	}
	want(observe.BreakerClosed, 0)
	for range breakerFailures {
		want(observe.BreakerClosed, u.breaker.failures)
		u.fail(now, errors.New("bad"))
	}
	want(observe.BreakerOpen, breakerFailures)
	now = now.Add(breakerFirst)
	want(observe.BreakerTrial, breakerFailures)
	u.claim()
	u.answer(member.Support{}, nil, now)
	want(observe.BreakerTrial, breakerFailures)
	if !u.succeed(now) {
		t.Error("nobody is told that it is back")
	}
	want(observe.BreakerClosed, 0)
	if u.succeed(now) {
		t.Error("told twice")
	}
	if s := u.observed(u.backend, now); s.LastError != "answer" || s.ErrorAge != breakerFirst.Seconds() {
		t.Errorf("%+v", s)
	}
}

func TestFaultClass(t *testing.T) {
	for want, list := range map[string][]error{
		"timeout":     {context.DeadlineExceeded, os.ErrDeadlineExceeded, &net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded}},
		"name":        {&net.OpError{Op: "dial", Err: &net.DNSError{Name: "gone.example", IsNotFound: true}}},
		"certificate": {&tls.CertificateVerificationError{Err: errors.New("expired")}, member.ErrWeakKey},
		"refused":     {member.ErrRefused, member.ErrCertificate},
		"dialect":     {member.ErrDialect, member.ErrALPN},
		"tls":         {tls.AlertError(40), &net.OpError{Op: "remote error", Err: tls.AlertError(40)}},
		"connection":  {&net.OpError{Op: "dial", Err: errors.New("refused")}},
		"answer":      {errors.New("something else")},
	} {
		for _, err := range list {
			if got := faultClass(fmt.Errorf("ask: %w", err)); got != want {
				t.Errorf("%v: %s, want %s", err, got, want)
			}
		}
	}
}
