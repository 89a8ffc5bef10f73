package member

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"slices"
	"testing"
	"time"

	"ntp-daemon/internal/nts/record"
	"ntp-daemon/internal/testca"
)

// v5Alone is v5 on a connection that is not to be kept.
const v5Alone = "000e00026869" + "800a0000" + "80090000" + "04000000" + "80000000"

// kept lists the connections that wait for a request, the latest used last.
func kept(m *Client) (list []*conn) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.idle)
}

// TestClient_WaitsForAConnection: with all kept connections in use a request waits for one to become free, and after a
// while takes one of its own, on which it does not ask for Keep Alive.
func TestClient_WaitsForAConnection(t *testing.T) {
	answer := make(chan struct{})
	alone := 0
	f := startServer(t, func(c, _ int, got []byte) ([]byte, bool) {
		if hex.EncodeToString(got) != v5 && c > 0 {
			alone++
		} else {
			<-answer
		}
		return eraCList, true
	}, nil)
	m := f.member(t, func(c *Config) { c.MaxConnections = 1 })
	m.meter.connect.sample(20 * time.Second) // so far away that nobody opens a connection of its own
	results := make(chan error, 2)
	ask := func() { _, err := m.Supports(t.Context(), nil); results <- err }
	go ask()
	for m.InFlight() != 1 || len(m.places) != 1 {
		time.Sleep(time.Millisecond)
	}
	go ask()
	for m.InFlight() != 2 {
		time.Sleep(time.Millisecond)
	}
	close(answer)
	for range 2 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if _, conns := f.seen(); conns != 1 || len(kept(m)) != 1 {
		t.Errorf("%d connections, %d kept", conns, len(kept(m)))
	}

	answer = make(chan struct{})
	m.meter.connect.ns.Store(int64(time.Microsecond))
	go ask()
	for len(m.places) != 1 {
		time.Sleep(time.Millisecond)
	}
	ask() // does not wait for the other one
	if err := <-results; err != nil {
		t.Error(err)
	}
	close(answer)
	if err := <-results; err != nil {
		t.Error(err)
	}
	requests, conns := f.seen()
	if conns != 2 || len(kept(m)) != 1 || requests[len(requests)-1] != v5Alone || alone != 1 {
		t.Errorf("%d connections, %d kept, %d alone, the last request %s", conns, len(kept(m)), alone, requests[len(requests)-1])
	}
}

// TestClient_AloneIsCapped: when the places for connections of one request are taken, too, the next request waits for whichever
// becomes free, and not for longer than its context.
func TestClient_AloneIsCapped(t *testing.T) {
	answer := make(chan struct{})
	f := startServer(t, func(int, int, []byte) ([]byte, bool) { <-answer; return eraCList, true }, nil)
	m := f.member(t, func(c *Config) { c.MaxConnections = 1 })
	for range cap(m.alone) {
		m.alone <- struct{}{}
	}
	results := make(chan error, 2)
	ask := func() { _, err := m.Supports(t.Context(), nil); results <- err }
	go ask()
	for len(m.places) != 1 {
		time.Sleep(time.Millisecond)
	}
	short, cancel := context.WithTimeout(t.Context(), 3*leastPatience)
	defer cancel()
	if _, err := m.Supports(short, nil); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, ErrCrowded) {
		t.Errorf("without a place: %v", err)
	}
	go ask()
	for m.InFlight() != 2 {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(3 * leastPatience) // its patience is over, and it still waits
	if len(results) != 0 {
		t.Error("one did not wait")
	}
	close(answer)
	for range 2 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if _, conns := f.seen(); conns != 1 || len(m.alone) != cap(m.alone) {
		t.Errorf("%d connections, %d places taken", conns, len(m.alone))
	}
}

