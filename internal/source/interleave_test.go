package source

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"ntp-daemon/internal/ntp"
)

// figure is a server as RFC 9769 §2 has it: it knows when the answer with a receive stamp really left, and tells each once. Its
// clock is right, its answers leave 20 to 60 µs after it wrote them.
type figure struct {
	left map[ntp.Timestamp]ntp.Timestamp
	rnd  *rand.Rand
	root ntp.Short // root dispersion, another one for each answer
}

func newFigure() *figure {
	return &figure{left: map[ntp.Timestamp]ntp.Timestamp{}, rnd: rand.New(rand.NewPCG(1, 1))}
}

// answer answers request q that arrived at; it returns the answer and when it really left.
func (f *figure) answer(q ntp.Header, at ntp.Timestamp) (h ntp.Header, left ntp.Timestamp) {
	f.root++
	h = ntp.Header{
		Version: q.Version, Mode: ntp.ModeServer, Stratum: 2, Poll: q.Poll, Precision: -23, RootDispersion: f.root,
		RefID: ntp.RefIDFromString("GPS"), Receive: at | 1, Origin: q.Transmit, Transmit: (at.Add(15 * time.Microsecond)) &^ 1,
	}
	left = h.Transmit.Add(20*time.Microsecond+time.Duration(f.rnd.IntN(40_000))) &^ 1
	if sent, ok := f.left[q.Origin]; ok && q.Receive != q.Transmit {
		delete(f.left, q.Origin)
		h.Origin, h.Transmit = q.Receive, sent
	}
	f.left[h.Receive] = left
	return h, left
}

const oneWay = 900 * time.Microsecond

// exchange polls and lets the server answer; the answer arrives when it really left plus the way.
func (w *association) exchange(t *testing.T, f *figure) (o Outcome, q, h ntp.Header) {
	t.Helper()
	_, q = w.poll(t)
	h, left := f.answer(q, w.at().Add(oneWay))
	w.now = w.now.Add(left.Sub(w.at()) + oneWay)
	return w.Receive(w.now, h.AppendTo(nil), server, ntp.Stamp{Time: left.Add(oneWay)}), q, h
}

// TestC23_FigureOfTheRFC goes through RFC 9769 figure 1 from the client's side.
func TestC23_FigureOfTheRFC(t *testing.T) {
	w, f := plain(Config{Interleaved: InterleaveAlways}), newFigure()
	o, q, h := w.exchange(t, f)
	if !q.Origin.IsZero() || !q.Receive.IsZero() || !o.Sample || o.Measurement.Interleaved {
		t.Fatalf("first: %+v, %+v", q, o)
	}
	seen := map[ntp.Timestamp]bool{q.Transmit: true}
	last := h
	for i := range 20 {
		o, q, h = w.exchange(t, f)
		if q.Origin != last.Receive || q.Receive.IsZero() || q.Receive == q.Transmit || seen[q.Receive] || seen[q.Transmit] {
			t.Fatalf("request %d: %+v", i+2, q)
		}
		seen[q.Receive], seen[q.Transmit] = true, true
		m := o.Measurement
		if o.Verdict != Accepted || h.Origin != q.Receive || !m.Interleaved || o.Sample != (i > 0) {
			t.Fatalf("answer %d: %+v", i+2, o)
		}
		if m.T2.Time != last.Receive || m.T3.Time != h.Transmit || m.RootDispersion != last.RootDispersion.Duration() {
			t.Fatalf("answer %d: the sample is not that of the exchange before: %+v", i+2, m)
		}
		if off := m.Offset(); off < -10*time.Nanosecond || off > 10*time.Nanosecond {
			t.Errorf("offset %v", off)
		}
		last = h
	}
	if st := w.Status(); !st.Interleaved || st.InterleavedReplies != 20 {
		t.Errorf("%+v", st)
	}
}

