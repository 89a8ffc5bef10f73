package locate

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"ntp-daemon/internal/config"
	"ntp-daemon/internal/nts/ke"
	"ntp-daemon/internal/resolve"
	"ntp-daemon/internal/source"
)

// keyServers is a fake key exchange at several addresses: each does as its entry says, and hangs without one.
type keyServers struct {
	do map[string]func() error // by address

	mu    sync.Mutex
	asked []string // address and when, in seconds since the first
	began time.Time
}

func (s *keyServers) exchange(ctx context.Context, c ke.ClientConfig) (ke.Result, error) {
	s.mu.Lock()
	if s.began.IsZero() {
		s.began = time.Now()
	}
	s.asked = append(s.asked, fmt.Sprintf("%v@%.1f", c.Connect.Addr(), time.Since(s.began).Seconds()))
	s.mu.Unlock()
	do := s.do[c.Connect.Addr().String()]
	if do == nil {
		<-ctx.Done()
		return ke.Result{}, ctx.Err()
	}
	if err := do(); err != nil {
		return ke.Result{}, err
	}
	return ke.Result{Session: session, Server: c.Address, Remote: c.Connect.Addr(), Port: 123}, nil
}

func good() error { return nil }

func failing(err error) func() error { return func() error { return err } }

// TestKeys_TriesEveryAddress: a key exchange server that is broken at one address is asked at the next one, at once if it
// says so and after a third of the timeout if it hangs, all within the timeout; what failed lately is asked last.
func TestKeys_TriesEveryAddress(t *testing.T) {
	broken := errors.New("certificate has expired")
	for _, tt := range []struct {
		name   string
		addrs  []string
		avoid  string
		do     map[string]func() error
		asked  string
		first  string // address of the source, empty for none
		failed string
		err    string
	}{
		{"the first is good", []string{"192.0.2.1", "192.0.2.2"}, "", map[string]func() error{"192.0.2.1": good},
			"192.0.2.1@0.0", "192.0.2.1", "", ""},
		{"the first is broken", []string{"192.0.2.1", "192.0.2.2"}, "", map[string]func() error{"192.0.2.1": failing(broken), "192.0.2.2": good},
			"192.0.2.1@0.0 192.0.2.2@0.0", "192.0.2.2", "192.0.2.1: certificate has expired", ""},
		{"the first hangs", []string{"192.0.2.1", "192.0.2.2"}, "", map[string]func() error{"192.0.2.2": good},
			"192.0.2.1@0.0 192.0.2.2@1.0", "192.0.2.2", "192.0.2.1: no answer yet when another address had given keys", ""},
		{"the first is slow", []string{"192.0.2.1", "192.0.2.2"}, "",
			map[string]func() error{"192.0.2.1": func() error { time.Sleep(1500 * time.Millisecond); return nil }},
			"192.0.2.1@0.0 192.0.2.2@1.0", "192.0.2.1", "", ""},
		{"what failed comes last", []string{"192.0.2.1", "192.0.2.2"}, "192.0.2.1:4460", map[string]func() error{"192.0.2.2": good},
			"192.0.2.2@0.0", "192.0.2.2", "", ""},
		{"the families in turn", []string{"2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8::4", "192.0.2.1", "192.0.2.2"}, "",
			map[string]func() error{"192.0.2.1": good, "2001:db8::1": failing(syscall.ENETUNREACH)},
			"2001:db8::1@0.0 192.0.2.1@0.0", "192.0.2.1", "2001:db8::1: network is unreachable", ""},
		{"all are broken", []string{"2001:db8::1", "192.0.2.1"}, "",
			map[string]func() error{"2001:db8::1": failing(syscall.ENETUNREACH), "192.0.2.1": failing(broken)},
			"2001:db8::1@0.0 192.0.2.1@0.0", "", "2001:db8::1: network is unreachable; 192.0.2.1: certificate has expired",
			"key exchange with ke.example:4460: at [2001:db8::1]:4460: network is unreachable; at 192.0.2.1:4460: certificate has expired"},
		{"all hang, four are asked", []string{"192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5"}, "", nil,
			"192.0.2.1@0.0 192.0.2.2@1.0 192.0.2.3@2.0", "", "", "deadline"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &keyServers{do: tt.do}
				f := Finder{Resolve: names{"ke.example": tt.addrs}, Exchange: s.exchange, Timeout: 3 * time.Second, Own: own}
				h := Hints{}
				if tt.avoid != "" {
					h.Avoid = []netip.AddrPort{netip.MustParseAddrPort(tt.avoid)}
				}
				began := time.Now()
				got, err := f.Find(t.Context(), &config.Source{Mode: source.ModeNTS, Host: "ke.example", Port: 4460}, h)
				if d := time.Since(began); d > 3*time.Second {
					t.Errorf("took %v", d)
				}
				if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
					t.Errorf("error %v", err)
				}
				if err == nil && got.Addrs[0].Addr().String() != tt.first {
					t.Errorf("source at %v, want %s", got.Addrs, tt.first)
				}
				var failed []string
				for _, a := range got.Failed {
					failed = append(failed, a.Addr.Addr().String()+": "+a.Err.Error())
				}
				if text := strings.Join(failed, "; "); tt.failed != "" && text != tt.failed || err == nil && tt.failed == "" && text != "" {
					t.Errorf("failed %q, want %q", text, tt.failed)
				}
				if asked := strings.Join(s.asked[:min(len(s.asked), 3)], " "); asked != tt.asked || len(s.asked) > 4 {
					t.Errorf("asked %v, want %s", s.asked, tt.asked)
				}
			})
		})
	}
}

