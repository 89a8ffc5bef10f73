package hostile_test

import (
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"ntp-daemon/internal/faultnet"
	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/observe"
	"ntp-daemon/internal/suite"
)

// lie is how wrong every forged time is: believing one of them shows.
const lie = 10 * time.Second

// forge moves the time of a forged reply.
func forge(h *ntp.Header) { h.Receive, h.Transmit = h.Receive.Add(lie), h.Transmit.Add(lie) }

// steady watches that a synchronised client neither loses polls nor time.
func steady(d *daemon, during time.Duration) {
	d.t.Helper()
	d.watch(during, func(s *observe.Snapshot) {
		if e := seconds(s.Suite.VirtualTruth.Offset).Abs(); e > 30*time.Millisecond {
			d.t.Errorf("clock is %v off", e)
		}
		for _, row := range s.Sources {
			if row.UnansweredPolls > 1 {
				d.t.Errorf("%s: %d unanswered polls", row.Address, row.UnansweredPolls)
			}
		}
	})
}

// TestC04_C05_C06_OffPath: a third host that knows the port of every request, but not its contents, answers first, as
// the server and as others.
func TestC04_C05_C06_OffPath(t *testing.T) {
	third := suite.NewNamespace(t)
	spoofer := faultnet.NewSpoofer(t, third)
	rnd := rand.New(rand.NewPCG(1, 2))
	var mu sync.Mutex
	sent := 0
	w := newRoutedNet(t, 4, faultnet.Config{
		Pair: faultnet.Pair{Back: faultnet.Link{Delay: 30 * time.Millisecond}},
		Hook: func(_ *faultnet.Router, p *faultnet.Packet) faultnet.Verdict {
			q, ok := p.Request()
			if !ok {
				return faultnet.Pass
			}
			mu.Lock()
			defer mu.Unlock()
			client, server := p.Ends()
			blind := func(edit func(*ntp.Header)) []byte {
				return p.Forged(func(h *ntp.Header) {
					forge(h)
					h.Origin = ntp.Timestamp(rnd.Uint64())
					edit(h)
				})
			}
			pkts := [][]byte{
				blind(func(*ntp.Header) {}),                                // C04
				blind(func(h *ntp.Header) { h.Origin = 0 }),                // C05
				blind(faultnet.Kiss("DENY")), blind(faultnet.Kiss("RSTR")), // C15
				blind(faultnet.Kiss("RATE")), blind(faultnet.Kiss("NTSN")),
			}
			// C06: the right contents from elsewhere. Nobody off the path knows them; the check must hold all the same.
			right := ntp.Header{Version: 4, Mode: ntp.ModeServer, Stratum: 1, Origin: q.Transmit,
				Receive: ntp.FromTime(time.Now().Add(lie)), Transmit: ntp.FromTime(time.Now().Add(lie))}
			for _, from := range []netip.AddrPort{
				netip.AddrPortFrom(server.Addr(), 124), netip.AddrPortFrom(netip.MustParseAddr("198.18.3.66"), ntpPort),
				netip.AddrPortFrom(netip.MustParseAddr(near), ntpPort), netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), ntpPort),
			} {
				pkts = append(pkts, faultnet.UDP(from, client, right.AppendTo(nil)))
			}
			for _, b := range pkts {
				if spoofer.Send(b) == nil {
					sent++
				}
			}
			return faultnet.Pass
		},
	})
	suite.Link(w.near, "198.18.3.1/24", third, "198.18.3.66/24")
	third.IP("route", "add", "default", "via", "198.18.3.1")
	w.honest(four...)
	c := w.client(polls(-1) + sources("server", "", four...) + virtual(3, 0.2, 20))
	c.synchronised(20 * time.Millisecond)
	steady(c, 5*time.Second)
	mu.Lock()
	defer mu.Unlock()
	if sent < 300 {
		t.Errorf("only %d forged packets were sent", sent)
	}
	t.Logf("%d forged packets", sent)
}

const ntpPort = 123

// TestC15_KissWithoutOrigin: forged kiss codes that come before every reply, by somebody who does not know the origin.
func TestC15_KissWithoutOrigin(t *testing.T) {
	w := newRoutedNet(t, 4, faultnet.Config{
		Pair: faultnet.Pair{Back: faultnet.Link{Delay: 10 * time.Millisecond}},
		Hook: func(r *faultnet.Router, p *faultnet.Packet) faultnet.Verdict {
			if _, ok := p.Request(); ok {
				for _, code := range []string{"RATE", "DENY", "RSTR", "NTSN"} {
					for _, off := range []ntp.Timestamp{1, 1 << 32, 1 << 63} {
						r.Inject(faultnet.Back, p.Forged(func(h *ntp.Header) { faultnet.Kiss(code)(h); h.Origin += off }), 0)
					}
				}
			}
			return faultnet.Pass
		},
	})
	w.honest(four...)
	c := w.client("\n[source-defaults]\npoll-interval-limits = { min = -1, max = 6 }\ninitial-poll-interval = -1\n" +
		sources("server", "", four...) + virtual(3, 0.1, 20))
	c.synchronised(20 * time.Millisecond)
	steady(c, 5*time.Second)
	if log := c.Log(); strings.Contains(log, "rate limit") || strings.Contains(log, "denied") {
		t.Error("a forged kiss code was believed")
	}
}

