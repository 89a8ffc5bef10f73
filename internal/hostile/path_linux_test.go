package hostile_test

import (
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"ntp-daemon/internal/faultnet"
	"ntp-daemon/internal/observe"
	"ntp-daemon/internal/testca"
)

var four = []string{far(1), far(2), far(3), far(4)}

// TestK17_LossAndJitter is the row in short: 33 % loss, ±50 ms of jitter, 10 ms of asymmetry.
func TestK17_LossAndJitter(t *testing.T) {
	j := faultnet.Jitter{Shape: faultnet.Uniform, Scale: 25 * time.Millisecond} // each way, ±50 ms together
	w := newRoutedNet(t, 4, faultnet.Config{Pair: faultnet.Pair{
		Out:  faultnet.Link{Delay: 45 * time.Millisecond, Jitter: j, Loss: 0.33},
		Back: faultnet.Link{Delay: 35 * time.Millisecond, Jitter: j},
	}})
	w.honest(four...)
	c := w.client(polls(-1) + sources("server", "", four...) + virtual(3, 0.25, 50))
	c.synchronised(30 * time.Millisecond)
	worst, median := c.holds(25*time.Second, 50*time.Millisecond)
	if median > 16*time.Millisecond {
		t.Errorf("median error %v", median)
	}
	t.Logf("largest error %v, median %v", worst, median)
}

// TestFaults_Everything: every fault of the router at once, in small doses, with NTS and without.
func TestFaults_Everything(t *testing.T) {
	t.Parallel()
	for _, shape := range []faultnet.Shape{faultnet.Normal, faultnet.Exponential, faultnet.Pareto, faultnet.Bursts} {
		t.Run("", func(t *testing.T) {
			l := faultnet.Link{
				Delay: 10 * time.Millisecond, Jitter: faultnet.Jitter{Shape: shape, Scale: 3 * time.Millisecond},
				Loss: 0.1, Duplicate: 0.1, Reorder: 0.1, Corrupt: 0.1, Rate: 100_000,
			}
			w := newRoutedNet(t, 4, faultnet.Config{Pair: faultnet.Pair{Out: l, Back: l}})
			w.honest(four...)
			c := w.client(polls(-1) + sources("server", "", four...) + virtual(3, -0.2, -30))
			c.synchronised(10 * time.Millisecond)
			_, median := c.holds(10*time.Second, 40*time.Millisecond)
			if median > 10*time.Millisecond {
				t.Errorf("median error %v", median)
			}
		})
	}
}

// TestFaults_CorruptedButValid: damaged replies whose checksum is right reach the client. Without authentication a
// flipped bit in a timestamp cannot be told from a lie; four sources outvote it.
func TestFaults_CorruptedButValid(t *testing.T) {
	w := newRoutedNet(t, 4, faultnet.Config{Pair: faultnet.Pair{
		Out: faultnet.Link{Corrupt: 0.2, FixSum: true}, Back: faultnet.Link{Corrupt: 0.2, FixSum: true},
	}})
	w.honest(four...)
	c := w.client(polls(-1) + sources("server", "", four...) + virtual(3, 0.1, 10))
	c.synchronised(10 * time.Millisecond)
	_, median := c.holds(12*time.Second, 100*time.Millisecond)
	if median > 10*time.Millisecond {
		t.Errorf("median error %v", median)
	}
}

// TestC24_AsymmetricPath: one of four sources has half a second more on the way there.
func TestC24_AsymmetricPath(t *testing.T) {
	w := newRoutedNet(t, 4, faultnet.Config{
		Pair:  faultnet.Pair{Out: faultnet.Link{Delay: 5 * time.Millisecond}, Back: faultnet.Link{Delay: 5 * time.Millisecond}},
		Paths: map[string]faultnet.Pair{far(1): {Out: faultnet.Link{Delay: 505 * time.Millisecond}, Back: faultnet.Link{Delay: 5 * time.Millisecond}}},
	})
	w.honest(four...)
	c := w.client(polls(0) + sources("server", "", four...) + virtual(3, 0, 20))
	c.synchronised(5 * time.Millisecond)
	c.wait("a measurement of the slow source", func(s *observe.Snapshot) bool {
		row := source(s, far(1))
		return row != nil && row.Measured && row.Delay > 0.4
	})
	_, median := c.holds(8*time.Second, 25*time.Millisecond)
	if median > 5*time.Millisecond {
		t.Errorf("median error %v", median)
	}
	s := c.wait("the end", func(s *observe.Snapshot) bool { return true })
	if used(s, far(1)) {
		t.Errorf("the delayed source is used: %+v", source(s, far(1)))
	}
	if s.Suite.Steps != 0 {
		t.Errorf("%d steps", s.Suite.Steps)
	}
}

// TestC30_ICMPNoise: every request is answered by ICMP errors of all kinds before the reply comes.
func TestC30_ICMPNoise(t *testing.T) {
	w := newRoutedNet(t, 4, faultnet.Config{
		Pair: faultnet.Pair{Back: faultnet.Link{Delay: 30 * time.Millisecond}},
		Hook: func(r *faultnet.Router, p *faultnet.Packet) faultnet.Verdict {
			if _, ok := p.Request(); !ok {
				return faultnet.Pass
			}
			for code := range uint8(16) {
				r.Inject(faultnet.Back, faultnet.Unreachable(p.Far(), code, 68, p.Data), time.Duration(code)*time.Millisecond)
			}
			r.Inject(faultnet.Back, faultnet.SourceQuench(p.Far(), p.Data), 3*time.Millisecond)
			r.Inject(faultnet.Back, faultnet.TimeExceeded(faultnet.RouterAddr, p.Data), 4*time.Millisecond)
			return faultnet.Pass
		},
	})
	w.honest(four...)
	c := w.client(polls(-1) + sources("server", "", four...) + virtual(3, 0.1, 20))
	c.synchronised(20 * time.Millisecond)
	c.watch(6*time.Second, func(s *observe.Snapshot) {
		for _, row := range s.Sources {
			if row.UnansweredPolls > 1 {
				t.Errorf("%s: %d unanswered polls, reach %08b", row.Address, row.UnansweredPolls, row.Reach)
			}
		}
	})
	if r := w.r.Counters(faultnet.Back); r.Injected < 16*20 { // how many requests fit into the time is the machine's affair
		t.Errorf("only %d ICMP errors were sent", r.Injected)
	}
}

