package poolke

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ntp-daemon/internal/nts/aead"
	"ntp-daemon/internal/nts/ke"
	"ntp-daemon/internal/nts/member"
	"ntp-daemon/internal/nts/record"
)

// warm waits until the i-th time source has told its lists and waits with a connection.
func (w *testPool) warm(i int) *upstream {
	w.t.Helper()
	u := w.pool.snap.Load().upstreams[i]
	eventually(w.t, func() bool {
		s := u.observed(u.backend, time.Now())
		return s.Known && s.Idle > 0 && s.InFlight == 0
	})
	return u
}

// TestWarm_NoHandshakePerUser: behind warm connections a hundred users, one after the other, cost time sources no TLS
// handshake and no question for lists; a hundred at once no more connections than a pool keeps.
func TestWarm_NoHandshakePerUser(t *testing.T) {
	w := newTestPool(t)
	w.cfg.ConnectAtStart = true
	members := []*fakeTS{w.fake("a.example", healthy, nil), w.fake("b.example", healthy, nil)}
	w.start()
	handshakes := func() (n, questions int) {
		for _, f := range members {
			requests, _, conns := f.seen()
			n += conns
			for _, r := range requests {
				if r.Kind == record.Support {
					questions++
				}
			}
		}
		return n, questions
	}
	for i := range members {
		w.warm(i)
		u := w.pool.snap.Load().upstreams[i]
		eventually(t, func() bool { u.mu.Lock(); defer u.mu.Unlock(); return !u.checking }) // the question for names, too
	}
	before, asked := handshakes()
	for i := range 100 {
		if _, err := w.keyExchange([]aead.Algorithm{15}); err != nil {
			t.Fatalf("user %d: %v", i, err)
		}
	}
	if after, questions := handshakes(); after != before || questions != asked {
		t.Errorf("a hundred users cost %d handshakes and %d questions", after-before, questions-asked)
	}
	var users sync.WaitGroup
	for range 100 {
		users.Go(func() {
			if _, err := w.keyExchange([]aead.Algorithm{15}); err != nil {
				t.Error(err)
			}
		})
	}
	users.Wait()
	for i, f := range members {
		c := w.pool.snap.Load().upstreams[i].member.Condition(time.Now())
		if _, keys, _ := f.seen(); len(keys) != 100 || c.Idle > 2 {
			t.Errorf("%s: %d users, %d connections kept", f.name, len(keys), c.Idle)
		}
	}
}

// TestWarm_AfterTheFirstUser: with the seed's configuration nothing is opened before the first user comes, and behind him
// everything.
func TestWarm_AfterTheFirstUser(t *testing.T) {
	w := newTestPool(t)
	w.looks = true
	w.fake("a.example", healthy, nil)
	b := w.fake("b.example", healthy, nil)
	w.start()
	time.Sleep(2 * soonest / 10)
	if _, _, conns := b.seen(); conns != 0 {
		t.Errorf("%d connections before the first user", conns)
	}
	if _, err := w.keyExchange([]aead.Algorithm{15}); err != nil {
		t.Fatal(err)
	}
	w.warm(1)
}

// TestWarm_LastConnectionIsReplaced: a time source that ends its connection with an answer gets a new one at once, not
// with the next user.
func TestWarm_LastConnectionIsReplaced(t *testing.T) {
	w := newTestPool(t)
	w.cfg.ConnectAtStart = true
	w.fake("a.example", func(c, n int, req *record.Request, hung <-chan struct{}) ([]byte, bool) {
		if req.Kind == record.FixedKey {
			return cookies(aead.SIVCMAC256, func(r *record.Response) { r.KeepAlive = false }), false
		}
		return healthy(c, n, req, hung)
	}, nil)
	w.start()
	for range 3 {
		u := w.warm(0)
		u.mu.Lock()
		u.looked = time.Time{} // as if the last look was long ago
		u.mu.Unlock()
		if _, err := w.keyExchange([]aead.Algorithm{15}); err != nil {
			t.Fatal(err)
		}
	}
	w.warm(0)
}

