package server

import (
	"slices"
	"testing"
	"time"

	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/nts/aead"
)

// sender drives a Lead: each answer leaves took after the clock was read.
type sender struct {
	*Lead
	t   *testing.T
	now ntp.Timestamp
}

func newSender(t *testing.T) *sender {
	return &sender{Lead: new(Lead), t: t, now: ntp.FromUnix(1_800_000_000, 0)}
}

// answer makes one answer that leaves took after the reading, and returns the lead that it was given and, if it was
// stamped, the error of its transmit time.
func (s *sender) answer(kind leadKind, place int, took time.Duration) (lead, miss time.Duration, stamped bool) {
	s.t.Helper()
	s.now = s.now.Add(20 * time.Microsecond)
	s.Place(place)
	put := s.ahead(kind, s.now)
	if put.Before(s.now) {
		s.t.Errorf("dated %v before its reading", s.now.Sub(put))
	}
	id, ok := s.Ask()
	if ok {
		if _, twice := s.Ask(); twice {
			s.t.Error("asked twice for one answer")
		}
		miss, stamped = s.Left(id, s.now.Add(took))
		if _, again := s.Left(id, s.now.Add(took)); again {
			s.t.Error("one stamp counted twice")
		}
	}
	return put.Sub(s.now), miss, stamped
}

// near allows for the rounding of timestamps.
func near(a, b time.Duration) bool { return (a - b).Abs() <= 2 }

// What an answer is dated forward by is how late its like left: by kind, by place, whatever outliers say.
func TestLead_LearnsByKindAndPlace(t *testing.T) {
	s := newSender(t)
	truth := func(kind leadKind, place int) time.Duration {
		return time.Duration(3+2*int(kind))*time.Microsecond + time.Duration(place)*700
	}
	stamped := 0
	for i := range 120_000 {
		kind, place := leadKind(i/SendEvery%int(leadKinds)), i%SendEvery
		took := truth(kind, place)
		if i%7 == 3 { // a worker that was not running
			took += 3 * time.Millisecond
		}
		if _, _, ok := s.answer(kind, place, took); ok {
			stamped++
		}
	}
	for kind := range leadKinds {
		for place := range SendEvery {
			if lead, _, _ := s.answer(kind, place, truth(kind, place)); !near(lead, truth(kind, place)) {
				t.Errorf("kind %d, place %d: lead %v, leaves after %v", kind, place, lead, truth(kind, place))
			}
		}
	}
	if stamped < 120_000/askEvery || stamped > 120_000/askEvery+120_000*20/1_000_000+1 {
		t.Errorf("%d of 120000 answers stamped", stamped)
	}
}

func TestLead_NeedsSamples(t *testing.T) {
	s := newSender(t)
	for i := range leadMinimum {
		s.now = s.now.Add(askAfter)
		lead, miss, ok := s.answer(leadPlain, 0, 5*time.Microsecond)
		if !ok || lead != 0 || !near(miss, 5*time.Microsecond) {
			t.Errorf("sample %d: lead %v, error %v, %v", i, lead, miss, ok)
		}
	}
	if lead, _, _ := s.answer(leadPlain, 0, 0); !near(lead, 5*time.Microsecond) {
		t.Errorf("lead %v", lead)
	}
	if lead, _, _ := s.answer(leadSIV256, 0, 0); lead != 0 {
		t.Errorf("lead of another kind %v", lead)
	}
	if lead, _, _ := s.answer(leadPlain, 1, 0); lead != 0 {
		t.Errorf("lead of another place %v", lead)
	}
}

// A quiet server has its answers stamped, once a second at most.
func TestLead_QuietServerLearns(t *testing.T) {
	s := newSender(t)
	stamped := 0
	for range 100 {
		s.now = s.now.Add(600 * time.Millisecond)
		if _, _, ok := s.answer(leadPlain, 0, time.Microsecond); ok {
			stamped++
		}
	}
	if stamped != 50 {
		t.Errorf("%d of 100 answers in 60 s stamped, want every other one", stamped)
	}
}

// Whoever fills the queue in front of the device makes answers late, and must not move what everybody is told: samples beyond the
// bound are none, and where most are there is no lead.
func TestLead_FullQueue(t *testing.T) {
	for _, row := range []struct {
		name  string
		takes []time.Duration // in turn
		want  time.Duration
	}{
		{"always full", []time.Duration{50 * time.Millisecond}, 0},
		{"just beyond", []time.Duration{maxLead + time.Microsecond}, 0},
		{"at the bound", []time.Duration{maxLead}, maxLead},
		{"mostly full", []time.Duration{5e3, 50e6, 50e6}, 0},
		{"often full", []time.Duration{5e3, 50e6, 5e3}, 5 * time.Microsecond},
		{"mostly half full", []time.Duration{5e3, 500e3, 500e3}, 5 * time.Microsecond},
		{"full until it was empty", append(slices.Repeat([]time.Duration{50e6}, 100), slices.Repeat([]time.Duration{5e3}, leadSamples)...), 5 * time.Microsecond},
	} {
		s := newSender(t)
		for i := range max(2*leadSamples, len(row.takes)) {
			s.now = s.now.Add(askAfter)
			s.answer(leadPlain, 0, row.takes[i%len(row.takes)])
		}
		if lead, _, _ := s.answer(leadPlain, 0, 0); !near(lead, row.want) {
			t.Errorf("%s: lead %v, want %v", row.name, lead, row.want)
		}
	}
}