// TestC23_LossAndBasicAfterFour loses a third of all packets, each way, and looks at every sample that comes through.
func TestC23_LossAndBasicAfterFour(t *testing.T) {
	w, f := plain(Config{Interleaved: InterleaveAlways}), newFigure()
	rnd := rand.New(rand.NewPCG(4, 7))
	silent, samples, pairs := 0, 0, map[ntp.Timestamp]bool{}
	for i := range 3000 {
		_, q := w.poll(t)
		if basic := q.Origin.IsZero(); basic != (i == 0 || silent >= 4 || silent > 0 && w.inter.before == (exchange{})) {
			t.Fatalf("after %d unanswered requests: basic %v", silent, basic)
		}
		lost := rnd.IntN(3) == 0
		var h ntp.Header
		var left ntp.Timestamp
		if !lost {
			h, left = f.answer(q, w.at().Add(oneWay))
			lost = rnd.IntN(3) == 0
		}
		if lost {
			silent++
			w.lapse()
			continue
		}
		w.now = w.now.Add(left.Sub(w.at()) + oneWay)
		o := w.Receive(w.now, h.AppendTo(nil), server, ntp.Stamp{Time: left.Add(oneWay)})
		silent = 0
		if o.Verdict != Accepted {
			t.Fatal(o.Verdict)
		}
		if !o.Sample {
			continue
		}
		samples++
		m := o.Measurement
		if pairs[m.T2.Time] {
			t.Fatalf("exchange of %x was counted twice", m.T2.Time)
		}
		pairs[m.T2.Time] = true
		limit := 31 * time.Microsecond // of a basic one: half of what the answer waited
		if m.Interleaved {
			limit = 10 * time.Microsecond
		}
		if off := m.Offset(); off < -limit || off > limit {
			t.Errorf("offset %v, interleaved %v", off, m.Interleaved)
		}
	}
	if samples < 800 || w.Status().InterleavedReplies < 500 {
		t.Errorf("%d samples, %d interleaved replies", samples, w.Status().InterleavedReplies)
	}
}

func TestC23_FourUnansweredThenBasic(t *testing.T) {
	w, f := plain(Config{Interleaved: InterleaveAlways}), newFigure()
	w.exchange(t, f)
	w.exchange(t, f)
	for i := range 8 {
		_, q := w.poll(t)
		if q.Origin.IsZero() != (i >= silentTries) || q.Receive.IsZero() != (i >= silentTries) {
			t.Fatalf("request %d after the last answer: %+v", i+1, q)
		}
		w.lapse()
	}
	if w.Status().Interleaved {
		t.Error("still interleaved")
	}
	w.exchange(t, f)
	if _, q, _ := w.exchange(t, f); q.Origin.IsZero() {
		t.Error("not interleaved again")
	}
}

// TestIL02_ReplayedAndCrossedAnswers: an answer counts for its own request only.
func TestIL02_ReplayedAndCrossedAnswers(t *testing.T) {
	w, f := plain(Config{Interleaved: InterleaveAlways}), newFigure()
	var old [][]byte
	for range 5 {
		_, _, h := w.exchange(t, f)
		old = append(old, h.AppendTo(nil))
		w.refuse(t, NoRequest, old[len(old)-1]) // a duplicate
	}
	_, q5 := w.poll(t)
	crossed, _ := f.answer(q5, w.at().Add(oneWay))
	w.lapse()
	_, q6 := w.poll(t)
	for _, p := range append(old, crossed.AppendTo(nil)) {
		w.refuse(t, WrongOrigin, p)
	}
	good, _ := f.answer(q6, w.at().Add(oneWay))
	for name, origin := range map[string]ntp.Timestamp{
		"request's origin": q6.Origin, "request's receive of before": q5.Receive, "zero": 0, "receive of the answer": good.Receive,
	} {
		t.Log(name)
		w.refuse(t, WrongOrigin, edited(good, func(h *ntp.Header) { h.Origin = origin }))
	}
	if o := w.receive(good.AppendTo(nil)); o.Verdict != Accepted {
		t.Error(o.Verdict)
	}
}

