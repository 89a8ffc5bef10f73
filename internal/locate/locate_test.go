package locate

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"ntp-daemon/internal/config"
	"ntp-daemon/internal/nts"
	"ntp-daemon/internal/nts/aead"
	"ntp-daemon/internal/nts/ke"
	"ntp-daemon/internal/pki"
	"ntp-daemon/internal/resolve"
	"ntp-daemon/internal/source"
	"ntp-daemon/internal/testca"
)

var (
	errNoName  = errors.New("no such host")
	errRefused = errors.New("connection refused")
	session    = &nts.Session{}
)

// own lists the addresses of this host.
func own() []netip.Addr {
	return []netip.Addr{netip.MustParseAddr("198.51.100.77"), netip.MustParseAddr("fe80::77")}
}

// names is a resolver that knows the addresses of these names.
type names map[string][]string

func (n names) Lookup(_ context.Context, host string, port uint16) (a resolve.Answer, err error) {
	list, ok := n[host]
	if !ok && port > 4000 { // a key exchange server
		list, ok = []string{"192.0.2.250"}, true
	}
	if !ok {
		return a, errNoName
	}
	for _, s := range list {
		a.Addrs = append(a.Addrs, netip.AddrPortFrom(netip.MustParseAddr(s), port))
	}
	return a, nil
}

// answering is an exchange that succeeds like this.
func answering(r ke.Result) Exchange {
	r.Session = session
	return func(context.Context, ke.ClientConfig) (ke.Result, error) { return r, nil }
}

func TestFind(t *testing.T) {
	dual := names{"a.example": {"2001:db8::1", "2001:db8::2", "192.0.2.1"}, "b.example.": {"192.0.2.2"}, "192.0.2.3": {"192.0.2.3"}}
	remote := netip.MustParseAddr("192.0.2.1")
	for _, tt := range []struct {
		name     string
		src      config.Source
		exchange Exchange
		want     string // addresses
		server   string
		err      error
	}{
		{"server", config.Source{Mode: source.ModeServer, Host: "a.example", Port: 123}, nil,
			"[[2001:db8::1]:123 [2001:db8::2]:123 192.0.2.1:123]", "", nil},
		{"no such server", config.Source{Mode: source.ModeServer, Host: "x.example", Port: 123}, nil, "[]", "", errNoName},
		{"pool that ignores", config.Source{Mode: source.ModePool, Host: "a.example", Port: 123, Ignore: []netip.Addr{netip.MustParseAddr("2001:db8::2")}}, nil,
			"[[2001:db8::1]:123 192.0.2.1:123]", "", nil},
		{"pool that ignores all", config.Source{Mode: source.ModePool, Host: "192.0.2.3", Port: 123, Ignore: []netip.Addr{netip.MustParseAddr("192.0.2.3")}}, nil,
			"[]", "", nil},
		{"where the keys came from", config.Source{Mode: source.ModeNTS, Host: "a.example", Port: 4460},
			answering(ke.Result{Server: "a.example", Remote: remote, Port: 1123}), "[192.0.2.1:1123 [2001:db8::1]:1123 [2001:db8::2]:1123]", "a.example", nil},
		{"the same without a look-up", config.Source{Mode: source.ModeNTS, Host: "x.example", Port: 4460},
			answering(ke.Result{Server: "x.example", Remote: remote, Port: 123}), "[192.0.2.1:123]", "x.example", nil},
		{"a name is absolute", config.Source{Mode: source.ModeNTS, Host: "a.example", Port: 4460},
			answering(ke.Result{Server: "b.example", ServerGiven: true, Remote: remote, Port: 123}), "[192.0.2.2:123]", "b.example", nil},
		{"an address is none", config.Source{Mode: source.ModeNTSPool, Host: "a.example", Port: 4460},
			answering(ke.Result{Server: "192.0.2.3", ServerGiven: true, Remote: remote, Port: 123}), "[192.0.2.3:123]", "192.0.2.3", nil},
		{"a name that does not exist", config.Source{Mode: source.ModeNTSPool, Host: "a.example", Port: 4460},
			answering(ke.Result{Server: "c.example", ServerGiven: true, Remote: remote, Port: 123}), "[]", "c.example", errNoName},
		{"no keys, no plain NTP", config.Source{Mode: source.ModeNTS, Host: "a.example", Port: 4460},
			func(context.Context, ke.ClientConfig) (ke.Result, error) { return ke.Result{}, errRefused }, "[]", "", errRefused},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Finder{Resolve: dual, Exchange: tt.exchange, Own: own}.Find(t.Context(), &tt.src, Hints{})
			if fmt.Sprint(got.Addrs) != tt.want || got.Name != tt.server || !errors.Is(err, tt.err) {
				t.Errorf("%v of %q, %v; want %s of %q, %v", got.Addrs, got.Name, err, tt.want, tt.server, tt.err)
			}
			if keys := tt.src.Mode.NTS() && tt.err != errRefused; (got.Session == session) != keys {
				t.Errorf("session %v", got.Session)
			}
		})
	}
}

