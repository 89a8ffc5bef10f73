package hostile_test

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ntp-daemon/internal/faultnet"
	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/observe"
	"ntp-daemon/internal/testca"
)

// secured is a client with one NTS source, our own daemon as its server, and a record of what passes between them.
type secured struct {
	*routedNet
	capture *faultnet.Capture
	server  *daemon
	client  *daemon
}

// newSecured runs server and client behind a hook.
func newSecured(t *testing.T, hook faultnet.Hook, tail, clientTail string) *secured {
	s := &secured{capture: &faultnet.Capture{}}
	s.routedNet = newRoutedNet(t, 1, faultnet.Config{
		Pair: faultnet.Pair{Back: faultnet.Link{Delay: 10 * time.Millisecond}}, Hook: faultnet.Chain(s.capture.Hook, hook),
	})
	ca := testca.New(t)
	s.server = s.ntsServer(ca, far(1), tail)
	s.client = s.routedNet.client("[observability]\nlog-level = \"trace\"\n" + polls(-1) + sources("nts", s.trust(ca), far(1)) + virtual(1, 0.1, 20) + clientTail)
	t.Cleanup(s.noLeaks)
	return s
}

// noLeaks: not one cookie in a log, even at trace level (KC16, P16).
func (s *secured) noLeaks() {
	for _, d := range []*daemon{s.client, s.server} {
		for _, leak := range s.capture.Leaks(d.Log()) {
			s.t.Errorf("%s logs a cookie: %s", d.Name, leak)
		}
	}
}

// exchanges counts the key exchanges that the server served.
func (s *secured) exchanges() uint64 {
	snap := snapshot(s.server)
	if snap == nil {
		s.t.Fatal("no snapshot of the server")
	}
	return snap.Suite.KeyExchange["served"]
}

// onlySecured checks that every request the client ever sent was protected (KC18).
func (s *secured) onlySecured() {
	s.t.Helper()
	for _, p := range s.capture.Packets(faultnet.Out, "") {
		if _, ok := p.Request(); ok && !p.Secured() {
			s.t.Fatalf("a request without NTS: %x", p.NTP())
		}
	}
}

// lying moves the time of plain replies.
func lying(p *faultnet.Packet) {
	if b := p.NTP(); p.Dir == faultnet.Back && len(b) >= ntp.HeaderLen {
		h, _ := ntp.ParseHeader(b)
		forge(&h)
		p.SetUDP(append(h.AppendTo(nil), b[ntp.HeaderLen:]...))
	}
}

// TestN15_KC18_Stripping: somebody on the path strips NTS off requests, so that the server answers plainly, and makes
// those answers lie. The client loses its source and nothing else, never asks without NTS, and recovers.
func TestN15_KC18_Stripping(t *testing.T) {
	var on atomic.Bool
	s := newSecured(t, func(r *faultnet.Router, p *faultnet.Packet) faultnet.Verdict {
		if on.Load() {
			faultnet.StripNTS(r, p)
			lying(p)
		}
		return faultnet.Pass
	}, "", "")
	s.client.synchronised(20 * time.Millisecond)
	on.Store(true)
	s.client.wait("loss of the source", func(s *observe.Snapshot) bool {
		row := source(s, far(1))
		return row == nil || row.UnansweredPolls >= 4
	})
	s.client.holds(3*time.Second, 30*time.Millisecond)
	on.Store(false)
	s.client.wait("the source again", func(s *observe.Snapshot) bool {
		row := source(s, far(1))
		return row != nil && row.UnansweredPolls == 0 && used(s, far(1))
	})
	s.onlySecured()
}

// TestN15_TamperedReplies: before each reply come a plain one, one with a flipped bit at each of many places, one whose
// fields are cut off and replays of earlier ones.
func TestN15_TamperedReplies(t *testing.T) {
	var mu sync.Mutex
	var old [][]byte
	n := 0
	s := newSecured(t, func(r *faultnet.Router, p *faultnet.Packet) faultnet.Verdict {
		b := p.NTP()
		if p.Dir != faultnet.Back || b == nil {
			return faultnet.Pass
		}
		mu.Lock()
		defer mu.Unlock()
		src, dst := p.Ends()
		inject := func(b []byte) { r.Inject(faultnet.Back, faultnet.UDP(src, dst, b), 0) }
		inject(b[:ntp.HeaderLen])
		inject(b[:ntp.HeaderLen+36])
		for range 40 { // every bit in turn, over the replies
			c := append([]byte(nil), b...)
			c[n/8%len(c)] ^= 1 << (n % 8)
			n += 61
			inject(c)
		}
		for _, o := range old {
			inject(o)
		}
		if len(old) < 10 {
			old = append(old, append([]byte(nil), b...))
		}
		r.Inject(faultnet.Back, append([]byte(nil), p.Data...), 11*time.Millisecond) // and twice
		return faultnet.Pass
	}, "", "")
	s.client.synchronised(20 * time.Millisecond)
	s.client.watch(6*time.Second, func(o *observe.Snapshot) {
		row := source(o, far(1))
		if row == nil || row.UnansweredPolls > 1 || row.NTSCookies == nil || *row.NTSCookies < 7 {
			t.Errorf("%+v", row)
		}
	})
	if n := s.exchanges(); n != 1 {
		t.Errorf("%d key exchanges", n)
	}
	s.onlySecured()
}