// TestC22_BasicRequestsHaveBasicAnswers is CVE-2016-1548: nobody but the client itself makes it interleave.
func TestC22_BasicRequestsHaveBasicAnswers(t *testing.T) {
	for _, want := range []Interleaving{InterleaveNever, InterleaveAuto, InterleaveAlways} {
		w, f := plain(Config{Interleaved: want}), newFigure()
		if want == InterleaveNever {
			for range 10 {
				w.exchange(t, f)
			}
		}
		_, q := w.poll(t)
		h, _ := f.answer(q, w.at().Add(oneWay))
		for _, origin := range []ntp.Timestamp{0, q.Receive, q.Origin, h.Receive, w.inter.before.measurement.T2.Time} {
			w.refuse(t, WrongOrigin, edited(h, func(h *ntp.Header) { h.Origin = origin }))
		}
	}
}

func TestInterleave_NeverSaysNothing(t *testing.T) {
	w, f := plain(Config{}), newFigure()
	for range 50 {
		if o, q, _ := w.exchange(t, f); !q.Origin.IsZero() || !q.Receive.IsZero() || !o.Sample || o.Measurement.Interleaved {
			t.Fatalf("%+v, %+v", q, o)
		}
	}
	w = plain(Config{Interleaved: InterleaveAlways, Version: 3})
	for range 3 {
		if _, q, _ := w.exchange(t, f); !q.Origin.IsZero() {
			t.Fatalf("version 3: %+v", q)
		}
	}
}

// TestInterleave_AutoWaitsUntilTheServerShowsIt: four answers with the stamps of a server that can.
func TestInterleave_AutoWaitsUntilTheServerShowsIt(t *testing.T) {
	w, f := plain(Config{Interleaved: InterleaveAuto}), newFigure()
	for i := range 20 {
		o, q, _ := w.exchange(t, f)
		if q.Origin.IsZero() != (i < shownAfter) || o.Measurement.Interleaved != (i >= shownAfter) {
			t.Fatalf("exchange %d: %+v", i, q)
		}
	}
}

// TestInterleave_AutoLeavesServersFarAwayAlone: their answers come a little later than two milliseconds.
func TestInterleave_AutoLeavesServersFarAwayAlone(t *testing.T) {
	w, f := plain(Config{Interleaved: InterleaveAuto}), newFigure()
	for range 20 {
		_, q := w.poll(t)
		if !q.Origin.IsZero() {
			t.Fatalf("%+v", q)
		}
		h, left := f.answer(q, w.at().Add(oneWay))
		w.now = w.now.Add(left.Sub(w.at()) + oneWay + 300*time.Microsecond)
		if o := w.Receive(w.now, h.AppendTo(nil), server, ntp.Stamp{Time: w.at()}); o.Verdict != Accepted {
			t.Fatal(o.Verdict)
		}
	}
}

// TestInterleave_AutoLeavesOtherServersAlone: one whose stamps are as chance has them is asked in vain now and then, loses nothing
// by it, and gives a sample each time.
func TestInterleave_AutoLeavesOtherServersAlone(t *testing.T) {
	w := plain(Config{Interleaved: InterleaveAuto})
	rnd := rand.New(rand.NewPCG(1, 3))
	asked := 0
	const polls = 20000
	for range polls {
		_, q := w.poll(t)
		if !q.Origin.IsZero() {
			asked++
		}
		h := w.reply(q)
		h.Receive = w.at() ^ ntp.Timestamp(rnd.Uint64()&1)
		h.Transmit = w.at().Add(9*time.Millisecond) ^ ntp.Timestamp(rnd.Uint64()&1)
		if o := w.receive(h.AppendTo(nil)); o.Verdict != Accepted || !o.Sample {
			t.Fatal(o.Verdict, o.Sample)
		}
	}
	if asked > polls/30 {
		t.Errorf("%d of %d requests were interleaved", asked, polls)
	}
}