// While a breaker is open, and when its pause is over, no user is sent; the pool's own
// question ends it. Then users are back, and the first failure opens it again.
func TestD3_45_HalfOpenAsksWithoutUsers(t *testing.T) {
	w := newTestPool(t)
	var mu sync.Mutex
	ill := true
	f := w.fake("flapping.example", func(c, n int, req *record.Request, hung <-chan struct{}) ([]byte, bool) {
		mu.Lock()
		defer mu.Unlock()
		if ill && req.Kind == record.FixedKey {
			return error2, false
		}
		return healthy(c, n, req, hung)
	}, nil)
	w.fake("good.example", healthy, nil)
	w.start()
	exchange := func(n int) (failed int) {
		for range n {
			if _, err := w.keyExchange([]aead.Algorithm{15}); err != nil {
				failed++
			}
		}
		return failed
	}
	failed := 0
	for range breakerFailures {
		failed += exchange(2)
		w.look(0, 1) // it answers, so the doubt of one failure ends
	}
	u := w.pool.snap.Load().upstreams[0]
	if failed != breakerFailures || u.open() {
		t.Fatalf("%d users failed, open %v", failed, u.open())
	}
	if u.observed(u.backend, time.Now()).Breaker != "trial" {
		t.Fatal("the answer to the pool's question did not put it on trial")
	}
	if failed := exchange(2); failed != 1 || !u.open() {
		t.Errorf("on trial %d users failed, open %v", failed, u.open())
	}
	_, before, _ := f.seen()
	if failed := exchange(50); failed != 0 {
		t.Errorf("%d users were sent to a time source whose breaker is open", failed)
	}
	u.mu.Lock()
	u.breaker.until = time.Now() // the pause is over
	u.mu.Unlock()
	if failed := exchange(50); failed != 0 {
		t.Errorf("%d users had to find out", failed)
	}
	if _, after, _ := f.seen(); len(after) != len(before) {
		t.Error("keys were sent to find out")
	}
	mu.Lock()
	ill = false
	mu.Unlock()
	w.look(0, 1)
	if failed := exchange(4); failed != 0 || u.open() || u.observed(u.backend, time.Now()).Breaker != "closed" {
		t.Errorf("after its recovery %d users failed, %+v", failed, u.observed(u.backend, time.Now()))
	}
}

// With half of the members dead and one flapping, 99.9 % of the users are served once
// the breakers know.
func TestD3_45_HalfOfTheMembersAreDead(t *testing.T) {
	w := newTestPool(t)
	w.cfg.LogExchanges = 2
	for _, name := range []string{"dead1.example", "dead2.example", "dead3.example"} {
		w.dead(name)
	}
	var mu sync.Mutex
	turn := 0
	w.fake("flapping.example", func(c, n int, req *record.Request, hung <-chan struct{}) ([]byte, bool) {
		mu.Lock()
		defer mu.Unlock()
		if turn++; turn%2 == 0 {
			return nil, false
		}
		return healthy(c, n, req, hung)
	}, nil)
	w.fake("a.example", healthy, nil)
	w.fake("b.example", healthy, nil)
	w.looks = true
	w.start()
	exchange := func(n int) (failed int) {
		for range n {
			if _, err := w.keyExchange([]aead.Algorithm{15}); err != nil {
				failed++
			}
		}
		return failed
	}
	exchange(60) // warm-up
	if failed := exchange(1000); failed > 1 {
		t.Errorf("%d of 1000 users were not served", failed)
	}
}

// TestOneShot: a time source that never keeps a connection is spoken to over resumed TLS sessions, and still knows the
// pool by its certificate; a time source that keeps them is not.
func TestOneShot(t *testing.T) {
	w := newTestPool(t)
	var mu sync.Mutex
	wanted, certificates := 0, map[int]int{}
	f := w.fake("oneshot.example", func(c, n int, req *record.Request, hung <-chan struct{}) ([]byte, bool) {
		mu.Lock()
		defer mu.Unlock()
		if req.KeepAlive {
			wanted++
		}
		if req.Kind == record.Support {
			return support(false, aead.SIVCMAC256), false
		}
		return cookies(aead.SIVCMAC256, func(r *record.Response) { r.KeepAlive = false }), false
	}, func(c *tls.Config) {
		c.SessionTicketsDisabled = false
		c.VerifyConnection = func(cs tls.ConnectionState) error {
			mu.Lock()
			defer mu.Unlock()
			certificates[len(cs.PeerCertificates)]++
			return nil
		}
	})
	w.start()
	for range 12 {
		if _, err := w.keyExchange([]aead.Algorithm{15}); err != nil {
			t.Fatal(err)
		}
	}
	u := w.pool.snap.Load().upstreams[0]
	c := u.member.Condition(time.Now())
	// The list and two users are refused; the next one has the first session that can be resumed.
	if !c.OneShot || c.Opened != 4 || c.Resumed != 9 || c.Idle != 0 {
		t.Errorf("%+v", c)
	}
	if _, _, conns := f.seen(); conns != 13 || wanted != 3 || len(certificates) != 1 || certificates[0] != 0 {
		t.Errorf("%d connections, %d asked to keep them, certificates of the pool %v", conns, wanted, certificates)
	}
	if u.member.Bare() {
		t.Error("a connection is missed that would not be kept")
	}
}