// nak forges a negative acknowledgement of a request.
func nak(p *faultnet.Packet, edit func(*ntp.Header), uid ...ntp.Field) []byte {
	return p.Forged(func(h *ntp.Header) { faultnet.Kiss("NTSN")(h); edit(h) }, uid...)
}

func none(*ntp.Header) {}

// TestN13_N14_ForgedNAK: without the unique identifier, with another one, with another origin. And N14's first half: a NAK
// that is right in everything, but followed by the server's own reply.
func TestN13_N14_ForgedNAK(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		naks func(p *faultnet.Packet, uid ntp.Field) [][]byte
	}{
		{"N13", func(p *faultnet.Packet, uid ntp.Field) [][]byte {
			other := append([]byte(nil), uid.Value...)
			other[5] ^= 1
			return [][]byte{
				nak(p, none), nak(p, none, ntp.Field{Type: ntp.FieldUniqueID, Value: other}),
				nak(p, none, ntp.Field{Type: ntp.FieldUniqueID, Value: uid.Value[:28]}),
				nak(p, func(h *ntp.Header) { h.Origin++ }, uid), nak(p, func(h *ntp.Header) { h.Origin = 0 }, uid),
			}
		}},
		{"N14", func(p *faultnet.Packet, uid ntp.Field) [][]byte { return [][]byte{nak(p, none, uid)} }},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSecured(t, func(r *faultnet.Router, p *faultnet.Packet) faultnet.Verdict {
				if uid, ok := p.Field(ntp.FieldUniqueID); ok && p.Dir == faultnet.Out {
					for _, b := range c.naks(p, uid) {
						r.Inject(faultnet.Back, b, 0)
					}
				}
				return faultnet.Pass
			}, "", "")
			s.client.synchronised(20 * time.Millisecond)
			steady(s.client, 5*time.Second)
			if n := s.exchanges(); n != 1 {
				t.Errorf("%d key exchanges", n)
			}
		})
	}
}

// TestN14_NAKOnly: right NAKs and no replies. After the next poll the client exchanges keys anew, with back-off as long
// as that does not help, and is itself again afterwards.
func TestN14_NAKOnly(t *testing.T) {
	var on atomic.Bool
	s := newSecured(t, func(r *faultnet.Router, p *faultnet.Packet) faultnet.Verdict {
		uid, ok := p.Field(ntp.FieldUniqueID)
		if !on.Load() || !ok || p.Dir != faultnet.Out {
			return faultnet.Pass
		}
		r.Inject(faultnet.Back, nak(p, none, uid), 0)
		return faultnet.Drop
	}, "", "")
	s.client.synchronised(20 * time.Millisecond)
	on.Store(true)
	s.client.Until("a second key exchange", func() bool { return s.exchanges() > 1 })
	s.client.holds(6*time.Second, 30*time.Millisecond)
	if n := s.exchanges(); n > 3 {
		t.Errorf("%d key exchanges within seconds", n)
	}
	on.Store(false)
	s.client.wait("the source again", func(s *observe.Snapshot) bool {
		row := source(s, far(1))
		return row != nil && row.UnansweredPolls == 0 && used(s, far(1))
	})
	if n := strings.Count(s.client.Log(), "does not recognise our cookies"); n != 1 {
		t.Errorf("%d lines about NAKs", n)
	}
	s.onlySecured()
}

// TestN24_N18_SmallPaths: a path that drops NTP payloads over 200 bytes, and one with the smallest MTU of IPv4 and
// one with that of IPv6, which N18's packets fit.
func TestN24_N18_SmallPaths(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		link faultnet.Link
	}{{"N24 200 bytes", faultnet.Link{MaxNTP: 200}}, {"MTU 576", faultnet.Link{MTU: 576}}, {"N18 MTU 1280", faultnet.Link{MTU: 1280}}} {
		t.Run(c.name, func(t *testing.T) {
			s := newSecured(t, func(*faultnet.Router, *faultnet.Packet) faultnet.Verdict { return faultnet.Pass }, "", "")
			s.r.SetPath(faultnet.Pair{Out: c.link, Back: c.link})
			s.client.synchronised(20 * time.Millisecond)
			steady(s.client, 4*time.Second)
			for _, d := range []faultnet.Direction{faultnet.Out, faultnet.Back} {
				for _, p := range s.capture.Packets(d, "") {
					if n := len(p.NTP()); n > 1232 {
						t.Errorf("%d bytes on the way %v", n, d)
					}
				}
			}
		})
	}
}

