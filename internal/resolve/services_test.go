package resolve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"ntp-daemon/internal/dnstest"
)

const service = "_ntske._tcp.pool.test"

// shown is an order of servers in short.
func shown(list []Service) string {
	var text []string
	for _, s := range list {
		text = append(text, fmt.Sprintf("%s:%d", s.Target, s.Port))
	}
	return strings.Join(text, " ")
}

// lookup asks a name server that is trusted for pool.test.
func lookup(t *testing.T, s *dnstest.Server) ([]Service, error) {
	t.Helper()
	return NewServices(ServicesConfig{Trusted: []netip.AddrPort{s.Addr}, Timeout: 5 * time.Second}).Lookup(t.Context(), "pool.test")
}

// TestServices_Answers is the table of what an answer is worth.
func TestServices_Answers(t *testing.T) {
	srv := func(priority, weight, port uint16, target string) dnsmessage.Resource {
		return dnstest.SRV(service, 300, priority, weight, port, target)
	}
	at := func(name string, priority uint16, target string) dnsmessage.Resource {
		return dnstest.SRV(name, 300, priority, 0, 4460, target)
	}
	chain := func(n int) (list []dnsmessage.Resource) {
		name := service
		for i := range n {
			next := fmt.Sprintf("_ntske._tcp.c%d.test", i)
			list = append(list, dnstest.CNAME(name, 300, next))
			name = next
		}
		return append(list, at(name, 1, "a.test"))
	}
	many := func(n int) (list []dnsmessage.Resource) {
		for i := range n {
			list = append(list, srv(1, 0, 4460, fmt.Sprintf("member-%d.with-a-rather-long-name.test", i)))
		}
		return list
	}
	for _, tt := range []struct {
		name   string
		answer dnstest.Answer
		want   string // servers in order, or #n for their number
		err    error
		says   string
	}{
		{"priority, port and target", dnstest.Answer{AD: true, Records: []dnsmessage.Resource{srv(20, 9, 4461, "b.test"), srv(10, 1, 4460, "a.test"), srv(30, 0, 123, "c.test")}},
			"a.test:4460 b.test:4461 c.test:123", nil, ""},
		{"signatures between", dnstest.Answer{AD: true, Records: []dnsmessage.Resource{srv(1, 0, 1, "a.test"), dnstest.Signature(service, 300)}}, "a.test:1", nil, ""},
		{"case does not matter", dnstest.Answer{AD: true, Records: []dnsmessage.Resource{at("_NTSKE._tcp.Pool.test", 1, "A.test")}}, "A.test:4460", nil, ""},
		{"one target twice", dnstest.Answer{AD: true, Records: []dnsmessage.Resource{srv(2, 0, 4461, "a.test"), srv(1, 0, 4460, "A.test"), srv(3, 0, 1, "b.test")}}, "A.test:4460 b.test:1", nil, ""},
		{"another name's records", dnstest.Answer{AD: true, Records: []dnsmessage.Resource{at("_ntske._tcp.evil.test", 1, "evil.test"), srv(2, 0, 4460, "a.test")}}, "a.test:4460", nil, ""},
		{"only another name's", dnstest.Answer{AD: true, Records: []dnsmessage.Resource{at("_ntske._tcp.evil.test", 1, "evil.test")}}, "", ErrNoService, "has no SRV records"},
		{"CNAME chain", dnstest.Answer{AD: true, Records: chain(3)}, "a.test:4460", nil, ""},
		{"the same in another order", dnstest.Answer{AD: true, Records: slices.Concat(chain(3)[3:], chain(3)[:3])}, "a.test:4460", nil, ""},
		{"longest chain", dnstest.Answer{AD: true, Records: chain(8)}, "a.test:4460", nil, ""},
		{"chain that is too long", dnstest.Answer{AD: true, Records: chain(9)}, "", nil, "CNAME records in a row"},
		{"chain in a ring", dnstest.Answer{AD: true, Records: []dnsmessage.Resource{dnstest.CNAME(service, 1, service)}}, "", nil, "CNAME records in a row"},
		{"two aliases", dnstest.Answer{AD: true, Records: []dnsmessage.Resource{dnstest.CNAME(service, 1, "a.test"), dnstest.CNAME(service, 1, "b.test")}}, "", nil, "two CNAME"},
		{"chain that leads to nothing", dnstest.Answer{AD: true, Records: chain(2)[:2]}, "", ErrNoService, "has no SRV records"},
		{"records at the alias", dnstest.Answer{AD: true, Records: append(chain(1), srv(1, 0, 4460, "evil.test"))}, "a.test:4460", nil, ""},

		{"not signed", dnstest.Answer{Records: []dnsmessage.Resource{srv(1, 0, 4460, "a.test")}}, "", ErrNotValidated, "the zone is not signed"},
		{"bogus", dnstest.Answer{RCode: dnsmessage.RCodeServerFailure}, "", errServerFailed, "SERVFAIL; signatures"},
		{"bogus, with the reason", dnstest.Answer{RCode: dnsmessage.RCodeServerFailure, EDE: 7}, "", errServerFailed, "DNSSEC: signature expired"},
		{"records with a failure", dnstest.Answer{RCode: dnsmessage.RCodeServerFailure, AD: true, Records: []dnsmessage.Resource{srv(1, 0, 4460, "a.test")}}, "", errServerFailed, "SERVFAIL"},
		{"refused", dnstest.Answer{RCode: dnsmessage.RCodeRefused}, "", errServerFailed, "Refused"},
		{"no such name", dnstest.Answer{RCode: dnsmessage.RCodeNameError, AD: true}, "", ErrNoService, "does not exist"},
		{"no records", dnstest.Answer{AD: true}, "", ErrNoService, "no SRV records"},
		{"no service, it says", dnstest.Answer{AD: true, Records: []dnsmessage.Resource{srv(0, 0, 0, "")}}, "", ErrNoService, "does not offer it"},
		{"no service, not signed", dnstest.Answer{Records: []dnsmessage.Resource{srv(0, 0, 0, "")}}, "", ErrNotValidated, ""},
		{"root beside others", dnstest.Answer{AD: true, Records: []dnsmessage.Resource{srv(0, 0, 1, ""), srv(1, 0, 4460, "a.test")}}, "a.test:4460", nil, ""},
		{"port 0", dnstest.Answer{AD: true, Records: []dnsmessage.Resource{srv(1, 0, 0, "a.test")}}, "", ErrNoService, "no SRV record names a usable"},
		{"target that is no host", dnstest.Answer{AD: true, Records: []dnsmessage.Resource{srv(1, 0, 4460, "a b.test"), srv(2, 0, 4460, "192.0.2.1"), srv(3, 0, 4460, "-.test")}}, "", ErrNoService, "no SRV record names a usable"},
		{"more than a datagram holds", dnstest.Answer{AD: true, Records: many(40)}, "#40", nil, ""},
		{"more than anybody needs", dnstest.Answer{AD: true, Records: many(900)}, "#64", nil, ""},
		{"cut although it would fit", dnstest.Answer{AD: true, Cut: true, Records: []dnsmessage.Resource{srv(1, 0, 4460, "a.test")}}, "a.test:4460", nil, ""},
		{"not validated over TCP", dnstest.Answer{Cut: true, Records: []dnsmessage.Resource{srv(1, 0, 4460, "a.test")}}, "", ErrNotValidated, ""},
		{"nonsense", dnstest.Answer{Bytes: append(make([]byte, 2), "\x84\x20\x00\x01\x00\x01\x00\x00\x00\x00\x06_ntske\x04_tcp\x04pool\x04test\x00\x00\x21\x00\x01\xc0\x0c\x00\x21\x00\x01\x00\x00\x00\x01\x00\xff"...)}, "", nil, "malformed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := dnstest.Start(t)
			s.Set(service, dnsmessage.TypeSRV, tt.answer)
			list, err := lookup(t, s)
			got := shown(list)
			if strings.HasPrefix(tt.want, "#") {
				got = fmt.Sprintf("#%d", len(list))
			}
			if got != tt.want {
				t.Errorf("servers %q, want %q; %v", got, tt.want, err)
			}
			if failed := tt.err != nil || tt.says != ""; failed != (err != nil) || failed && (!errors.Is(err, cmpErr(tt.err, err)) || !strings.Contains(err.Error(), tt.says)) {
				t.Errorf("error %v, want %v with %q", err, tt.err, tt.says)
			}
			for _, q := range s.Questions() {
				if q.Name != service+"." || !q.DO || !q.Header.AuthenticData || !q.Header.RecursionDesired || q.Header.CheckingDisabled {
					t.Errorf("asked %+v", q)
				}
			}
		})
	}
}

