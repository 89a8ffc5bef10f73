package locate

import (
	"context"
	"crypto/rand"
	"crypto/tls"
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

	"github.com/rs/zerolog"
	"golang.org/x/net/dns/dnsmessage"

	"ntp-daemon/internal/config"
	"ntp-daemon/internal/dnstest"
	"ntp-daemon/internal/nts"
	"ntp-daemon/internal/nts/ke"
	"ntp-daemon/internal/pki"
	"ntp-daemon/internal/resolve"
	"ntp-daemon/internal/source"
	"ntp-daemon/internal/testca"
)

// targets is a domain with these SRV targets, in this order; each has a port of its own, beginning with 4461.
type targets []string

func (l targets) Lookup(context.Context, string) (list []resolve.Service, err error) {
	for i, name := range l {
		list = append(list, resolve.Service{Target: name, Port: uint16(4461 + i), Priority: 1})
	}
	return list, nil
}

// Which target is asked for keys, and in which order: the preferred one, the others, those that failed of late; never one in use.
func TestFind_ServiceOrder(t *testing.T) {
	for _, tt := range []struct {
		name     string
		list     targets
		hints    Hints
		failing  []string // targets that give no keys
		asked    string
		found    string
		barren   string
		mistaken error
	}{
		{"first", targets{"a.test", "b.test"}, Hints{}, nil, "a.test:4461", "a.test", "", nil},
		{"next after a failure", targets{"a.test", "b.test"}, Hints{}, []string{"a.test"}, "a.test:4461 b.test:4462", "b.test", "a.test", nil},
		{"held ones are left out", targets{"a.test", "b.test"}, Hints{Held: []string{"A.test."}, Denied: []string{"A.test."}}, nil, "b.test:4462", "b.test", "", nil},
		{"failed ones come last", targets{"a.test", "b.test", "c.test"}, Hints{Denied: []string{"a.test"}}, []string{"b.test", "c.test"}, "b.test:4462 c.test:4463 a.test:4461", "a.test", "b.test c.test", nil},
		{"the preferred one first", targets{"a.test", "b.test"}, Hints{Prefer: "B.test", Denied: []string{"a.test"}}, nil, "b.test:4462", "b.test", "", nil},
		{"preferred and gone", targets{"a.test"}, Hints{Prefer: "z.test"}, nil, "a.test:4461", "a.test", "", nil},
		{"no more than three", targets{"a.test", "b.test", "c.test", "d.test"}, Hints{}, []string{"a.test", "b.test", "c.test", "d.test"}, "a.test:4461 b.test:4462 c.test:4463", "", "a.test b.test c.test", errRefused},
		{"none left", targets{"a.test", "b.test"}, Hints{Held: []string{"a.test", "b.test"}}, nil, "", "", "", ErrNoneLeft},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var asked []string
			f := Finder{Resolve: names{}, Services: tt.list, Own: own, Exchange: func(_ context.Context, c ke.ClientConfig) (ke.Result, error) {
				asked = append(asked, fmt.Sprintf("%s:%d", c.Address, c.Connect.Port()))
				if len(c.Denied) > 0 || c.Prefer != "" {
					t.Errorf("a member of the DNS's pool is told %q and %q", c.Denied, c.Prefer)
				}
				if slices.Contains(tt.failing, c.Address) {
					return ke.Result{}, errRefused
				}
				return ke.Result{Session: session, Server: c.Address, Remote: netip.MustParseAddr("192.0.2.250"), Port: 123}, nil
			}}
			src := config.Source{Mode: source.ModeNTSPool, Host: "pool.test", Port: 4460, SRV: true}
			got, err := f.Find(t.Context(), &src, tt.hints)
			if a := strings.Join(asked, " "); a != tt.asked || got.Name != tt.found || strings.Join(got.Barren, " ") != tt.barren || !errors.Is(err, tt.mistaken) {
				t.Errorf("asked %q, found %q, barren %q, %v; want %q, %q, %q, %v", a, got.Name, got.Barren, err, tt.asked, tt.found, tt.barren, tt.mistaken)
			}
			if len(got.Failed) != len(got.Barren) || err != nil && strings.Contains(err.Error(), "\n") {
				t.Errorf("%d addresses gave no keys; %v", len(got.Failed), err)
			}
		})
	}
}

// failingServices is a domain without SRV records that may be used.
type failingServices struct{ err error }

