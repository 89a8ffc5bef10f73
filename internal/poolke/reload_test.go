package poolke

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha3"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"ntp-daemon/internal/config"
	"ntp-daemon/internal/geo/geotest"
	"ntp-daemon/internal/logging"
	"ntp-daemon/internal/logtarget"
	"ntp-daemon/internal/nts/aead"
	"ntp-daemon/internal/nts/record"
	"ntp-daemon/internal/observe"
	"ntp-daemon/internal/pool"
	"ntp-daemon/internal/secret"
	"ntp-daemon/internal/testca"
)

// reloadable is a pool that runs from files, as Main makes it.
type reloadable struct {
	*testPool
	dir string
	hup chan os.Signal
}

// fromFiles writes the certificate, the authority and the list that shows the time sources added so far, and starts the pool.
// more is appended to the configuration.
func fromFiles(w *testPool, list, more string) *reloadable {
	w.t.Helper()
	r := &reloadable{testPool: w, dir: w.t.TempDir(), hup: make(chan os.Signal)}
	r.pair(w.ca.Leaf("pool.example"))
	r.write("ca.pem", string(w.ca.PEM()))
	r.write("servers.json", list)
	r.write("pool.toml", strings.ReplaceAll(`[nts-pool-ke-server]
listen = "127.0.0.1:4460"
certificate-authority-path = "DIR/ca.pem"
certificate-chain-path = "DIR/chain.pem"
private-key-path = "DIR/key.pem"
key-exchange-timeout-ms = 20000
connections-per-client = 0
key-exchange-servers-file = "DIR/servers.json"
`+more, "DIR", r.dir))
	began := time.Now()
	cfg, _, err := config.LoadPool(r.path("pool.toml"))
	if err != nil {
		w.t.Fatal(err)
	}
	conf, err := FromConfig(cfg, time.Now())
	if err != nil {
		w.t.Fatal(err)
	}
	conf.read = began
	l := &loader{path: r.path("pool.toml"), start: cfg, log: logging.Target(zerolog.New(&w.log), logtarget.PoolKE), leaf: conf.Certificate.Leaf}
	w.cfg = conf
	w.startWith(Deps{Reload: r.hup, Load: l.load, Again: l.again})
	return r
}

// within waits for what a look at the files brings, which comes within five seconds unless the machine is busy.
func (r *reloadable) within(what string, f func() bool) {
	r.t.Helper()
	begin := time.Now()
	for !f() {
		if time.Since(begin) > 20*time.Second {
			r.t.Fatalf("%s: waited in vain", what)
		}
		time.Sleep(20 * time.Millisecond)
	}
	if took := time.Since(begin); took > 5*time.Second {
		r.t.Logf("%s: took %v, which only a busy machine excuses", what, took)
	}
}

func (r *reloadable) path(name string) string { return filepath.Join(r.dir, name) }