// cmpErr is want, or the error itself where the kind does not matter.
func cmpErr(want, got error) error {
	if want == nil {
		return got
	}
	return want
}

// What comes before the answer, and is none, is skipped: wrong numbers, other questions, questions, rubbish.
func TestServices_StrayDatagrams(t *testing.T) {
	s := dnstest.Start(t)
	s.Set(service, dnsmessage.TypeSRV, dnstest.Answer{
		AD: true, Records: []dnsmessage.Resource{dnstest.SRV(service, 300, 1, 0, 4460, "a.test")},
		Before: func(query []byte) [][]byte {
			forged := func(change func(*dnsmessage.Message)) []byte {
				var m dnsmessage.Message
				if err := m.Unpack(query); err != nil {
					t.Error(err)
				}
				m.Header.Response, m.Header.AuthenticData = true, true
				m.Additionals = nil
				m.Answers = []dnsmessage.Resource{dnstest.SRV(service, 300, 1, 0, 4460, "evil.test")}
				change(&m)
				b, err := m.Pack()
				if err != nil {
					t.Error(err)
				}
				return b
			}
			return [][]byte{
				nil, {1}, query,
				forged(func(m *dnsmessage.Message) { m.Header.ID++ }),
				forged(func(m *dnsmessage.Message) { m.Header.Response = false }),
				forged(func(m *dnsmessage.Message) { m.Header.OpCode = 4 }),
				forged(func(m *dnsmessage.Message) { m.Questions = nil }),
				forged(func(m *dnsmessage.Message) { m.Questions = append(m.Questions, m.Questions[0]) }),
				forged(func(m *dnsmessage.Message) { m.Questions[0].Type = dnsmessage.TypeA }),
				forged(func(m *dnsmessage.Message) { m.Questions[0].Class = dnsmessage.ClassCHAOS }),
				forged(func(m *dnsmessage.Message) { m.Questions[0].Name = dnsmessage.MustNewName("_ntske._tcp.other.test.") }),
			}
		},
	})
	if list, err := lookup(t, s); err != nil || shown(list) != "a.test:4460" {
		t.Errorf("%v, %v", list, err)
	}
	s.Set(service, dnsmessage.TypeSRV, dnstest.Answer{Silent: true, Before: func([]byte) [][]byte { return slices.Repeat([][]byte{{0}}, 200) }})
	if _, err := lookup(t, s); err == nil || !strings.Contains(err.Error(), "none of them an answer") {
		t.Errorf("a flood: %v", err)
	}
}