// TestC30_ICMPv6Noise is the same over IPv6, whose errors come as other errnos.
func TestC30_ICMPv6Noise(t *testing.T) {
	w := newRoutedNet(t, 3, faultnet.Config{
		Pair: faultnet.Pair{Back: faultnet.Link{Delay: 30 * time.Millisecond}},
		Hook: func(r *faultnet.Router, p *faultnet.Packet) faultnet.Verdict {
			if _, ok := p.Request(); !ok {
				return faultnet.Pass
			}
			for code := range uint8(9) {
				r.Inject(faultnet.Back, faultnet.Unreachable(p.Far(), code, 0, p.Data), time.Duration(code)*time.Millisecond)
			}
			r.Inject(faultnet.Back, faultnet.PacketTooBig(p.Far(), 1280, p.Data), 3*time.Millisecond)
			return faultnet.Pass
		},
	})
	var addresses []string
	for i := range 3 {
		faultnet.FakeNTP(t, w.far, far6(i+1), faultnet.Honest)
		addresses = append(addresses, "["+far6(i+1)+"]")
	}
	c := w.client(polls(-1) + sources("server", "", addresses...) + virtual(3, 0.1, 20))
	c.synchronised(20 * time.Millisecond)
	steady(c, 5*time.Second)
}

// TestFaults_Mutation: half of all NTP packets of both directions become something else with a right checksum: flipped,
// cut, longer, overwritten. Server and client live; what the client believes is outvoted or authenticated.
func TestFaults_Mutation(t *testing.T) {
	var mu sync.Mutex
	var dice [2]*rand.Rand
	w := newRoutedNet(t, 5, faultnet.Config{Hook: func(r *faultnet.Router, p *faultnet.Packet) faultnet.Verdict {
		b := p.NTP()
		if b == nil {
			return faultnet.Pass
		}
		mu.Lock()
		defer mu.Unlock()
		d := dice[p.Dir]
		if d == nil {
			d = rand.New(rand.NewPCG(r.Seed, uint64(p.Dir)))
			dice[p.Dir] = d
		}
		if d.IntN(2) == 0 {
			return faultnet.Pass
		}
		p.SetUDP(mutate(d, b))
		return faultnet.Pass
	}})
	ca := testca.New(t)
	w.ntsServer(ca, far(1), "")
	w.honest(five[1:]...)
	c := w.client(polls(-2) + sources("nts", w.trust(ca), far(1)) + sources("server", "", five[1:]...) + virtual(3, 0.2, 20))
	c.synchronised(20 * time.Millisecond)
	_, median := c.holds(12*time.Second, 100*time.Millisecond)
	if median > 10*time.Millisecond {
		t.Errorf("median error %v", median)
	}
}

// mutate makes something else of a payload.
func mutate(d *rand.Rand, b []byte) []byte {
	b = append([]byte(nil), b...)
	switch d.IntN(5) {
	case 0:
		b[d.IntN(len(b))] ^= 1 << d.IntN(8)
	case 1:
		b = b[:d.IntN(len(b)+1)]
	case 2:
		for range 4 * (1 + d.IntN(20)) {
			b = append(b, byte(d.Uint32()))
		}
	case 3:
		for i := d.IntN(len(b)); i < len(b); i++ {
			b[i] = byte(d.Uint32())
		}
	case 4: // length fields: two bytes anywhere behind the header
		if len(b) > 52 {
			i := 48 + d.IntN(len(b)-49)
			b[i], b[i+1] = byte(d.Uint32()), byte(d.Uint32())
		}
	}
	return b
}

// TestFaults_Outage: the network goes away and comes back; so do the sources, and the daemon says so once.
func TestFaults_Outage(t *testing.T) {
	w := newRoutedNet(t, 4, faultnet.Config{})
	w.honest(four...)
	c := w.client(polls(-1) + sources("server", "", four...) + virtual(3, 0.05, 5))
	c.synchronised(10 * time.Millisecond)
	dark := faultnet.Link{Dark: true}
	w.r.SetPath(faultnet.Pair{Out: dark, Back: dark})
	c.wait("loss of reach", func(s *observe.Snapshot) bool {
		for _, row := range s.Sources {
			if row.UnansweredPolls < 4 {
				return false
			}
		}
		return len(s.Sources) == 4
	})
	w.near.IP("link", "set", "fault0", "down") // now sending fails, too
	time.Sleep(3 * time.Second)                // long enough for six polls to fail
	w.near.IP("link", "set", "fault0", "up")
	w.near.IP("route", "add", "default", "dev", "fault0")
	w.r.SetPath(faultnet.Pair{})
	c.wait("reach again", func(s *observe.Snapshot) bool {
		for _, row := range s.Sources {
			if row.UnansweredPolls > 0 {
				return false
			}
		}
		return len(s.Sources) == 4 && math.Abs(s.Suite.VirtualTruth.Offset) < 0.01
	})
	if n := strings.Count(c.Log(), "could not be sent"); n > 8 {
		t.Errorf("%d lines about packets that could not be sent", n)
	}
}