// write replaces a file as a whole.
func (r *reloadable) write(name, text string) {
	r.t.Helper()
	if err := os.WriteFile(r.path(name)+".new", []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
	if err := os.Rename(r.path(name)+".new", r.path(name)); err != nil {
		r.t.Fatal(err)
	}
}

// pair writes a certificate and its key.
func (r *reloadable) pair(c tls.Certificate) {
	r.t.Helper()
	chain, key := testca.Files(r.t, c)
	r.write("chain.pem", string(chain))
	r.write("key.pem", string(key))
}

// reload asks for one and waits for its end.
func (r *reloadable) reload() observe.PoolReload {
	r.t.Helper()
	was := r.state()
	r.hup <- os.Interrupt
	eventually(r.t, func() bool { s := r.state(); return s.Generation+s.Refused > was.Generation+was.Refused })
	return r.state()
}

func (r *reloadable) state() observe.PoolReload { return r.pool.reloads.observed(time.Now()) }

// names are the time sources in use.
func (r *reloadable) names() (list string) {
	d := r.pool.snap.Load().directory
	for i := range d.Len() {
		list += d.At(i).Name() + " "
	}
	return list
}

// serial is that of the certificate that users see.
func (r *reloadable) serial() string {
	return r.connect().ConnectionState().PeerCertificates[0].SerialNumber.String()
}

// entry is a time source's line of a list.
func entry(f *fakeTS, more string) string {
	return fmt.Sprintf(`{ "id": %q, "domain": %q, "port": %d, "addresses": ["127.0.0.1"]%s }`, f.name, f.name, f.addr.Port(), more)
}

func listOf(entries ...string) string { return "[\n  " + strings.Join(entries, ",\n  ") + "\n]\n" }

// TestD3_22_OwnCertificate: a certificate that cannot be used, of users or for time sources, changes nothing: the old one is
// served, the list that came with it is not used either, and it is told.
func TestD3_22_OwnCertificate(t *testing.T) {
	w := newTestPool(t)
	a := w.fake("a.example", healthy, nil)
	b := w.fake("b.example", healthy, nil)
	r := fromFiles(w, listOf(entry(a, "")), "")
	good := w.ca.Leaf("pool.example")
	r.pair(good)
	if s := r.reload(); s.Generation != 2 || s.Reason != "" || r.serial() != good.Leaf.SerialNumber.String() {
		t.Fatalf("%+v", s)
	}
	other := w.ca.Leaf("pool.example")
	chain, key := testca.Files(t, other)
	expired := w.ca.Custom(newKey(t), func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().Add(-48*time.Hour), time.Now().Add(-time.Hour)
	}, "pool.example")
	for _, row := range []struct {
		story string
		spoil func()
		says  string
	}{
		{"the key of another certificate", func() { r.write("key.pem", string(key)) }, "key.pem"},
		{"no key", func() { _ = os.Remove(r.path("key.pem")) }, "private-key-path"},
		{"no certificate", func() { _ = os.Remove(r.path("chain.pem")) }, "chain.pem"},
		{"half a certificate", func() { r.write("chain.pem", string(chain[:len(chain)/2])) }, "chain.pem"},
		{"an expired one", func() { r.pair(expired) }, "expired"},
		{"no authority", func() { _ = os.Remove(r.path("ca.pem")) }, "ca.pem"},
	} {
		r.pair(good)
		row.spoil()
		r.write("servers.json", listOf(entry(b, "")))
		before := r.state()
		s := r.reload()
		if s.Generation != before.Generation || s.Refused <= before.Refused || !strings.Contains(s.Reason, row.says) {
			t.Errorf("%s: %+v", row.story, s)
		}
		if r.serial() != good.Leaf.SerialNumber.String() || w.pool.snap.Load().directory.At(0).Domain != "a.example" {
			t.Errorf("%s: something of it is in use", row.story)
		}
		if _, err := w.keyExchange([]aead.Algorithm{15}); err != nil {
			t.Errorf("%s: %v", row.story, err)
		}
	}
	r.write("ca.pem", string(w.ca.PEM()))
	r.pair(good)
	if s := r.reload(); s.Reason != "" || w.pool.snap.Load().directory.At(0).Domain != "b.example" {
		t.Errorf("repaired: %+v", s)
	}
}

// The certificate in use expires and nobody has renewed it: lists can be replaced all the same.
func TestReload_WithTheExpiredCertificateInUse(t *testing.T) {
	ca := testca.New(t)
	c := ca.Custom(newKey(t), func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().Add(-48*time.Hour), time.Now().Add(-time.Hour)
	}, "pool.example")
	dir := t.TempDir()
	chain, key := testca.Files(t, c)
	for name, data := range map[string][]byte{"chain.pem": chain, "key.pem": key} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := &config.Pool{CertificateChainPath: filepath.Join(dir, "chain.pem"), PrivateKeyPath: filepath.Join(dir, "key.pem"), Listen: netip.MustParseAddrPort("127.0.0.1:1")}
	l := &loader{log: zerolog.Nop(), leaf: c.Leaf}
	if _, err := l.convert(p, nil, time.Now()); err != nil {
		t.Errorf("in use: %v", err)
	}
	l.leaf = ca.Leaf("pool.example").Leaf
	if _, err := l.convert(p, nil, time.Now()); err == nil {
		t.Error("an expired certificate takes the place of a good one")
	}
}