// TestReload_KnowledgeSurvives: what is known of a time source outlives a reload, connections included if nothing about
// them changed, and without them if the pool's certificate did.
func TestReload_KnowledgeSurvives(t *testing.T) {
	w := newTestPool(t)
	_, _ = w.real("a.example", "token-0123456789", nil)
	w.start()
	if _, err := w.keyExchange([]aead.Algorithm{15}); err != nil {
		t.Fatal(err)
	}
	before := w.look(0, 1)
	same := w.cfg
	if err := w.pool.Swap(same); err != nil || w.pool.snap.Load().upstreams[0] != before {
		t.Fatalf("an unchanged list has another upstream, %v", err)
	}
	cert := w.ca.Leaf("pool.example")
	next := w.cfg
	next.Certificate = &cert
	if err := w.pool.Swap(next); err != nil {
		t.Fatal(err)
	}
	u := w.pool.snap.Load().upstreams[0]
	s := u.observed(u.backend, time.Now())
	if u == before || !s.Known || s.Exchanges["served"] != 1 || s.Names == nil || s.Opened != 0 || before.member.Condition(time.Now()).Idle != 0 {
		t.Errorf("with another certificate: %+v", s)
	}
	if _, err := w.keyExchange([]aead.Algorithm{15}); err != nil {
		t.Error(err)
	}
}

// TestReload_RemovedMemberFinishes: the connection of a time source that left the list is closed after the request that it
// serves, which the user still gets.
func TestReload_RemovedMemberFinishes(t *testing.T) {
	w := newTestPool(t)
	asked, answer := make(chan struct{}), make(chan struct{})
	w.fake("leaves.example", func(c, n int, req *record.Request, hung <-chan struct{}) ([]byte, bool) {
		if req.Kind == record.FixedKey {
			close(asked)
			<-answer
		}
		return healthy(c, n, req, hung)
	}, nil)
	w.start()
	result := make(chan error, 1)
	go func() { _, err := w.keyExchange([]aead.Algorithm{15}); result <- err }()
	<-asked
	u := w.pool.snap.Load().upstreams[0]
	next := w.cfg
	next.Backends = nil
	if err := w.pool.Swap(next); err != nil {
		t.Fatal(err)
	}
	close(answer)
	if err := <-result; err != nil {
		t.Errorf("the user under way: %v", err)
	}
	if c := u.member.Condition(time.Now()); c.Idle != 0 || u.member.Bare() {
		t.Errorf("%+v: a connection is kept, or wanted, to a time source that is not on the list", c)
	}
}

// TestNames_OfTheTimeSource: a user who denies a name that a time source lists denies the time source, before any user was
// given that name; and a Server record outside of the list is refused.
func TestNames_OfTheTimeSource(t *testing.T) {
	w := newTestPool(t)
	var mu sync.Mutex
	names := []string{"NTP.a.example.", "time.a.example"}
	const token = "token-0123456789"
	server := "ntp.a.example"
	w.real("a.example", token, func(c *ke.ServerConfig) {
		c.NTPServer = server
		c.Names = func() []string { mu.Lock(); defer mu.Unlock(); return slices.Clone(names) }
	})
	w.real("b.example", token, nil)
	w.start()
	if r, err := w.keyExchange([]aead.Algorithm{15}); err != nil || r.Server != server {
		t.Fatalf("%q, %v", r.Server, err)
	}
	u := w.look(0, 1)
	if got := u.observed(u.backend, time.Now()).Names; !slices.Equal(got, names) {
		t.Fatalf("names %q", got)
	}
	for range 4 {
		if r, err := w.keyExchange([]aead.Algorithm{15}, "TIME.a.example"); err != nil || r.Server != "b.example" {
			t.Errorf("the user who denies the time source got %q, %v", r.Server, err)
		}
	}
	if r, err := w.keyExchange([]aead.Algorithm{15}, "b.example"); err != nil || r.Server != server {
		t.Errorf("a name of the list: %q, %v", r.Server, err)
	}
	mu.Lock()
	names = []string{"other.example"}
	mu.Unlock()
	w.look(0, 1)
	if r, err := w.keyExchange([]aead.Algorithm{15}, "b.example"); err == nil {
		t.Errorf("a name outside of the list was handed out: %q", r.Server)
	}
	if log := w.log.String(); !strings.Contains(log, "not among those listed") {
		t.Errorf("log: %s", log)
	}
}