// TestN18_SmallMTUAfterLosses: after lost replies the requests carry placeholders and grow; even when they no longer fit
// the path the client must find its way back.
func TestN18_SmallMTUAfterLosses(t *testing.T) {
	var drop atomic.Bool
	s := newSecured(t, func(r *faultnet.Router, p *faultnet.Packet) faultnet.Verdict {
		if drop.Load() && p.Dir == faultnet.Back && p.NTP() != nil {
			return faultnet.Drop
		}
		return faultnet.Pass
	}, "", "")
	l := faultnet.Link{MTU: 576}
	s.r.SetPath(faultnet.Pair{Out: l, Back: l})
	s.client.synchronised(20 * time.Millisecond)
	drop.Store(true)
	s.client.wait("few cookies", func(s *observe.Snapshot) bool {
		row := source(s, far(1))
		return row != nil && row.NTSCookies != nil && *row.NTSCookies < 3
	})
	drop.Store(false)
	s.client.wait("the source again", func(s *observe.Snapshot) bool {
		row := source(s, far(1))
		return row != nil && row.UnansweredPolls == 0 && *row.NTSCookies >= 7
	})
	s.onlySecured()
}

// TestN17_CookiesOnce: with a third of everything lost no cookie ever travels twice in a request of its own.
func TestN17_CookiesOnce(t *testing.T) {
	s := newSecured(t, func(*faultnet.Router, *faultnet.Packet) faultnet.Verdict { return faultnet.Pass }, "", "")
	l := faultnet.Link{Loss: 0.2, Duplicate: 0.1, Delay: 5 * time.Millisecond}
	s.r.SetPath(faultnet.Pair{Out: l, Back: l})
	s.client.synchronised(20 * time.Millisecond)
	s.client.holds(8*time.Second, 50*time.Millisecond)
	seen := map[string]bool{}
	for _, p := range s.capture.Packets(faultnet.Out, "") {
		f, ok := p.Field(ntp.FieldCookie)
		if _, request := p.Request(); !request {
			continue
		}
		if !ok || seen[string(f.Value)] {
			t.Fatal("a cookie travelled twice, or a request had none")
		}
		seen[string(f.Value)] = true
	}
	if len(seen) < 15 {
		t.Errorf("only %d requests", len(seen))
	}
}

// TestKC…_HostileKeyExchange: one daemon, one honest NTS source and one source for each thing that a key exchange
// server can do wrong. The daemon lives, follows the honest one, and not one plain request goes to the others (KC18).
func TestKC02_KC04_KC05_KC06_KC07_KC08_KC09_KC10_KC11_KC12_KC13_KC14_KC18_KC20_HostileKeyExchange(t *testing.T) {
	var capture faultnet.Capture
	scripts := keScripts()
	w := newRoutedNet(t, len(scripts)+2, faultnet.Config{Hook: capture.Hook})
	ca := testca.New(t)
	w.ntsServer(ca, far(1), "")
	addresses := []string{far(1)}
	var fakes []*faultnet.KE
	for i, s := range scripts {
		a := far(i + 2)
		addresses = append(addresses, a)
		if s.raw {
			fakes = append(fakes, faultnet.RawKE(t, w.far, a, s.play))
			continue
		}
		fakes = append(fakes, faultnet.FakeKE(t, w.far, a, ca.Leaf(a), s.play, s.edit))
	}
	addresses = append(addresses, far(len(scripts)+2)) // nobody listens there
	c := w.client("[observability]\nlog-level = \"info\"\n" + polls(-1) + sources("nts", w.trust(ca), addresses...) + virtual(1, 0.1, 20))
	c.synchronised(20 * time.Millisecond)
	for i, f := range fakes {
		c.Until("a connection to "+scripts[i].name, func() bool { return f.Conns() > 0 })
	}
	c.holds(9*time.Second, 30*time.Millisecond) // longer than the deadline of an exchange and a second more
	for i, s := range scripts {
		for _, p := range capture.Packets(faultnet.Out, far(i+2)) {
			if !p.Secured() {
				t.Fatalf("%s: a request without NTS", s.name)
			}
			if !s.usable {
				t.Fatalf("%s: a request although the exchange was bad", s.name)
			}
		}
	}
	failed := strings.Count(c.Log(), "key exchange failed")
	want := 1
	for _, s := range scripts {
		if !s.usable {
			want++
		}
	}
	// Every attempt is over by now, within 5 s and one more, and says so once.
	if failed < want || failed > 2*want {
		t.Errorf("%d failures are logged, %d sources are bad", failed, want)
	}
	if strings.ContainsAny(c.Log(), "\x1b\x00") {
		t.Error("a control character in the log")
	}
	for _, leak := range capture.Leaks(c.Log()) {
		t.Error("a cookie in the log: " + leak)
	}
}