// One name server says that it failed, and the datagram to the other is lost: that one is asked again, the first is not.
func TestServices_OneFailsOneIsSilent(t *testing.T) {
	failing, lossy := dnstest.Start(t), dnstest.Start(t)
	failing.Set(service, dnsmessage.TypeSRV, dnstest.Answer{RCode: dnsmessage.RCodeServerFailure})
	lossy.Set(service, dnsmessage.TypeSRV, dnstest.Answer{AD: true, Records: []dnsmessage.Resource{dnstest.SRV(service, 300, 1, 0, 4460, "a.test")}})
	for _, order := range [][]netip.AddrPort{{failing.Addr, lossy.Addr}, {lossy.Addr, failing.Addr}} {
		before, lost := len(failing.Questions()), false
		s := NewServices(ServicesConfig{Trusted: order, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			if address == lossy.Addr.String() && !lost {
				lost = true
				return nil, os.ErrDeadlineExceeded
			}
			return (&net.Dialer{}).DialContext(ctx, network, address)
		}})
		if list, err := s.Lookup(t.Context(), "pool.test"); err != nil || shown(list) != "a.test:4460" {
			t.Errorf("%v: %v, %v", order, list, err)
		}
		if n := len(failing.Questions()) - before; n != 1 {
			t.Errorf("%v: the name server that failed was asked %d times", order, n)
		}
	}
}