// TestC17_DenyOnPath: somebody on the path denies every request in the server's name. As long as the server's own
// replies arrive the denial means nothing; once they are held back, too, and three more polls have confirmed it, the
// source is asked a minute later only, and is not given up.
func TestC17_DenyOnPath(t *testing.T) {
	var mu sync.Mutex
	swallow := false
	asked := 0 // requests to the first server since then
	w := newRoutedNet(t, 4, faultnet.Config{
		Pair: faultnet.Pair{Back: faultnet.Link{Delay: 10 * time.Millisecond}},
		Hook: func(r *faultnet.Router, p *faultnet.Packet) faultnet.Verdict {
			if _, ok := p.Request(); !ok || p.Far() != netip.MustParseAddr(far(1)) {
				return faultnet.Pass
			}
			for _, code := range []string{"DENY", "RSTR"} {
				r.Inject(faultnet.Back, p.Forged(faultnet.Kiss(code)), 0)
			}
			mu.Lock()
			defer mu.Unlock()
			if !swallow {
				return faultnet.Pass
			}
			asked++
			return faultnet.Drop
		},
	})
	w.honest(four...)
	c := w.client(polls(-1) + sources("server", "", four...) + virtual(3, 0.1, 20))
	c.synchronised(20 * time.Millisecond)
	steady(c, 4*time.Second)
	c.wait("use of the source that is denied in vain", func(s *observe.Snapshot) bool { return used(s, far(1)) })

	mu.Lock()
	swallow = true
	mu.Unlock()
	c.wait("the rest of the denied source", func(s *observe.Snapshot) bool {
		x := source(s, far(1))
		return x != nil && x.PollInterval >= 6 // a minute or more
	})
	c.watch(3*time.Second, func(*observe.Snapshot) {})
	mu.Lock()
	defer mu.Unlock()
	if asked < 4 || asked > 5 {
		t.Errorf("rests after %d denied polls, want the first and three more", asked)
	}
	if n := strings.Count(c.Log(), "source denied service"); n != 1 {
		t.Errorf("%d lines about the denial", n)
	}
	c.wait("synchronisation with the others", func(s *observe.Snapshot) bool { return s.Suite.Synchronized && len(s.Sources) == 4 })
}

// TestC14_RateOnPath: a RATE with the right origin is obeyed within the configured limits, and costs one log line.
func TestC14_RateOnPath(t *testing.T) {
	w := newRoutedNet(t, 1, faultnet.Config{
		Pair: faultnet.Pair{Back: faultnet.Link{Delay: 5 * time.Millisecond}},
		Hook: func(r *faultnet.Router, p *faultnet.Packet) faultnet.Verdict {
			if _, ok := p.Request(); ok {
				r.Inject(faultnet.Back, p.Forged(func(h *ntp.Header) { faultnet.Kiss("RATE")(h); h.Poll = 127 }), 0)
			}
			return faultnet.Pass
		},
	})
	w.honest(far(1))
	c := w.client("\n[source-defaults]\npoll-interval-limits = { min = -2, max = 2 }\ninitial-poll-interval = -2\n" +
		sources("server", "", far(1)) + virtual(1, 0.01, 0))
	c.wait("the longest interval", func(s *observe.Snapshot) bool {
		row := source(s, far(1))
		return row != nil && row.PollInterval == 2
	})
	c.watch(4*time.Second, func(s *observe.Snapshot) {
		if row := source(s, far(1)); row == nil || row.PollInterval > 2 {
			t.Errorf("%+v", row)
		}
	})
	if n := strings.Count(c.Log(), "source requested rate limit"); n != 1 {
		t.Errorf("%d lines about the rate limit", n)
	}
}

// TestC03_Replay: every earlier reply is played back before each reply, and each reply comes three times.
func TestC03_Replay(t *testing.T) {
	var mu sync.Mutex
	old := map[netip.Addr][][]byte{}
	w := newRoutedNet(t, 4, faultnet.Config{
		Pair: faultnet.Pair{Back: faultnet.Link{Delay: 20 * time.Millisecond}},
		Hook: func(r *faultnet.Router, p *faultnet.Packet) faultnet.Verdict {
			mu.Lock()
			defer mu.Unlock()
			if _, ok := p.Request(); ok {
				client, server := p.Ends()
				for _, b := range old[p.Far()] {
					r.Inject(faultnet.Back, faultnet.UDP(server, client, b), 0)
				}
				return faultnet.Pass
			}
			if b := p.NTP(); b != nil {
				if len(old[p.Far()]) < 20 {
					old[p.Far()] = append(old[p.Far()], append([]byte(nil), b...))
				}
				for i := range 2 {
					r.Inject(faultnet.Back, append([]byte(nil), p.Data...), time.Duration(20+i)*time.Millisecond)
				}
			}
			return faultnet.Pass
		},
	})
	w.honest(four...)
	c := w.client(polls(-1) + sources("server", "", four...) + virtual(3, 0.2, 20))
	c.synchronised(20 * time.Millisecond)
	steady(c, 6*time.Second)
}