// TestClient_Check: the connection that users get next is replaced before its time is over, and not before; the one below is
// closed then.
func TestClient_Check(t *testing.T) {
	f := startServer(t, func(int, int, []byte) ([]byte, bool) { return eraCList, true }, nil)
	m := f.member(t, nil)
	check := func(want, conns int) {
		t.Helper()
		if _, err := m.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, got := f.seen(); got != conns || len(kept(m)) != want {
			t.Errorf("%d connections so far, %d kept; want %d, %d", got, len(kept(m)), conns, want)
		}
	}
	check(1, 1)
	check(1, 1)
	kept(m)[0].end = time.Now().Add(lookAhead + time.Second)
	check(1, 1)
	kept(m)[0].end = time.Now().Add(lookAhead - time.Second)
	check(2, 2) // the old one still serves whoever comes meanwhile
	check(1, 2)
	kept(m)[0].used = time.Now().Add(lookAhead - idleTime)
	check(2, 3)
	kept(m)[1].used = time.Now().Add(-idleTime) // both: users open the next one
	kept(m)[0].used = time.Now().Add(-idleTime)
	if c := m.takeIdle(time.Now()); c != nil || !m.Bare() {
		t.Error("a connection that was idle for too long is used")
	}
	check(1, 4)
}

// TestClient_CheckReplacesTheOnlyOne: where one connection is all that a time source may get, it is replaced before its end, too.
func TestClient_CheckReplacesTheOnlyOne(t *testing.T) {
	f := startServer(t, func(int, int, []byte) ([]byte, bool) { return eraCList, true }, nil)
	m := f.member(t, func(c *Config) { c.MaxConnections = 1 })
	for range 2 {
		if _, err := m.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	kept(m)[0].end = time.Now().Add(lookAhead - time.Second)
	for range 2 {
		if _, err := m.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if _, conns := f.seen(); conns != 2 || len(kept(m)) != 1 || time.Until(kept(m)[0].end) < lookAhead {
		t.Errorf("%d connections in all, %d kept", conns, len(kept(m)))
	}
}

// TestLifetime: the ends of connections that began together are spread.
func TestLifetime(t *testing.T) {
	m := New(Config{})
	least, most := maxAge, time.Duration(0)
	for range 1000 {
		l := m.lifetime()
		least, most = min(least, l), max(most, l)
	}
	if least < maxAge*9/10 || most > maxAge || most-least < maxAge/20 {
		t.Errorf("from %v to %v", least, most)
	}
}

// TestClient_OneShot: three first answers without Keep Alive in a row make a time source one that keeps no connections; one
// with it does not, nor does a list on a connection that is kept. After ten minutes it is asked again.
func TestClient_OneShot(t *testing.T) {
	keep := false
	f := startServer(t, func(int, int, []byte) ([]byte, bool) {
		if keep {
			return eraCList, true
		}
		return bytes.Replace(eraCList, unhex("00080000"), nil, 1), false
	}, func(_ *testca.CA, c *tls.Config) { c.SessionTicketsDisabled = false })
	m := f.member(t, nil)
	ask := func() string {
		t.Helper()
		if _, err := m.Supports(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		requests, _ := f.seen()
		return requests[len(requests)-1]
	}
	ask()
	ask()
	keep = true
	ask()
	keep = false
	ask() // on the connection that was kept
	for range oneShotAnswers {
		if m.OneShot(time.Now()) {
			t.Fatal("too early")
		}
		if got := ask(); got != v5 {
			t.Errorf("asked %s", got)
		}
	}
	if !m.OneShot(time.Now()) {
		t.Fatal("not noticed")
	}
	for range 3 {
		if got := ask(); got != v5Alone {
			t.Errorf("still asks for Keep Alive: %s", got)
		}
	}
	if c := m.Condition(time.Now()); c.Resumed != 2 || !c.OneShot {
		t.Errorf("%+v", c)
	}
	m.oneShot = time.Now()
	keep = true
	if got := ask(); got != v5 || m.sessions != nil || m.Condition(time.Now()).Resumed != 2 {
		t.Errorf("when the time is over it asks %s", got)
	}
}

// TestClient_OneShot_OtherRoots: a session that began under other roots is not resumed.
func TestClient_OneShot_OtherRoots(t *testing.T) {
	f := startServer(t, func(int, int, []byte) ([]byte, bool) {
		return bytes.Replace(eraCList, unhex("00080000"), nil, 1), false
	},
		func(_ *testca.CA, c *tls.Config) { c.SessionTicketsDisabled = false })
	m := f.member(t, nil)
	roots, _ := m.cfg.Roots()
	m.cfg.Roots = nil
	conf := m.tls.Clone()
	m.oneShot = time.Now().Add(time.Minute)
	m.resume(conf, roots, time.Now())
	first := conf.ClientSessionCache
	if m.resume(conf, roots, time.Now()); conf.ClientSessionCache != first || conf.SessionTicketsDisabled {
		t.Error("sessions are lost while the roots are the same")
	}
	other := roots.Clone()
	other.AppendCertsFromPEM(testca.New(t).PEM())
	if m.resume(conf, other, time.Now()); conf.ClientSessionCache == first {
		t.Error("sessions outlive the roots")
	}
}

// TestClient_Names: the question, the answers to it, and what is remembered of them.
func TestClient_Names(t *testing.T) {
	const question = "000e00026869" + "800b0000" + "80000000"
	const onKept = "000e00026869" + "800b0000" + "00080000" + "80000000"
	list := func(names ...string) []byte {
		r := record.SupportResponse{Names: names, KeepAlive: true, Dialect: record.IANA}
		return r.Append(nil)
	}
	for _, tt := range []struct {
		story  string
		answer []byte
		want   []string // nil: it does not know
	}{
		{"two names", list("a.example", "b.example"), []string{"a.example", "b.example"}},
		{"none", list(), []string{}},
		{"unknown critical record", errorCode(0), nil},
		{"bad request", errorCode(1), nil},
		{"hangs up", nil, nil},
		{"nonsense", unhex("80060001 00 80000000"), nil},
		{"a negotiation", unhex("80010002 0000 80000000"), nil},
	} {
		t.Run(tt.story, func(t *testing.T) {
			f := startServer(t, func(_, _ int, got []byte) ([]byte, bool) {
				switch hex.EncodeToString(got) {
				case question, onKept:
					return tt.answer, tt.want != nil
				}
				return eraCList, true
			}, nil)
			m := f.member(t, nil)
			s, err := m.Supports(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			for range 3 {
				names, err := m.Names(t.Context(), s)
				if err != nil || !slices.Equal(names, tt.want) || (names == nil) != (tt.want == nil) {
					t.Errorf("%q, %v", names, err)
				}
			}
			want := []string{v5, question}
			if tt.want != nil {
				want = append(want, onKept, onKept)
			}
			if requests, conns := f.seen(); !slices.Equal(requests, want) || conns != 2 || len(kept(m)) != 1 {
				t.Errorf("%q on %d connections", requests, conns)
			}
		})
	}
}

// TestClient_Names_Failures: a failure of a time source that knows the question is not taken for ignorance; one of a time
// source that was never reached says nothing.
func TestClient_Names_Failures(t *testing.T) {
	ill := false
	f := startServer(t, func(_, _ int, got []byte) ([]byte, bool) {
		if ill {
			return errorCode(2), false
		}
		return eraCList, true
	}, nil)
	m := f.member(t, nil)
	s, err := m.Supports(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if names, err := m.Names(t.Context(), s); err != nil || names == nil {
		t.Fatalf("%q, %v", names, err)
	}
	ill = true
	if names, err := m.Names(t.Context(), s); err == nil || names != nil {
		t.Errorf("%q, %v", names, err)
	}
	ill = false
	if names, err := m.Names(t.Context(), s); err != nil || names == nil {
		t.Errorf("after the failure: %q, %v", names, err)
	}
	gone := f.member(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := gone.Names(ctx, s); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if names, err := gone.Names(t.Context(), s); err != nil || names == nil {
		t.Errorf("not asked any more: %q, %v", names, err)
	}
}