// TestInterleave_AutoGivesUpForAWhile: a server with the stamps of one that can, which never does.
func TestInterleave_AutoGivesUpForAWhile(t *testing.T) {
	w := plain(Config{Interleaved: InterleaveAuto})
	asked := 0
	const polls = 2000
	for range polls {
		_, q := w.poll(t)
		if !q.Origin.IsZero() {
			asked++
		}
		h := w.reply(q)
		h.Receive, h.Transmit = w.at()|1, w.at().Add(9*time.Millisecond)&^1
		if o := w.receive(h.AppendTo(nil)); o.Verdict != Accepted || !o.Sample {
			t.Fatal(o.Verdict, o.Sample)
		}
	}
	if asked < vainTries || asked > polls/8 {
		t.Errorf("%d of %d requests were interleaved", asked, polls)
	}
}

// TestIL03_ServerThatForgot: whatever a server that was started anew answers is used at once, and two polls later all is as before.
func TestIL03_ServerThatForgot(t *testing.T) {
	w, f := plain(Config{Interleaved: InterleaveAlways}), newFigure()
	for range 4 {
		w.exchange(t, f)
	}
	clear(f.left)
	o, _, _ := w.exchange(t, f)
	if o.Verdict != Accepted || !o.Sample || o.Measurement.Interleaved {
		t.Fatalf("%+v", o)
	}
	for i := range 2 {
		if o, _, _ = w.exchange(t, f); !o.Measurement.Interleaved || o.Sample != (i > 0) {
			t.Fatalf("poll %d: %+v", i+1, o)
		}
	}
}

// TestInterleave_KissesEndIt: after RATE, DENY and new keys the next request is basic; the reply to the open one still counts.
func TestInterleave_KissesEndIt(t *testing.T) {
	for _, code := range []ntp.KissCode{ntp.KissRATE, ntp.KissDENY} {
		w, f := plain(Config{Interleaved: InterleaveAlways}), newFigure()
		for range 4 {
			w.exchange(t, f)
		}
		_, q := w.poll(t)
		h, left := f.answer(q, w.at().Add(oneWay))
		w.receive(edited(w.reply(q), func(h *ntp.Header) { h.Stratum, h.RefID, h.Leap = 0, code, ntp.LeapUnknown }))
		w.now = w.now.Add(left.Sub(w.at()) + oneWay)
		if o := w.Receive(w.now, h.AppendTo(nil), server, ntp.Stamp{Time: left.Add(oneWay)}); o.Verdict != Accepted || o.Measurement.Offset().Abs() > time.Microsecond {
			t.Fatalf("%v: the good reply after it: %+v", code, o)
		}
		w = plain(Config{Interleaved: InterleaveAlways})
		w.exchange(t, f)
		_, q = w.poll(t)
		w.receive(edited(w.reply(q), func(h *ntp.Header) { h.Stratum, h.RefID, h.Leap = 0, code, ntp.LeapUnknown }))
		w.lapse()
		if _, q = w.poll(t); !q.Origin.IsZero() || !q.Receive.IsZero() {
			t.Errorf("%v: %+v", code, q)
		}
	}
}

func TestInterleave_AnotherAddressBeginsAnew(t *testing.T) {
	w, f := plain(Config{Interleaved: InterleaveAlways}), newFigure()
	home, away := netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("198.51.100.7")
	for i, a := range []netip.Addr{home, home, home, away, away} {
		w.LeavesFrom(a)
		if _, q, _ := w.exchange(t, f); q.Origin.IsZero() != (i == 0 || i == 3) {
			t.Errorf("request %d: %+v", i, q)
		}
	}
}