// TestD3_35_ListIsReplaced: exchanges run while the list is replaced again and again, by good and by faulty ones; not one
// fails, and a faulty list is told and changes nothing.
func TestD3_35_ListIsReplaced(t *testing.T) {
	w := newTestPool(t)
	a, b, c := w.fake("a.example", healthy, nil), w.fake("b.example", healthy, nil), w.fake("c.example", healthy, nil)
	r := fromFiles(w, listOf(entry(a, "")), "")
	lists := []struct{ text, refused string }{
		{listOf(entry(a, ""), entry(b, `, "weight": 0`), entry(c, "")), ""},
		{listOf(entry(b, `, "weight": 1000000`)), ""},
		{listOf(entry(c, ""), entry(a, "")), ""},
		{listOf(entry(a, ""))[:40], "servers.json:2:"},
		{"", "servers.json:1:1: key-exchange-servers: is missing"},
		{"\x00\x01", "servers.json"},
		{listOf(entry(a, ""), entry(a, "")), `id: "a.example" is that of the time source in line 2`},
		{listOf(entry(a, `, "weight": 1000001`)), "weight: 1000001 is out of range"},
		{listOf(entry(a, `, "colour": "red"`)), "colour: unknown key"},
		{"[[key-exchange-servers]]\ndomain = \"a.example\"\nport = 99999\n", "port: 99999 is out of range"},
		{strings.ReplaceAll("[[key-exchange-servers]]\ndomain = \"a.example\"\nport = PORT\naddresses = [\"127.0.0.1\"]\n", "PORT", fmt.Sprint(a.addr.Port())), ""},
	}
	served, stop := w.askers(4)
	for i := range 4 * len(lists) {
		l := lists[i%len(lists)]
		before, list := r.state(), r.names()
		r.write("servers.json", l.text)
		switch s := r.reload(); {
		case l.refused == "" && (s.Generation <= before.Generation || s.Reason != ""):
			t.Errorf("%q: %+v", l.text, s)
		case l.refused != "" && (s.Refused <= before.Refused || !strings.Contains(s.Reason, l.refused) || r.names() != list):
			t.Errorf("%q: %+v", l.text, s)
		}
		until := served.Load()
		eventually(t, func() bool { return served.Load() > until })
	}
	stop()
	t.Logf("%d exchanges over %d lists", served.Load(), 4*len(lists))

	// A list that is empty on purpose: everybody gets error 2, and it is told.
	r.write("servers.json", "[]")
	if s := r.reload(); s.Reason != "" {
		t.Error(s)
	}
	if answer, _ := w.ask(request15); !bytes.Equal(answer, error2) {
		t.Errorf("empty list: %x", answer)
	}
	if !strings.Contains(w.log.String(), "there are no time sources, every client is refused") {
		t.Error("an empty list is not told")
	}
}

// TestD3_35_RemovedMeanwhile: a time source that is taken off the list in the middle of an exchange finishes it.
func TestD3_35_RemovedMeanwhile(t *testing.T) {
	w := newTestPool(t)
	asked, goOn := make(chan struct{}), make(chan struct{})
	a := w.fake("a.example", fixed(func(hung <-chan struct{}) []byte {
		close(asked)
		select {
		case <-goOn:
		case <-hung:
		}
		return cookies(aead.SIVCMAC256, nil)
	}), nil)
	b := w.fake("b.example", healthy, nil)
	r := fromFiles(w, listOf(entry(a, "")), "")
	done := make(chan error, 1)
	go func() { _, err := w.keyExchange([]aead.Algorithm{15}); done <- err }()
	<-asked
	r.write("servers.json", listOf(entry(b, "")))
	r.reload()
	close(goOn)
	if err := <-done; err != nil {
		t.Errorf("the exchange that was under way: %v", err)
	}
	if _, err := w.keyExchange([]aead.Algorithm{15}); err != nil {
		t.Error(err)
	}
	if _, keys, _ := b.seen(); len(keys) != 1 {
		t.Errorf("%d keys went to the new time source", len(keys))
	}
}

func newKey(t *testing.T) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func sum(text string) string {
	h := sha3.Sum256([]byte(text))
	return hex.EncodeToString(h[:])
}