// Whose AD bit counts: name servers on this host, those that resolv.conf declares trusted, and those that the operator names.
func TestServices_WhoIsBelieved(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"none", "", "127.0.0.1:53"},
		{"this host", "search test\nnameserver 127.0.0.53\noptions edns0\n", "127.0.0.53:53"},
		{"IPv6", "nameserver ::1\n", "[::1]:53"},
		{"another host", "nameserver 192.0.2.53\n", ""},
		{"both", "nameserver 192.0.2.53\nnameserver 127.0.0.1\n", "127.0.0.1:53"},
		{"declared", "nameserver 192.0.2.53\noptions edns0 trust-ad\nnameserver fe80::1%eth0\n", "192.0.2.53:53 [fe80::1%eth0]:53"},
		{"a comment", "# options trust-ad\nnameserver 192.0.2.53\n;nameserver 127.0.0.1\n", ""},
		{"more than three", "nameserver 127.0.0.1\nnameserver 127.0.0.2\nnameserver 127.0.0.3\nnameserver 127.0.0.4\n", "127.0.0.1:53 127.0.0.2:53 127.0.0.3:53"},
		{"no address", "nameserver dns.test\nnameserver\n", "127.0.0.1:53"},
	} {
		path := filepath.Join(t.TempDir(), "resolv.conf")
		if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
			t.Fatal(err)
		}
		var asked []string
		s := NewServices(ServicesConfig{Path: path, Dial: func(_ context.Context, _, address string) (net.Conn, error) {
			if !slices.Contains(asked, address) {
				asked = append(asked, address)
			}
			return nil, errors.New("nobody there")
		}})
		_, err := s.Lookup(t.Context(), "pool.test")
		if got := strings.Join(asked, " "); got != tt.want || err == nil || errors.Is(err, ErrNotValidated) != (tt.want == "") {
			t.Errorf("%s: asked %q, want %q; %v", tt.name, got, tt.want, err)
		}
		if tt.want == "" && (!strings.Contains(err.Error(), "srv-resolvers") || !strings.Contains(err.Error(), "trust-ad")) {
			t.Errorf("%s: no remedy in %v", tt.name, err)
		}
	}
	var missing []string
	s := NewServices(ServicesConfig{Path: filepath.Join(t.TempDir(), "none"), Dial: func(_ context.Context, _, address string) (net.Conn, error) {
		missing = append(missing, address)
		return nil, errors.New("nobody there")
	}})
	if _, err := s.Lookup(t.Context(), "pool.test"); err == nil || len(missing) != rounds || missing[0] != "127.0.0.1:53" {
		t.Errorf("without the file: %v, %v", missing, err)
	}
}

// A name server that is silent, refuses or fails is not the end while there is another one; if all fail, what was said is told
// rather than that another one was silent.
func TestServices_NextNameServer(t *testing.T) {
	good, failing, unsigned := dnstest.Start(t), dnstest.Start(t), dnstest.Start(t)
	records := []dnsmessage.Resource{dnstest.SRV(service, 300, 1, 0, 4460, "a.test")}
	good.Set(service, dnsmessage.TypeSRV, dnstest.Answer{AD: true, Records: records})
	failing.Set(service, dnsmessage.TypeSRV, dnstest.Answer{RCode: dnsmessage.RCodeServerFailure})
	unsigned.Set(service, dnsmessage.TypeSRV, dnstest.Answer{Records: records})
	closed, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := closed.LocalAddr().(*net.UDPAddr).AddrPort()
	_ = closed.Close()
	for _, tt := range []struct {
		name    string
		servers []netip.AddrPort
		want    string
		err     error
	}{
		{"refused first", []netip.AddrPort{nobody, good.Addr}, "a.test:4460", nil},
		{"failing first", []netip.AddrPort{failing.Addr, good.Addr}, "a.test:4460", nil},
		{"all fail", []netip.AddrPort{failing.Addr, nobody}, "", errServerFailed},
		{"one that does not validate ends it", []netip.AddrPort{unsigned.Addr, good.Addr}, "", ErrNotValidated},
	} {
		list, err := NewServices(ServicesConfig{Trusted: tt.servers, Timeout: 5 * time.Second}).Lookup(t.Context(), "pool.test")
		if shown(list) != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("%s: %v, %v", tt.name, list, err)
		}
	}
	_, err = NewServices(ServicesConfig{Trusted: []netip.AddrPort{nobody}}).Lookup(t.Context(), "pool.test")
	if dns, ok := errors.AsType[*net.DNSError](err); !ok || dns.IsTimeout || !strings.Contains(err.Error(), "refused") {
		t.Errorf("nobody listens: %v", err)
	}
	silent := dnstest.Start(t)
	silent.Set(service, dnsmessage.TypeSRV, dnstest.Answer{Silent: true})
	_, err = NewServices(ServicesConfig{Trusted: []netip.AddrPort{silent.Addr}, Timeout: 100 * time.Millisecond}).Lookup(t.Context(), "pool.test")
	if dns, ok := errors.AsType[*net.DNSError](err); !ok || !dns.IsTimeout {
		t.Errorf("silence: %v", err)
	}
}