// TestInterleave_AnotherPlaceBeginsAnew: the address is the same in both.
func TestInterleave_AnotherPlaceBeginsAnew(t *testing.T) {
	w, f := plain(Config{Interleaved: InterleaveAlways}), newFigure()
	for i := range 6 {
		if i == 3 {
			w.Moved()
		}
		w.LeavesFrom(netip.MustParseAddr("192.168.0.7"))
		if _, q, _ := w.exchange(t, f); q.Origin.IsZero() != (i == 0 || i == 3) {
			t.Errorf("request %d: %+v", i, q)
		}
	}
}

// TestInterleave_AStepBackBringsNobodyNear: the round trip of 5 ms in which our clock is stepped back by back looks shorter, or as
// if the answer had come before its request.
func TestInterleave_AStepBackBringsNobodyNear(t *testing.T) {
	for _, back := range []time.Duration{4 * time.Millisecond, 5 * time.Millisecond, 300 * time.Millisecond} {
		w, f := plain(Config{Interleaved: InterleaveAuto}), newFigure()
		for i := range 20 {
			epoch, step := uint64(0), time.Duration(0)
			if i > 6 {
				epoch = 1
			} else if i == 6 {
				step = -back
			}
			w.now = w.Next()
			r, err := w.Poll(w.now, ntp.Stamp{Time: w.at()}, epoch, w.rnd)
			if err != nil {
				t.Fatal(err)
			}
			q, _ := ntp.ParseHeader(r.Packet)
			if i > 7 && !q.Origin.IsZero() {
				t.Fatalf("request %d, after a step by %v: %+v", i, back, q)
			}
			h, left := f.answer(q, w.at().Add(oneWay))
			w.now = w.now.Add(left.Sub(w.at()) + oneWay + 3200*time.Microsecond)
			if o := w.Receive(w.now, h.AppendTo(nil), server, ntp.Stamp{Time: w.at().Add(step)}); o.Verdict != Accepted {
				t.Logf("request %d: %v", i, o.Verdict)
				w.lapse()
			}
		}
	}
}

// TestInterleave_EpochOfTheExchange: a step of our clock voids the exchange before it and no other.
func TestInterleave_EpochOfTheExchange(t *testing.T) {
	w, f := plain(Config{Interleaved: InterleaveAlways}), newFigure()
	for epoch := range uint64(6) {
		w.now = w.Next()
		r, err := w.Poll(w.now, ntp.Stamp{Time: w.at()}, epoch, w.rnd)
		if err != nil {
			t.Fatal(err)
		}
		q, _ := ntp.ParseHeader(r.Packet)
		h, left := f.answer(q, w.at().Add(oneWay))
		w.now = w.now.Add(left.Sub(w.at()) + oneWay)
		o := w.Receive(w.now, h.AppendTo(nil), server, ntp.Stamp{Time: left.Add(oneWay)})
		if o.Measurement.Interleaved && o.Measurement.Epoch != epoch-1 {
			t.Errorf("epoch %d in %+v", epoch, o.Measurement)
		}
	}
}

// TestInterleave_BadTimesAreRefused: what the earlier exchange may not say either.
func TestInterleave_BadTimesAreRefused(t *testing.T) {
	for want, edit := range map[Verdict]func(h *ntp.Header){
		Backward:       func(h *ntp.Header) { h.Transmit = h.Transmit.Add(-time.Second) },
		Sluggish:       func(h *ntp.Header) { h.Transmit = h.Transmit.Add(5 * time.Second) },
		Impossible:     func(h *ntp.Header) { h.Transmit = h.Transmit.Add(time.Second) },
		NoTimestamps:   func(h *ntp.Header) { h.Transmit = 0 },
		Unsynchronized: func(h *ntp.Header) { h.Leap = ntp.LeapUnknown },
	} {
		w, f := plain(Config{Interleaved: InterleaveAlways}), newFigure()
		for range 4 {
			w.exchange(t, f)
		}
		_, q := w.poll(t)
		h, _ := f.answer(q, w.at().Add(oneWay))
		w.refuse(t, want, edited(h, edit))
	}
}