func (f failingServices) Lookup(context.Context, string) ([]resolve.Service, error) {
	return nil, &resolve.ServiceError{Name: "_ntske._tcp.pool.test", Err: f.err}
}

// Where SRV records are asked for and are not there, or are not validated, nothing else is tried: no address of the name itself.
func TestFind_NoFallback(t *testing.T) {
	for _, reason := range []error{resolve.ErrNoService, resolve.ErrNotValidated, errRefused} {
		f := Finder{Resolve: noNames{t}, Services: failingServices{reason}, Exchange: func(context.Context, ke.ClientConfig) (ke.Result, error) {
			t.Error("keys are asked for")
			return ke.Result{}, errRefused
		}}
		src := config.Source{Mode: source.ModeNTSPool, Host: "pool.test", Port: 4460, SRV: true}
		if got, err := f.Find(t.Context(), &src, Hints{}); !errors.Is(err, reason) || got.Session != nil || len(got.Addrs) != 0 {
			t.Errorf("%v: %+v, %v", reason, got, err)
		}
	}
}

// noNames is a resolver that nobody should ask.
type noNames struct{ t *testing.T }

func (n noNames) Lookup(_ context.Context, host string, _ uint16) (resolve.Answer, error) {
	n.t.Errorf("%q is looked up", host)
	return resolve.Answer{}, errNoName
}

// TestFind_ServiceForReal goes all the way over loopback: name server, SRV records, addresses, TLS with the target's certificate, keys.
func TestFind_ServiceForReal(t *testing.T) {
	dns, ca := dnstest.Start(t), testca.New(t)
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, ca.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	serve := func(certificate string) uint16 {
		leaf := ca.Leaf(certificate)
		key, err := nts.NewMasterKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		set := nts.NewKeySet(key, 0)
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		wg.Go(func() {
			_ = ke.NewServer(ke.ServerConfig{
				Certificate: func() *tls.Certificate { return &leaf }, KeySet: func() *nts.KeySet { return set }, Rand: rand.Reader, NTPPort: 11123, Log: zerolog.Nop(),
			}).Serve(ctx, ln)
		})
		t.Cleanup(func() { cancel(); wg.Wait() })
		return ln.Addr().(*net.TCPAddr).AddrPort().Port()
	}
	const domain = "_ntske._tcp.pool.test"
	right, wrong, pool := serve("right.test"), serve("other.test"), serve("pool.test")
	for _, name := range []string{"right.test", "wrong.test", "pool.test"} {
		dns.Addresses(name, "127.0.0.1")
	}
	find := func() (Found, error) {
		f := Finder{Resolve: resolve.New(resolve.Config{Own: own, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, dns.Addr.String())
		}}), Exchange: ke.Exchange, Own: own}
		src := config.Source{Mode: source.ModeNTSPool, Host: "pool.test", Port: 4460, SRV: true, SRVResolvers: []netip.AddrPort{dns.Addr}, Roots: pki.NewRoots(file, true)}
		return f.Find(t.Context(), &src, Hints{})
	}
	set := func(ad bool, records ...dnsmessage.Resource) {
		dns.Set(domain, dnsmessage.TypeSRV, dnstest.Answer{AD: ad, Records: records})
	}

	set(true, dnstest.SRV(domain, 60, 1, 0, wrong, "wrong.test"), dnstest.SRV(domain, 60, 2, 0, right, "right.test"))
	got, err := find()
	if err != nil || got.Name != "right.test" || fmt.Sprint(got.Addrs) != "[127.0.0.1:11123]" || got.Session == nil || !slices.Equal(got.Barren, []string{"wrong.test"}) {
		t.Errorf("%+v, %v", got, err)
	}
	set(true, dnstest.SRV(domain, 60, 1, 0, pool, "right.test")) // the certificate is the domain's, not the target's
	if got, err := find(); err == nil || got.Session != nil || !strings.Contains(err.Error(), fmt.Sprintf("key exchange with right.test:%d: at 127.0.0.1:%d: ", pool, pool)) {
		t.Errorf("a certificate for the domain is taken for one of the target: %+v, %v", got, err)
	}
	set(false, dnstest.SRV(domain, 60, 1, 0, right, "right.test"))
	if got, err := find(); !errors.Is(err, resolve.ErrNotValidated) || got.Session != nil {
		t.Errorf("not validated: %+v, %v", got, err)
	}
	for _, q := range dns.Questions() {
		if strings.HasPrefix(q.Name, "pool.test") {
			t.Errorf("the domain itself was looked up: %+v", q)
		}
	}
}