// Answers are kept for their TTL, for a minute at least and an hour at most; failures are not kept.
func TestServices_TTL(t *testing.T) {
	for _, tt := range []struct {
		records []dnsmessage.Resource
		want    time.Duration
	}{
		{[]dnsmessage.Resource{dnstest.SRV(service, 300, 1, 0, 4460, "a.test"), dnstest.SRV(service, 200, 1, 0, 4460, "b.test")}, 200 * time.Second},
		{[]dnsmessage.Resource{dnstest.SRV(service, 0, 1, 0, 4460, "a.test")}, time.Minute},
		{[]dnsmessage.Resource{dnstest.SRV(service, 86400, 1, 0, 4460, "a.test")}, time.Hour},
		{[]dnsmessage.Resource{dnstest.SRV(service, 1<<31, 1, 0, 4460, "a.test")}, time.Minute},
		{[]dnsmessage.Resource{dnstest.CNAME(service, 120, "x.test"), dnstest.SRV("x.test", 300, 1, 0, 4460, "a.test")}, 2 * time.Minute},
	} {
		server := dnstest.Start(t)
		s := NewServices(ServicesConfig{Trusted: []netip.AddrPort{server.Addr}})
		if _, err := s.Lookup(t.Context(), "pool.test"); !errors.Is(err, ErrNoService) || len(s.kept) != 0 {
			t.Fatalf("%v, kept %v", err, s.kept)
		}
		server.Set(service, dnsmessage.TypeSRV, dnstest.Answer{AD: true, Records: tt.records})
		before := time.Now()
		for _, name := range []string{"pool.test", "Pool.Test."} {
			if _, err := s.Lookup(t.Context(), name); err != nil {
				t.Fatal(err)
			}
		}
		if n := len(server.Questions()); n != 2 {
			t.Errorf("%d questions", n)
		}
		kept := s.kept["pool.test"].until.Sub(before)
		if kept < tt.want || kept > tt.want+10*time.Second {
			t.Errorf("%v kept for %v, want %v", tt.records, kept, tt.want)
		}
		if s.recall("pool.test", before.Add(kept)) != nil {
			t.Error("believed after its time")
		}
	}
	s := NewServices(ServicesConfig{})
	for i := range 100 {
		s.keep(fmt.Sprint(i), []Service{{}}, time.Now().Add(time.Hour))
	}
	if len(s.kept) > maxKept || s.recall("99", time.Now()) == nil {
		t.Errorf("%d answers kept", len(s.kept))
	}
}

func TestServices_NamesThatCannotBe(t *testing.T) {
	s := NewServices(ServicesConfig{Trusted: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:1")}})
	for _, name := range []string{strings.Repeat("a", 64) + ".test", strings.Repeat("a.", 130)} {
		if _, err := s.Lookup(t.Context(), name); err == nil {
			t.Errorf("%q was asked for", name)
		}
	}
}

// A stopped daemon does not wait for its name server.
func TestServices_EndsWithContext(t *testing.T) {
	server := dnstest.Start(t)
	server.Set(service, dnsmessage.TypeSRV, dnstest.Answer{Silent: true})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	if _, err := NewServices(ServicesConfig{Trusted: []netip.AddrPort{server.Addr}}).Lookup(ctx, "pool.test"); err == nil || time.Since(began) > 2*time.Second {
		t.Errorf("%v after %v", err, time.Since(began))
	}
}

// FuzzServiceAnswer: whatever a name server sends, nothing panics, nothing is unbounded, and what is used was asked for and
// validated.
func FuzzServiceAnswer(f *testing.F) {
	q, err := newQuestion(0x1234, service)
	if err != nil {
		f.Fatal(err)
	}
	for _, records := range [][]dnsmessage.Resource{
		{dnstest.SRV(service, 1, 1, 1, 4460, "a.test"), dnstest.Signature(service, 1)},
		{dnstest.CNAME(service, 1, "x.test"), dnstest.SRV("x.test", 1, 1, 1, 4460, "a.test"), dnstest.SRV("x.test", 1, 0, 0, 0, "")},
	} {
		m := dnsmessage.Message{
			Header:    dnsmessage.Header{ID: q.id, Response: true, AuthenticData: true},
			Questions: []dnsmessage.Question{{Name: q.name, Type: dnsmessage.TypeSRV, Class: dnsmessage.ClassINET}}, Answers: records,
			Additionals: []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName(".")}, Body: &dnsmessage.OPTResource{Options: []dnsmessage.Option{{Code: 15, Data: []byte{0, 6}}}}}},
		}
		b, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, msg []byte) {
		r, err := q.decode(msg)
		if err != nil || r.truncated {
			return
		}
		list, err := r.usable(netip.AddrPort{})
		if err != nil {
			return
		}
		if !r.validated || len(list) == 0 || len(list) > maxRecords || r.ttl < 0 {
			t.Errorf("%+v gives %v", r, list)
		}
		for _, s := range list {
			if s.Port == 0 || !askable(s.Target) || !slices.Contains(r.services, s) {
				t.Errorf("server %+v of %+v", s, r)
			}
		}
	})
}