// A failure of all addresses is told by the one that got farthest, which decides when the next search comes.
func TestKeys_TellingError(t *testing.T) {
	refused := errors.New("connection refused")
	for _, list := range [][]error{{syscall.ENETUNREACH, refused}, {refused, syscall.ENETUNREACH}, {refused}} {
		var failed []Attempt
		for i, err := range list {
			failed = append(failed, Attempt{netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), 4460), err})
		}
		if err := together(&config.Source{Host: "ke.example"}, failed); !errors.Is(err, refused) || errors.Is(err, syscall.ENETUNREACH) {
			t.Errorf("%v", err)
		}
	}
	only := []Attempt{{netip.MustParseAddrPort("192.0.2.1:4460"), syscall.ENETUNREACH}}
	if err := together(&config.Source{Host: "ke.example"}, only); !errors.Is(err, syscall.ENETUNREACH) {
		t.Errorf("%v", err)
	}
}

// TestFind_ServerRecordInward: what a key exchange server names may be as near to us as the server itself and no nearer,
// whether it is a name or an address, at whatever port.
func TestFind_ServerRecordInward(t *testing.T) {
	n := names{
		"localhost.": {"127.0.0.1", "::1"}, "mine.example.": {"198.51.100.77"}, "both.example.": {"127.0.0.1", "192.0.2.7"},
		"127.0.0.1": {"127.0.0.1"}, "::1": {"::1"}, "198.51.100.77": {"198.51.100.77"}, "169.254.7.7": {"169.254.7.7"}, "10.0.0.7": {"10.0.0.7"},
		"192.0.2.7": {"192.0.2.7"},
	}
	for _, tt := range []struct {
		peer, named, want string // want is empty if nothing may be asked
	}{
		{"192.0.2.250", "127.0.0.1", ""},
		{"192.0.2.250", "::1", ""},
		{"192.0.2.250", "localhost", ""},
		{"192.0.2.250", "198.51.100.77", ""},
		{"192.0.2.250", "mine.example", ""},
		{"192.0.2.250", "169.254.7.7", ""},
		{"192.0.2.250", "both.example", "[192.0.2.7:9999]"},
		{"192.0.2.250", "10.0.0.7", "[10.0.0.7:9999]"},
		{"169.254.1.1", "169.254.7.7", "[169.254.7.7:9999]"},
		{"169.254.1.1", "127.0.0.1", ""},
		{"127.0.0.1", "localhost", "[127.0.0.1:9999 [::1]:9999]"},
		{"::1", "127.0.0.1", "[127.0.0.1:9999]"},
		{"198.51.100.77", "127.0.0.1", "[127.0.0.1:9999]"},
		{"127.0.0.1", "169.254.7.7", "[169.254.7.7:9999]"},
		{"127.0.0.1", "192.0.2.7", "[192.0.2.7:9999]"},
	} {
		f := Finder{Resolve: n, Own: own, Exchange: answering(ke.Result{
			Server: tt.named, ServerGiven: true, Remote: netip.MustParseAddr(tt.peer), Port: 9999,
		})}
		got, err := f.Find(t.Context(), &config.Source{Mode: source.ModeNTS, Host: "ke.example", Port: 4460}, Hints{})
		if tt.want == "" {
			if len(got.Addrs) != 0 || !errors.Is(err, resolve.ErrNoUsable) || !strings.Contains(err.Error(), "nearer to this host") {
				t.Errorf("%s named by %s: %v, %v", tt.named, tt.peer, got.Addrs, err)
			}
		} else if fmt.Sprint(got.Addrs) != tt.want || err != nil {
			t.Errorf("%s named by %s: %v, %v; want %s", tt.named, tt.peer, got.Addrs, err, tt.want)
		}
	}
	r := resolve.New(resolve.Config{Own: own}) // a name of the hosts file for this host, named by a server on this host
	f := Finder{Resolve: loopbackName{r}, Own: own, Exchange: answering(ke.Result{
		Server: "myhost", ServerGiven: true, Remote: netip.MustParseAddr("127.0.0.1"), Port: 123,
	})}
	if got, err := f.Find(t.Context(), &config.Source{Mode: source.ModeNTS, Host: "localhost", Port: 4460}, Hints{}); err != nil || fmt.Sprint(got.Addrs) != "[127.0.1.1:123]" {
		t.Errorf("%v, %v", got.Addrs, err)
	}
}

// loopbackName is a resolver that refuses the address of myhost as one for a name other than localhost.
type loopbackName struct{ *resolve.Resolver }

func (l loopbackName) Lookup(ctx context.Context, host string, port uint16) (resolve.Answer, error) {
	if host != "myhost." {
		return l.Resolver.Lookup(ctx, host, port)
	}
	return resolve.Answer{Refused: []resolve.Refusal{{Addr: netip.MustParseAddr("127.0.1.1"), Reason: resolve.Loopback}}}, resolve.ErrNoUsable
}