// TestD3_36_BaseSecretIsRotated: each time source moves to the new secret on its own, by its index, and accepts both tokens
// meanwhile; an index without a secret is refused and never an empty secret.
func TestD3_36_BaseSecretIsRotated(t *testing.T) {
	w := newTestPool(t)
	secrets := "old-secret-of-sufficient-length\n"
	var accepted atomic.Pointer[[]string]
	a := w.fake("a.example", func(c, n int, req *record.Request, hung <-chan struct{}) ([]byte, bool) {
		for _, token := range *accepted.Load() {
			if string(req.Token) == token && req.Kind == record.Support {
				s := record.SupportResponse{Algorithms: []aead.Algorithm{15}, Protocols: []record.Protocol{0}, KeepAlive: true, Dialect: record.IANA}
				return s.Append(nil), true
			} else if string(req.Token) == token {
				return cookies(aead.SIVCMAC256, func(r *record.Response) { r.Dialect = record.IANA }), true
			}
		}
		return error1, false
	}, nil)
	tokens := map[int]string{}
	for i, s := range []string{"old-secret-of-sufficient-length", "new-secret-of-sufficient-length"} {
		tokens[i] = sum(s + "a.example" + "salt")
	}
	both := []string{tokens[0], tokens[1]}
	accepted.Store(&[]string{tokens[0]})
	dir := t.TempDir()
	secretFile := filepath.Join(dir, "secrets")
	write := func(text string) {
		if err := os.WriteFile(secretFile, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(secrets)
	at := func(index int) string {
		return listOf(entry(a, fmt.Sprintf(`, "randomizer": "salt", "base-key-index": %d`, index)))
	}
	r := fromFiles(w, at(0), "base-shared-secret-path = \""+secretFile+"\"\n")
	served := func(story string, want bool) {
		t.Helper()
		if _, err := w.keyExchange([]aead.Algorithm{15}); (err == nil) != want {
			t.Errorf("%s: %v", story, err)
		}
	}
	served("old secret", true)

	r.write("servers.json", at(1))
	if s := r.reload(); !strings.Contains(s.Reason, "base-key-index: 1 is not in "+secretFile) || s.Generation != 1 {
		t.Errorf("an index without a secret: %+v", s)
	}
	served("after an index without a secret", true)
	write("\n\n")
	if s := r.reload(); !strings.Contains(s.Reason, "holds no secret") || s.Generation != 1 {
		t.Errorf("no secret: %+v", s)
	}
	served("after a file without secrets", true)

	write(secrets + "new-secret-of-sufficient-length\n")
	accepted.Store(&both) // the overlap
	if s := r.reload(); s.Reason != "" {
		t.Fatal(s)
	}
	served("new secret, both accepted", true)
	accepted.Store(&[]string{tokens[1]})
	served("new secret alone", true)
	requests, _, _ := a.seen()
	for i := range requests {
		if token := string(requests[i].Token); token != tokens[0] && token != tokens[1] {
			t.Errorf("request %d had another token", i)
		}
	}
	if string(requests[len(requests)-1].Token) != tokens[1] {
		t.Error("the old token is still in use")
	}
	for _, s := range append(both, "secret-of-sufficient") {
		if strings.Contains(w.log.String(), s) {
			t.Error("the log holds a secret or a token")
		}
	}
}

// Files are read again without being asked, each kind of them, within five seconds; a fault is told once.
func TestReload_FilesAreWatched(t *testing.T) {
	w := newTestPool(t)
	a, b := w.fake("a.example", healthy, nil), w.fake("b.example", healthy, nil)
	r := fromFiles(w, listOf(entry(a, "")), "")
	within := r.within
	first := func() string { return w.pool.snap.Load().directory.At(0).Domain }
	r.write("servers.json", listOf(entry(b, ""), entry(a, "")))
	within("the list", func() bool { return first() == "b.example" })

	r.write("servers.json", listOf(entry(a, ""))[:30])
	within("half a list", func() bool { return r.state().Refused == 1 })
	renewed := w.ca.Leaf("pool.example")
	r.pair(renewed)
	within("half a list, and a certificate", func() bool { return r.state().Refused == 2 })
	if n := strings.Count(w.log.String(), "reload refused"); n != 1 || first() != "b.example" {
		t.Errorf("the fault of the list is told %d times, first time source %s", n, first())
	}
	r.write("servers.json", listOf(entry(a, "")))
	within("both", func() bool { return first() == "a.example" })
	if r.serial() != renewed.Leaf.SerialNumber.String() || r.state().Reason != "" {
		t.Errorf("the certificate did not come with the list: %+v", r.state())
	}
	const again = "the files are those in use again"
	told := func() int { return strings.Count(w.log.String(), again) }
	r.write("servers.json", listOf(entry(a, ""))[:20])
	within("half a list once more", func() bool { return r.state().Refused == 3 })
	r.write("servers.json", listOf(entry(a, "")))
	within("the list as it was", func() bool { return r.state().Reason == "" && told() == 1 })
	if _, err := w.keyExchange([]aead.Algorithm{15}); err != nil {
		t.Error(err)
	}
}

// TestReload_TokensAndCountriesAreWatched: a token file and the database of countries, which the list and pool.toml only name, are
// in use without anybody asking for it once they are replaced.
func TestReload_TokensAndCountriesAreWatched(t *testing.T) {
	w := newTestPool(t)
	a, dir := w.fake("a.example", healthy, nil), t.TempDir()
	token, database := filepath.Join(dir, "token"), filepath.Join(dir, "countries.mmdb")
	if err := os.WriteFile(token, []byte("a-token-of-enough-bytes\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	place := map[string]geotest.Place{"198.18.0.0/15": {Country: "NL", Continent: "EU"}}
	built := time.Now().Add(-48 * time.Hour).Truncate(time.Second)
	countries(t, database, built, place)
	r := fromFiles(w, listOf(entry(a, fmt.Sprintf(`, "token-file": %q`, token))), fmt.Sprintf("selection = \"geographic\"\ngeolocation-db-path = %q\n", database))
	inUse := func() string { return string(w.pool.snap.Load().directory.At(0).Tokens[0]) }
	if inUse() != "a-token-of-enough-bytes" || !w.pool.snap.Load().countries.Built().Equal(built) {
		t.Fatalf("at the start: %v", w.pool.snap.Load().countries.Built())
	}
	if err := os.WriteFile(token, []byte("another-token-of-enough-bytes\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.within("the token", func() bool { return inUse() == "another-token-of-enough-bytes" })
	newer := built.Add(24 * time.Hour)
	countries(t, database, newer, place)
	r.within("the database", func() bool { return w.pool.snap.Load().countries.Built().Equal(newer) })
}

// TestReload_CountriesAreToldOnce: that the database of countries cannot be used is told at the start, to whoever asks for a reload, and when
// the reason is another one; not whenever the files are read again, which an absent one is a reason for by itself.
func TestReload_CountriesAreToldOnce(t *testing.T) {
	w := newTestPool(t)
	a, b, database := w.fake("a.example", healthy, nil), w.fake("b.example", healthy, nil), filepath.Join(t.TempDir(), "countries.mmdb")
	r := fromFiles(w, listOf(entry(a, "")), fmt.Sprintf("selection = \"geographic\"\ngeolocation-db-path = %q\n", database))
	told := func() int {
		return strings.Count(w.log.String(), `"level":"warn","target":"nts_pool_ke","e":"geolocation database`)
	}
	r.write("servers.json", listOf(entry(a, ""), entry(b, "")))
	r.within("the list", func() bool { return w.pool.snap.Load().directory.Len() == 2 })
	if told() != 1 {
		t.Errorf("after a start told %d times: %s", told(), w.log.String())
	}
	r.hup <- os.Interrupt
	r.within("the reload", func() bool { return strings.Contains(w.log.String(), `"changed":"nothing"`) })
	if told() != 2 {
		t.Errorf("after a reload told %d times: %s", told(), w.log.String())
	}
	if err := os.WriteFile(database, []byte("no database"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.within("the other reason", func() bool { return told() == 3 })
}

// TestListChanges: a time source with other tokens or another address is changed, not gone and new; exact ones are found before
// that, in whatever order.
func TestListChanges(t *testing.T) {
	of := func(list ...pool.Backend) *snapshot {
		d, err := pool.NewDirectory(list, nil)
		if err != nil {
			t.Fatal(err)
		}
		return &snapshot{directory: d}
	}
	token := func(text string) []secret.Bytes { return []secret.Bytes{secret.Bytes(text)} }
	a, b := pool.Backend{Domain: "a.example", Port: 4460, Weight: 1, Tokens: token("one")}, pool.Backend{ID: "b", Domain: "b.example", Port: 4460, Weight: 1}
	rotated, moved, heavy := a, b, b
	rotated.Tokens, moved.Port, heavy.Weight = token("two"), 4461, 2
	for _, row := range []struct {
		was, next *snapshot
		want      string
	}{
		{of(a, b), of(b, a), ""},
		{of(a, b), of(rotated, b), "changed a.example:4460"},
		{of(a, b), of(a, moved), "changed b.example:4461"},
		{of(a, b), of(a, heavy), "another share for b.example:4460"},
		{of(a), of(rotated, a), "new a.example:4460"},
		{of(a, rotated), of(rotated), "without a.example:4460"},
		{of(a), of(b), "new b.example:4460; without a.example:4460"},
	} {
		if got := strings.Join(row.next.listChanges(row.was), "; "); got != row.want {
			t.Errorf("%q, want %q", got, row.want)
		}
	}
}