func TestLead_ClockWasSet(t *testing.T) {
	s := newSender(t)
	for _, took := range []time.Duration{-time.Microsecond, -time.Hour, time.Second + time.Millisecond, time.Hour} { // the clock was set
		s.now = s.now.Add(askAfter)
		if _, miss, ok := s.answer(leadPlain, 0, took); ok {
			t.Errorf("left after %v: error %v", took, miss)
		}
	}
	if n := s.leads[leadPlain][0].n; n != 0 {
		t.Errorf("%d samples of a clock that was set", n)
	}
}

// What was not asked for changes nothing: ids of others, ids that were overwritten, answers without time.
func TestLead_StrayStamps(t *testing.T) {
	s := newSender(t)
	for _, id := range []uint32{0, 1, LeadID - 1, LeadID, ^uint32(0)} {
		if _, ok := s.Left(id, s.now); ok {
			t.Errorf("id %x", id)
		}
	}
	s.Place(0)
	if _, ok := s.Ask(); ok {
		t.Error("asked for an answer without time")
	}
	s.ahead(leadPlain, s.now)
	first, ok := s.Ask()
	if !ok || first < LeadID {
		t.Fatalf("first answer: id %x, %v", first, ok)
	}
	for range stampsAwaited {
		s.now = s.now.Add(askAfter)
		s.Place(0)
		s.ahead(leadPlain, s.now)
		if _, ok := s.Ask(); !ok {
			t.Fatal("not asked after a second")
		}
	}
	if _, ok := s.Left(first, s.now); ok {
		t.Error("an overwritten id")
	}
	var none *Lead
	none.Place(3)
	if at := none.ahead(leadPlain, s.now); at != s.now {
		t.Error("no Lead adds something")
	}
	if _, ok := none.Ask(); ok {
		t.Error("no Lead asks")
	}
}

func TestLeadKindOf(t *testing.T) {
	seen := map[leadKind]bool{leadPlain: true}
	for _, a := range []aead.Algorithm{aead.SIVCMAC256, aead.SIVCMAC384, aead.SIVCMAC512, aead.GCMSIV128} {
		if k := leadKindOf(a); seen[k] || k >= leadKinds {
			t.Errorf("%v: kind %d", a, k)
		} else {
			seen[k] = true
		}
	}
}

func TestLead_AllocatesNothing(t *testing.T) {
	s := newSender(t)
	if n := testing.AllocsPerRun(1000, func() {
		s.now = s.now.Add(askAfter)
		s.answer(leadSIV256, 3, time.Microsecond)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkLead(b *testing.B) {
	l, now := new(Lead), ntp.FromUnix(1_800_000_000, 0)
	for i := range b.N {
		now += 1 << 15
		l.Place(i % SendEvery)
		l.ahead(leadPlain, now)
		if id, ok := l.Ask(); ok {
			l.Left(id, now+1<<15)
		}
	}
}

// What the Lead knows is in the transmit time of the answer, under the seal, too; denials and NAKs carry no time and are
// not stamped. T3 is after T2 whatever the lead.
func TestRespond_DatesForward(t *testing.T) {
	learn := func(l *Lead, kind leadKind, took time.Duration) {
		for range leadMinimum {
			l.leads[kind][2].add(took)
		}
	}
	ask := func(b *bench, l *Lead, p []byte, want Verdict, lead time.Duration) {
		t.Helper()
		l.Place(2)
		h := parse(t, b.expect(t, p, want, -1))
		if got := h.Transmit.Sub(b.clock()); !near(got, lead) || !h.Receive.Before(h.Transmit) {
			t.Errorf("%v: dated %v after the reading, want %v; T2 %v, T3 %v", want, got, lead, h.Receive, h.Transmit)
		}
		if _, ok := l.Ask(); !ok {
			t.Errorf("%v: the first answer is not stamped", want)
		}
	}
	l := new(Lead)
	learn(l, leadPlain, 7*time.Microsecond)
	ask(newBench(Config{Lead: l}), l, header(0x23), Answered, 7*time.Microsecond)
	for i, a := range algorithms {
		c, l := newNTSClient(t, a), new(Lead)
		took := time.Duration(i+10) * time.Microsecond
		learn(l, leadKindOf(a), took)
		b := c.bench(Config{Lead: l})
		ask(b, l, c.request(0), AnsweredNTS, took)
		bad := c.request(0)
		bad[len(bad)-1] ^= 1
		l.Place(2)
		b.expect(t, bad, AnsweredNAK, -1)
		if _, ok := l.Ask(); ok {
			t.Error("a NAK is stamped")
		}
	}
	late := newBench(Config{Lead: l})
	late.now = late.clock().Add(time.Second) // the clock was stepped back since the datagram came
	l.Place(2)
	if h := parse(t, late.expect(t, header(0x23), Answered, -1)); !h.Receive.Before(h.Transmit) {
		t.Errorf("T2 %v, T3 %v", h.Receive, h.Transmit)
	}
}