// All that the configuration says of a key exchange reaches it.
func TestFind_AsConfigured(t *testing.T) {
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, testca.New(t).PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	src := config.Source{
		Mode: source.ModeNTSPool, Host: "a.example", Port: 14460, Roots: pki.NewRoots(ca, false), Algorithms: []aead.Algorithm{aead.SIVCMAC512},
	}
	for timeout, want := range map[time.Duration]time.Duration{0: 5 * time.Second, time.Minute: time.Minute} {
		var got ke.ClientConfig
		f := Finder{Resolve: names{}, Timeout: timeout, Exchange: func(_ context.Context, c ke.ClientConfig) (ke.Result, error) {
			got = c
			return ke.Result{}, errRefused
		}}
		_, err := f.Find(t.Context(), &src, Hints{Denied: []string{"s1.example"}})
		roots, rootsErr := src.Roots.Pool(time.Now())
		if rootsErr != nil || !roots.Equal(got.Roots) {
			t.Errorf("roots %v, %v", got.Roots, rootsErr)
		}
		got.Roots = nil
		expected := ke.ClientConfig{
			Address: "a.example", Port: 14460, Connect: netip.MustParseAddrPort("192.0.2.250:14460"), Algorithms: src.Algorithms, Denied: []string{"s1.example"}, Timeout: want,
		}
		if !reflect.DeepEqual(got, expected) {
			t.Errorf("%+v, want %+v", got, expected)
		}
		if err == nil || err.Error() != "key exchange with a.example:14460: at 192.0.2.250:14460: connection refused" {
			t.Error(err)
		}
	}
}

// TestFind_RootAddedMeanwhile: a chain that ends at an unknown authority is tried once more when the file of roots has changed,
// and only then; without the file nobody is asked.
func TestFind_RootAddedMeanwhile(t *testing.T) {
	first, second := testca.New(t), testca.New(t)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	write := func(pem []byte) {
		if err := os.WriteFile(ca, pem, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(first.PEM())
	roots := pki.NewRoots(ca, false)
	src := config.Source{Mode: source.ModeNTS, Host: "a.example", Port: 4460, Roots: roots}
	asked := 0
	f := Finder{Resolve: names{}, Exchange: func(_ context.Context, c ke.ClientConfig) (ke.Result, error) {
		asked++
		if _, err := second.Certificate().Verify(x509.VerifyOptions{Roots: c.Roots}); err != nil {
			return ke.Result{}, fmt.Errorf("TLS handshake: %w", err)
		}
		return ke.Result{}, errRefused
	}}
	find := func(tries int, want error) {
		t.Helper()
		asked = 0
		if _, err := f.Find(t.Context(), &src, Hints{}); asked != tries || want != nil && !errors.Is(err, want) {
			t.Errorf("asked %d times, %v; want %d, %v", asked, err, tries, want)
		}
	}
	if _, err := roots.Pool(time.Now().Add(-2 * time.Minute)); err != nil { // read two minutes ago
		t.Fatal(err)
	}
	write(append(first.PEM(), second.PEM()...))
	find(2, errRefused)
	roots.Forget()
	write(first.PEM())
	find(1, nil)
	if err := os.Remove(ca); err != nil {
		t.Fatal(err)
	}
	roots.Forget()
	find(0, os.ErrNotExist)
}

// Addresses of the family that the key exchange went over come first, each family in the order of the look-up.
func TestFind_FamilyThatWorks(t *testing.T) {
	n := names{"s.example.": {"2001:db8::1", "192.0.2.1", "2001:db8::2", "192.0.2.2"}}
	for remote, want := range map[string]string{
		"198.51.100.1":        "[192.0.2.1:123 192.0.2.2:123 [2001:db8::1]:123 [2001:db8::2]:123]",
		"::ffff:198.51.100.1": "[192.0.2.1:123 192.0.2.2:123 [2001:db8::1]:123 [2001:db8::2]:123]",
		"2001:db8::9":         "[[2001:db8::1]:123 [2001:db8::2]:123 192.0.2.1:123 192.0.2.2:123]",
	} {
		f := Finder{Resolve: n, Own: own, Exchange: answering(ke.Result{Server: "s.example", ServerGiven: true, Remote: netip.MustParseAddr(remote), Port: 123})}
		got, err := f.Find(t.Context(), &config.Source{Mode: source.ModeNTS, Host: "ke.example", Port: 4460}, Hints{})
		if err != nil || fmt.Sprint(got.Addrs) != want {
			t.Errorf("%s: %v, %v", remote, got.Addrs, err)
		}
	}
}
