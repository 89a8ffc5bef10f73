package poolke

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"ntp-daemon/internal/geo/geotest"
	"ntp-daemon/internal/nts/aead"
	"ntp-daemon/internal/nts/record"
	"ntp-daemon/internal/pool"
)

// pick runs one key exchange over TLS to the name reached, behind the given header, and returns the Server name of the
// answer.
func (w *testPool) pick(header []byte, reached string, request []byte) string {
	w.t.Helper()
	conn := tls.Client(w.through(header), &tls.Config{
		NextProtos: []string{"ntske/1"}, ServerName: reached, InsecureSkipVerify: true, //nolint:gosec // any name
	})
	if err := conn.HandshakeContext(w.t.Context()); err != nil {
		w.t.Fatalf("%q: %v", reached, err)
	}
	if _, err := conn.Write(request); err != nil {
		w.t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		w.t.Fatal(err)
	}
	r, fault := record.ParseResponse(answer, record.Offer{Protocols: []record.Protocol{0}, Algorithms: []aead.Algorithm{15}})
	if fault != record.None {
		w.t.Fatalf("%v: %x", fault, answer)
	}
	return r.Server
}

// picks are the names that n users get, sorted, each once.
func (w *testPool) picks(n int, header []byte, reached string, request []byte) []string {
	var got []string
	for range n {
		got = append(got, w.pick(header, reached, request))
	}
	slices.Sort(got)
	return slices.Compact(got)
}

// entry is the time source of that name.
func (w *testPool) entry(name string) *pool.Backend {
	return &w.cfg.Backends[slices.IndexFunc(w.cfg.Backends, func(b pool.Backend) bool { return b.Domain == name })]
}

// fakes adds healthy time sources.
func (w *testPool) fakes(names ...string) {
	for _, name := range names {
		w.fake(name, healthy, nil)
	}
}