// TestNames_Unknown: a time source that does not know the question is asked once, on a connection apart, and serves as
// before.
func TestNames_Unknown(t *testing.T) {
	w := newTestPool(t)
	f := w.fake("a.example", func(c, n int, req *record.Request, hung <-chan struct{}) ([]byte, bool) {
		if req.WantNames {
			return error0, false
		}
		return healthy(c, n, req, hung)
	}, nil)
	w.start()
	u := w.look(0, 5)
	if _, err := w.keyExchange([]aead.Algorithm{15}); err != nil {
		t.Error(err)
	}
	requests, _, conns := f.seen()
	asked := 0
	for _, r := range requests {
		if r.WantNames {
			asked++
			if r.WantAlgorithms || r.WantProtocols || r.KeepAlive {
				t.Errorf("combined: %+v", r)
			}
		}
	}
	if asked != 1 || conns != 2 || u.open() || u.observed(u.backend, time.Now()).Names != nil {
		t.Errorf("asked %d times on %d connections", asked, conns)
	}
}

// TestWarm_EndsWithThePool: looks that hang do not keep a pool from stopping.
func TestWarm_EndsWithThePool(t *testing.T) {
	w := newTestPool(t)
	w.cfg.ConnectAtStart = true
	reached := make(chan struct{}, 1)
	w.fake("a.example", healthy, nil)
	w.startWith(Deps{Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		reached <- struct{}{}
		<-ctx.Done()
		return nil, ctx.Err()
	}})
	<-reached
	w.stop()
	start := time.Now()
	if err := <-w.done; err != nil || time.Since(start) > 5*time.Second {
		t.Errorf("after %v: %v", time.Since(start), err)
	}
	w.done <- nil
	if u := w.pool.snap.Load().upstreams[0]; u.breaker.failures != 0 {
		t.Error("the time source is blamed for the end of the pool")
	}
}

// TestSchedule: when a time source is looked at again.
func TestSchedule(t *testing.T) {
	now := time.Now()
	dead := member.New(member.Config{})
	dead.Close() // so that no connection is missed
	u := &upstream{ttl: 300 * time.Second, member: dead}
	took := func(at time.Time, want bool) {
		t.Helper()
		if got := u.takeDue(at); got != want {
			t.Errorf("due %v, want %v", got, want)
		}
	}
	took(now, true)
	took(now, false) // by one at a time
	u.rest(now)
	took(now.Add(lookInterval*4/5-1), false)
	took(now.Add(lookInterval*6/5), true)
	u.rest(now)
	u.fail(now, errors.New("bad"))
	took(now, false) // it was just looked at
	took(now.Add(soonest), true)
	u.rest(now)
	took(now.Add(retryLook-1), false)
	took(now.Add(retryLook), true)
	for range breakerFailures {
		u.fail(now, errors.New("bad"))
	}
	u.rest(now)
	took(now.Add(breakerFirst-1), false)
	took(now.Add(breakerFirst), true)
	u.rest(now)
	u.claim()
	u.answer(member.Support{}, nil, now)
	u.rest(now)
	took(now.Add(lookInterval*4/5-1), false)
	bare := &upstream{ttl: 300 * time.Second, member: member.New(member.Config{})}
	bare.rest(now)
	if !bare.takeDue(now.Add(soonest)) {
		t.Error("a time source without a connection has to wait for the next look")
	}
	short := &upstream{ttl: 4 * time.Second, member: dead}
	short.rest(now)
	if !short.takeDue(now.Add(2400 * time.Millisecond)) {
		t.Error("lists that are believed for a short while are not renewed in time")
	}
}