// countries writes a database of them.
func countries(t *testing.T, path string, built time.Time, networks map[string]geotest.Place) {
	t.Helper()
	if err := os.WriteFile(path, geotest.Database(built.Unix(), networks), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Who denies everybody, by 200 names or as many bytes as a message may have, is served from all, in every mode; one byte more
// is a bad request.
func TestD3_31_DenyEverything(t *testing.T) {
	for _, mode := range []pool.Mode{pool.RoundRobin, pool.Weighted, pool.Geographic, pool.Latency} {
		t.Run(mode.String(), func(t *testing.T) {
			w := newTestPool(t)
			w.fakes("a.example", "b.example")
			w.cfg.Selection = mode
			w.start()
			all := []string{"a.example", "b.example"}
			const users = 40 // enough that a drawn order misses one but once in 10^11 runs
			if got := w.picks(users, nil, "pool.example", deny(all...)); !slices.Equal(got, all) {
				t.Errorf("all denied: %v", got)
			}
			names := slices.Clone(all)
			for i := range 198 {
				names = append(names, fmt.Sprintf("n%d.example", i))
			}
			if got := w.picks(users, nil, "pool.example", deny(names...)); !slices.Equal(got, all) {
				t.Errorf("200 names: %v", got)
			}
			eventually(t, func() bool { return w.pool.selection.denied()["ignored"] == 4*users })
			if d := w.pool.selection.denied(); d["honoured"] != 0 || d["unknown"] != users*62 {
				t.Errorf("counted %v", d)
			}
			long := strings.Repeat("x", 60) + ".example"
			for len(names) < 900 { // 60 KiB
				names = append(names, long)
			}
			if got, _ := w.ask(deny(names...)); !slices.Equal(got, error1) {
				t.Errorf("60 KiB of names: %x", got)
			}
		})
	}
}

// A user who wants more time sources than the pool has is told one that it has already, each time: it sees that there is nothing
// new and waits. Nothing fails, and nothing is counted against a time source.
func TestD3_32_MoreThanThereAre(t *testing.T) {
	for _, mode := range []pool.Mode{pool.RoundRobin, pool.Weighted} {
		w := newTestPool(t)
		w.fakes("a.example", "b.example", "c.example")
		w.cfg.Selection = mode
		w.start()
		var held []string
		for range 3 {
			next := w.pick(nil, "pool.example", deny(held...))
			if slices.Contains(held, next) {
				t.Fatalf("%v: %s again after %v", mode, next, held)
			}
			held = append(held, next)
		}
		for range 5 {
			if next := w.pick(nil, "pool.example", deny(held...)); !slices.Contains(held, next) {
				t.Fatalf("%v: %s is not of the list", mode, next)
			}
		}
		w.requireCount(Served, 8)
		if d := w.pool.selection.denied(); d["honoured"] != 3 || d["ignored"] != 15 {
			t.Errorf("counted %v", d)
		}
	}
}

// The user's address, as the balancer says, decides; without a database, with a broken one and from nowhere users are served
// from all; a database that comes is used from the next reload on, and one that breaks leaves the old one in use.
func TestD3_33_Geography(t *testing.T) {
	w := newTestPool(t)
	w.cfg.ProxyPeers = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	near, all := []string{"n1.example", "n2.example", "n3.example", "n4.example"}, []string{"far.example"}
	w.fakes(append(all, near...)...)
	all = append(all, near...)
	for _, name := range near {
		w.entry(name).Regions = []string{"NL", "EUROPE"}
	}
	path := filepath.Join(t.TempDir(), "country.mmdb")
	w.cfg.Selection, w.cfg.GeoPath = pool.Geographic, path
	w.start()
	dutch, mapped, brazilian, private := proxyFor("192.0.2.9:1"), proxyFor("[::ffff:192.0.2.9]:1"), proxyFor("[2001:db8:2::1]:1"), proxyFor("10.0.0.1:1")
	const users = 120 // enough that each of five is served but once in 10^11 runs
	lookups := map[string]uint64{"found": 0, "unknown": 0, "error": 0}
	step := func(story string, header []byte, want []string, result string) {
		t.Helper()
		got := w.picks(users, header, "pool.example", request15)
		if slices.Sort(want); !slices.Equal(got, want) {
			t.Errorf("%s: served by %v, want %v", story, got, want)
		}
		lookups[result] += users
		if got := w.pool.selection.places(); fmt.Sprint(got) != fmt.Sprint(lookups) {
			t.Errorf("%s: counted %v, want %v", story, got, lookups)
		}
	}
	step("no file", dutch, all, "error")
	if err := os.WriteFile(path, []byte("no database"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := w.pool.Swap(w.cfg); err != nil {
		t.Fatal("a broken database must not refuse a reload:", err)
	}
	step("a broken file", dutch, all, "error")
	networks := map[string]geotest.Place{"192.0.2.0/24": {Country: "NL", Continent: "EU"}, "2001:db8:2::/48": {Country: "BR", Continent: "SA"}}
	countries(t, path, time.Now(), networks)
	if err := w.pool.Swap(w.cfg); err != nil {
		t.Fatal(err)
	}
	step("in the country", dutch, near, "found")
	step("P14: mapped to IPv6", mapped, near, "found")
	step("elsewhere", brazilian, all, "found")
	step("private", private, all, "unknown")
	before := w.pool.snap.Load().countries
	if err := os.WriteFile(path, []byte("no database"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := w.pool.Swap(w.cfg); err != nil || w.pool.snap.Load().countries != before {
		t.Errorf("a database that broke took the old one with it: %v", err)
	}
	step("a file that broke", dutch, near, "found")
	countries(t, path, time.Now().Add(-400*24*time.Hour), networks)
	if err := w.pool.Swap(w.cfg); err != nil {
		t.Fatal(err)
	}
	step("an old database", dutch, near, "found")
	for _, line := range []string{"the database of countries cannot be used", "the database of countries is old"} {
		if !strings.Contains(w.log.String(), line) {
			t.Errorf("the log does not say %q:\n%s", line, w.log.String())
		}
	}
	for i := range w.pool.snap.Load().upstreams {
		u := w.pool.snap.Load().upstreams[i]
		if seen := u.observed(u.backend, time.Now()); slices.Contains(near, u.backend.Domain) != (seen.Selected["NL"] > 0) || seen.Selected[pool.Global] == 0 {
			t.Errorf("%s: counted %v", u.backend, seen.Selected)
		}
	}
}

// Four names of the pool lead four lines of a plain client to four different time sources, over TLS.
func TestD3_34_FourNames(t *testing.T) {
	w := newTestPool(t)
	cert := w.ca.Leaf("pool.example", "*.pool.example")
	w.cfg.Certificate = &cert
	w.fakes("a.example", "b.example", "c.example", "d.example", "e.example", "f.example", "g.example", "h.example")
	w.cfg.Selection = pool.Weighted
	w.start()
	owner := map[string]string{}
	for _, name := range []string{"0.pool.example", "1.pool.example", "2.pool.example", "3.POOL.example"} {
		got := w.picks(60, nil, name, request15)
		if len(got) < 1 || len(got) > 3 {
			t.Errorf("%s: %v", name, got)
		}
		for _, server := range got {
			if owner[server] != "" {
				t.Errorf("%s is behind %s and %s", server, owner[server], name)
			}
			owner[server] = name
		}
	}
	if len(owner) != 8 {
		t.Errorf("only %v are behind the four names", owner)
	}
}

// Every name of a user gets the pool's certificate and an answer; one of no part of the pool gets it from the whole list.
func TestD3_41_AnyName(t *testing.T) {
	w := newTestPool(t)
	w.fakes("a.example", "b.example", "c.example", "d.example")
	w.start()
	all := []string{"a.example", "b.example", "c.example", "d.example"}
	for _, name := range []string{"", "unknown.example", "POOL.EXAMPLE", "1.unknown.example", "4.pool.example", "192.0.2.1", "::1"} {
		if got := w.picks(8, nil, name, request15); !slices.Equal(got, all) {
			t.Errorf("%q: %v", name, got)
		}
	}
	for _, name := range []string{"0.pool.example", "3.Pool.Example"} {
		if got := w.picks(8, nil, name, request15); len(got) != 1 {
			t.Errorf("%q: %v", name, got)
		}
	}
}

// A time source that does not serve the user's family is not handed out, whether the user came directly or by a balancer, and not even
// when the others fail.
func TestSelection_Family(t *testing.T) {
	w := newTestPool(t)
	w.cfg.ProxyPeers = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	w.fakes("both.example", "four.example", "six.example")
	w.entry("four.example").NoIPv6 = true
	w.entry("six.example").NoIPv4 = true
	w.start()
	four, six := proxyFor("192.0.2.1:1"), proxyFor("[2001:db8::1]:1")
	if got := w.picks(6, four, "pool.example", request15); !slices.Equal(got, []string{"both.example", "four.example"}) {
		t.Errorf("IPv4: %v", got)
	}
	if got := w.picks(6, six, "pool.example", request15); !slices.Equal(got, []string{"both.example", "six.example"}) {
		t.Errorf("IPv6: %v", got)
	}
	if got := w.picks(6, four, "pool.example", deny("both.example", "four.example")); !slices.Equal(got, []string{"both.example", "four.example"}) {
		t.Errorf("IPv4, all denied: %v", got)
	}
}

// Weights are those of the list in use: a reload that changes nothing else changes the shares.
func TestSelection_WeightsOfTheListInUse(t *testing.T) {
	w := newTestPool(t)
	w.fakes("a.example", "b.example")
	w.cfg.Selection = pool.Weighted
	w.entry("b.example").Weight = 0
	w.start()
	if got := w.picks(6, nil, "pool.example", request15); !slices.Equal(got, []string{"a.example"}) {
		t.Errorf("weight 0 was drawn: %v", got)
	}
	w.cfg.Backends = slices.Clone(w.cfg.Backends)
	w.cfg.Backends[0].Weight, w.cfg.Backends[1].Weight = 0, 5
	if err := w.pool.Swap(w.cfg); err != nil {
		t.Fatal(err)
	}
	if got := w.picks(6, nil, "pool.example", request15); !slices.Equal(got, []string{"b.example"}) {
		t.Errorf("after the reload: %v", got)
	}
}

// P15 through the pool: its own source of chance, which a test of the package's rules replaces, its own denials.
func TestP15_SharesOfThePool(t *testing.T) {
	w := newTestPool(t)
	for i, weight := range []uint32{1, 2, 4, 1, 2, 4} {
		w.cfg.Backends = append(w.cfg.Backends, pool.Backend{Domain: fmt.Sprintf("s%d.example", i), Port: 4460, Weight: weight})
	}
	w.cfg.Selection = pool.Weighted
	p, err := New(w.cfg, Deps{Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	req, snap := &record.Request{Deny: []string{"s3.example", "s4.example", "S5.example."}}, p.snap.Load()
	const users = 100000
	got := map[string]float64{}
	for range users {
		got[p.choose(snap, netip.MustParseAddr("192.0.2.1"), "pool.example", req)[0].backend.Domain] += 7. / users
	}
	for name, want := range map[string]float64{"s0.example": 1, "s1.example": 2, "s2.example": 4} {
		if got[name] < want-0.14 || got[name] > want+0.14 {
			t.Errorf("%s has %.3f of 7 parts, want %.0f", name, got[name], want)
		}
	}
	if len(got) != 3 {
		t.Errorf("denied ones were drawn: %v", got)
	}
	if u := snap.upstreams[2].observed(snap.directory.At(2), time.Now()); u.Selected[pool.Global] < users/2 || p.selection.denied()["honoured"] != 3*users {
		t.Errorf("counted %v, %v", u.Selected, p.selection.denied())
	}
}

// TestExpected: a time source that is busy is expected to take longer, one that nothing is known of is not.
func TestExpected(t *testing.T) {
	for _, tt := range []struct {
		rtt      time.Duration
		inFlight int
		want     time.Duration
	}{{0, 0, 0}, {0, 9, 0}, {5 * time.Millisecond, 0, 5 * time.Millisecond}, {5 * time.Millisecond, 3, 20 * time.Millisecond}, {time.Second, -1, time.Second}} {
		if got := expected(tt.rtt, tt.inFlight); got != tt.want {
			t.Errorf("%v with %d under way: %v, want %v", tt.rtt, tt.inFlight, got, tt.want)
		}
	}
}
