package source

import (
	"math"
	"slices"
	"testing"
	"time"

	"ntp-daemon/internal/ntp"
)

// gaps runs n good exchanges and returns the times between polls.
func gaps(t *testing.T, w *association, n int) []time.Duration {
	var out []time.Duration
	last := time.Time{}
	for range n {
		w.poll(t)
		if !last.IsZero() {
			out = append(out, w.now.Sub(last))
		}
		last = w.now
		h := w.reply(ntp.Header{Version: 4, Transmit: w.out.origin})
		w.receive(h.AppendTo(nil))
	}
	return out
}

func TestBurst_FirstRepliesWithinEightSeconds(t *testing.T) {
	w := plain(Config{Burst: 4})
	got := gaps(t, w, 6)
	var sum time.Duration
	for _, g := range got[:3] {
		sum += g
		if g < burstGap || g > burstGap*105/100 {
			t.Errorf("burst gap %v", g)
		}
	}
	if sum > 8*time.Second {
		t.Errorf("four replies took %v", sum)
	}
	for _, g := range got[3:] {
		if g < 4*time.Second {
			t.Errorf("gap after the burst %v", g)
		}
	}
}

// TestSettling: after the burst the intervals grow, and never is a request sent that a server would refuse that grants eight at
// once and one more for each 8 s. Who wants few packets is content with fewer.
func TestSettling(t *testing.T) {
	for _, c := range []struct {
		min                  ntp.PollExp
		burst, minute, to400 int
	}{{6, 4, 12, 31}, {6, 8, 15, 34}, {4, 4, 12, 33}, {4, 8, 15, 36}} {
		w := plain(Config{Burst: c.burst, PollMin: c.min, PollMax: 6, PollInitial: 6})
		at, minute, to400, granted := 0., 1, 1, 7.
		got := gaps(t, w, 60)
		for i, g := range got {
			at += g.Seconds()
			if granted = min(granted+g.Seconds()/8, 8) - 1; granted < 0 {
				t.Errorf("burst of %d: request %d after %.0f s comes too early", c.burst, i+2, at)
			}
			if at < 60 {
				minute++
			}
			if at < 400 {
				to400++
			}
		}
		if minute != c.minute || to400 != c.to400 || got[58] < 64*time.Second {
			t.Errorf("minimum %d, burst of %d: %d requests in a minute, %d in 400 s, then one each %v", c.min, c.burst, minute, to400, got[58])
		}
	}
}

// TestSettling_Minimum: requests come closer than the configured minimum in the first 400 s only, at most 16 of them in a minute
// and 40 in all, after the burst never closer than a sixteenth of it or 64 s, and not later either when the server was silent
// in between.
func TestSettling_Minimum(t *testing.T) {
	for least := ntp.MinPollExp; least <= ntp.MaxPollExp; least++ {
		for _, silence := range []int{0, 10} {
			w := plain(Config{Burst: StartBurst, PollMin: least, PollMax: ntp.MaxPollExp, PollInitial: least})
			minute, start := 0, 0
			last := w.now
			for n := range 60 {
				w.poll(t)
				if since, gap := w.now.Sub(begin), w.now.Sub(last); n > 0 && gap < least.Duration() {
					if start++; since <= time.Minute {
						minute++
					}
					if since-gap >= settlingFor || n >= StartBurst && gap < min(least.Duration()/16, 64*time.Second) {
						t.Errorf("minimum %d: request %d comes %v after the one before, %v after the first", least, n+1, gap, since)
					}
				}
				last = w.now
				if n >= 10 && n < 10+silence {
					w.lapse()
					continue
				}
				h := w.reply(ntp.Header{Version: 4, Transmit: w.out.origin})
				w.receive(h.AppendTo(nil))
			}
			if minute+1 > 16 || start+1 > 40 {
				t.Errorf("minimum %d: %d requests too early in the first minute, %d in all", least, minute, start)
			}
		}
	}
}

// TestSettling_EndsWithSilenceAndRate: who does not answer, or wants to be asked less, is not asked more often than by the limits.
func TestSettling_EndsWithSilenceAndRate(t *testing.T) {
	w := plain(Config{Burst: 4})
	gaps(t, w, 5)
	for range 2 {
		w.poll(t)
		w.lapse()
	}
	if d := w.Next().Sub(w.rate.last); d < 16*time.Second {
		t.Errorf("silent server asked after %v", d)
	}
	w.accept(t)
	if w.accept(t); w.Next().Sub(w.rate.last) > 9*time.Second {
		t.Errorf("asked after %v when it answers again", w.Next().Sub(w.rate.last))
	}
	w.kissReply(t, "RATE")
	w.Advise(w.now, ntp.Advice{Poll: 8})
	for _, d := range gaps(t, w, 40) { // also once the doubling that RATE demanded is undone
		if d < 250*time.Second {
			t.Errorf("asked after %v in spite of RATE", d)
		}
	}
	w = plain(Config{})
	if got := gaps(t, w, 3); got[0] < 16*time.Second {
		t.Errorf("without a burst: %v", got)
	}
}

// No number in the configuration makes a burst that a public server would take for an attack.
func TestBurst_IsCapped(t *testing.T) {
	w := plain(Config{Burst: 1000})
	quick := 0
	for _, g := range gaps(t, w, 30) {
		if g < 16*time.Second {
			quick++
		}
	}
	if quick != 7+settling4+settling8 {
		t.Errorf("%d quick gaps, want 7 between 8 requests and %d after them", quick, settling4+settling8)
	}
	w = plain(Config{Burst: 1000})
	n := 0
	for ; w.now.Before(begin.Add(5 * time.Minute)); n++ { // nobody answers
		w.poll(t)
		w.lapse()
	}
	if n > 16+20 {
		t.Errorf("%d requests in five minutes of silence", n)
	}
}

func TestBurst_StopsWhenNobodyAnswers(t *testing.T) {
	w := plain(Config{Burst: 4})
	n := 0
	for w.now.Before(begin.Add(time.Minute)) {
		w.poll(t)
		n++
	}
	if n < 8 || n > 12 {
		t.Errorf("%d requests in the first minute, want 8 quick ones and a few more", n)
	}
	if w.Status().Need != NeedReplace {
		t.Error("silent server is not given up")
	}
}

func TestC36_Spread(t *testing.T) {
	var waits []float64
	for seed := range 100 {
		w := plain(Config{})
		w.rnd = dice(byte(seed))
		w.accept(t)
		waits = append(waits, w.Next().Sub(begin).Seconds()/16)
	}
	lo, hi := slices.Min(waits), slices.Max(waits)
	if hi-lo < 0.02 || lo < 1.01 || hi > 1.0501 {
		t.Errorf("intervals %.4f…%.4f of the nominal one", lo, hi)
	}
	w := New(Config{Server: server, PollMin: 4, PollMax: 10, Delay: 300 * time.Millisecond}, begin)
	if d := w.Next().Sub(begin); d != 300*time.Millisecond {
		t.Errorf("first poll after %v, want the delay of the configuration", d)
	}
}

func TestPollRate_Limits(t *testing.T) {
	for _, c := range []struct {
		name             string
		min, max, init   ntp.PollExp
		advice           ntp.PollExp
		want, wantAdvice ntp.PollExp
	}{
		{"as usual", 4, 10, 4, 7, 4, 7},
		{"initial below min", 6, 10, 4, 5, 6, 6},
		{"initial above max", 4, 8, 12, 17, 8, 8},
		{"max below min", 6, 2, 6, 3, 6, 6},
		{"sub-second", -6, 3, -2, -128, -2, -6},
		{"beyond everything", -128, 127, 127, 127, 17, 17},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := plain(Config{PollMin: c.min, PollMax: c.max, PollInitial: c.init})
			if got := w.Status().Poll; got != c.want {
				t.Errorf("poll %d, want %d", got, c.want)
			}
			w.Advise(begin, ntp.Advice{Poll: c.advice})
			if got := w.Status().Poll; got != c.wantAdvice {
				t.Errorf("poll after advice %d, want %d", got, c.wantAdvice)
			}
		})
	}
}

// TestLossyPath: one unanswered poll is repeated soon, unless polls went unanswered before, too; many are in any case.
func TestLossyPath(t *testing.T) {
	for _, c := range []struct {
		history string // oldest first: . answered, x not
		want    ntp.PollExp
	}{
		{"........", 10},
		{"........x", 4},
		{".......x.x", 4},
		{"....x..x.x", 10},
		{"x..x....x.......x", 10},
		{"xx.......x.......x", 4},
		{"x.x.x...xxxxxxx", 10},
		{"x.x.x...xxxxxxxx", 4},
		{"x.x..........x", 4},
		{"........xxxx", 4},
	} {
		p := newPollRate(Config{PollMin: 4, PollMax: 10})
		p.desired = 10
		unanswered := 0
		for _, h := range c.history {
			p.polled(begin)
			if unanswered++; h == '.' {
				p.accepted(begin)
				unanswered = 0
			}
		}
		if got := p.exp(unanswered); got != c.want {
			t.Errorf("%s: poll %d, want %d", c.history, got, c.want)
		}
	}
}

func TestAdvise_ShorterIntervalPullsIn(t *testing.T) {
	w := plain(Config{})
	w.Advise(w.now, ntp.Advice{Poll: 10})
	w.accept(t)
	if d := w.Next().Sub(w.now); d < 1000*time.Second {
		t.Fatalf("next in %v", d)
	}
	w.Advise(w.now, ntp.Advice{Poll: 6})
	if d := w.Next().Sub(w.now); d < 60*time.Second || d > 70*time.Second {
		t.Errorf("next in %v, want about 64 s", d)
	}
	w.Advise(w.now, ntp.Advice{Poll: 10})
	if d := w.Next().Sub(w.now); d > 70*time.Second {
		t.Errorf("a longer interval moved the planned poll to %v", d)
	}
}

func TestAdvise_PollNow(t *testing.T) {
	w := plain(Config{})
	w.Advise(w.now, ntp.Advice{Poll: 10, PollNow: true})
	if !w.Next().Equal(begin) {
		t.Error("first poll moved")
	}
	w.accept(t)
	w.Advise(w.now, ntp.Advice{Poll: 10, PollNow: true})
	if d := w.Next().Sub(w.rate.last); d < 2*time.Second || d > 2200*time.Millisecond {
		t.Errorf("next %v after the last, want the shortest gap of 2 s", d)
	}
	w.now = w.now.Add(time.Minute)
	w.next = w.now.Add(time.Hour)
	w.Advise(w.now, ntp.Advice{Poll: 10, PollNow: true})
	if !w.Next().Equal(w.now) {
		t.Errorf("next in %v, want now", w.Next().Sub(w.now))
	}
}

// TestAdvise_Stood: the gap between two polls is the server's, whose clock went on while this machine stood still.
func TestAdvise_Stood(t *testing.T) {
	w := plain(Config{})
	w.Advise(w.now, ntp.Advice{Poll: 10, PollNow: true, Stood: time.Minute})
	if !w.Next().Equal(begin) {
		t.Error("first poll moved")
	}
	w.accept(t)
	w.Advise(w.now, ntp.Advice{Poll: 10, PollNow: true, Stood: 10 * time.Second})
	if !w.Next().Equal(w.now) {
		t.Errorf("next in %v, want now", w.Next().Sub(w.now))
	}
	w.accept(t)
	if d := w.Next().Sub(w.now); d < time.Second {
		t.Errorf("and then in %v", d)
	}
}

// TestAdvise_Urgent: when nothing is known of the clock, requests that are lost are repeated in the gap of a burst, four times;
// a reply ends that, and a server that asked for less is not asked more.
func TestAdvise_Urgent(t *testing.T) {
	w := plain(Config{})
	w.accept(t)
	w.now = w.now.Add(time.Minute)
	w.Advise(w.now, ntp.Advice{Poll: 6, PollNow: true, Urgent: true})
	for n := range urgentTries + 1 {
		w.poll(t)
		d := w.Next().Sub(w.now)
		if quick := d < 3*time.Second; quick != (n < urgentTries-1) {
			t.Errorf("request %d: the next one in %v", n, d)
		}
		w.lapse()
	}
	w = plain(Config{})
	w.accept(t)
	w.now = w.now.Add(time.Minute)
	w.Advise(w.now, ntp.Advice{Poll: 6, PollNow: true, Urgent: true})
	w.accept(t)
	if d := w.Next().Sub(w.now); d < 3*time.Second {
		t.Errorf("after a reply in %v", d)
	}
}

// TestPollAnew: when the network has returned, what went unanswered is asked again at once; after a good reply the gap is kept.
func TestPollAnew(t *testing.T) {
	w := plain(Config{})
	w.accept(t)
	w.PollAnew(w.now)
	if d := w.Next().Sub(w.now); d < 2*time.Second {
		t.Errorf("answered, and asked again in %v", d)
	}
	w.now = w.now.Add(time.Minute)
	w.poll(t)
	w.Lapse(w.now)
	w.PollAnew(w.now)
	if !w.Next().Equal(w.now) {
		t.Errorf("next in %v, want now", w.Next().Sub(w.now))
	}
}

func TestPollRate_LostRepliesAreRepeatedQuickly(t *testing.T) {
	w := plain(Config{})
	w.Advise(w.now, ntp.Advice{Poll: 10})
	w.accept(t)
	for n := 1; n <= unreachableAfter; n++ {
		w.poll(t)
		w.lapse()
		if d := w.Next().Sub(w.now); n < unreachableAfter && d > 17*time.Second {
			t.Fatalf("after %d lost polls the next is in %v", n, d)
		}
		if need := w.Status().Need; (need == NeedReplace) != (n == unreachableAfter) {
			t.Fatalf("after %d lost polls the need is %s", n, need)
		}
	}
	for range 200 {
		w.poll(t)
		w.lapse()
	}
	if p := w.Status().Poll; p != goneMost+1 {
		t.Errorf("a server that was good is asked every 2^%d s", p)
	}
	w.accept(t)
	if st := w.Status(); st.Need != NeedNothing || st.Unanswered != 0 {
		t.Errorf("after a reply: %+v", st)
	}
}

// TestPollRate_NeverAnswered: only a server that once answered is asked every two minutes while it is silent, if that is wanted at all.
func TestPollRate_NeverAnswered(t *testing.T) {
	for _, c := range []struct {
		c    Config
		want ntp.PollExp
	}{{Config{}, 10}, {Config{PollMin: 7, PollMax: 12, PollInitial: 7}, 12}} {
		for _, good := range []bool{false, true} {
			w := plain(c.c)
			want := c.want
			if good {
				w.accept(t)
				if want = goneMost + 1; w.cfg.PollMin >= sparing {
					want = w.cfg.PollMax
				}
			}
			for range 200 {
				w.poll(t)
				w.lapse()
			}
			if p := w.Status().Poll; p != want {
				t.Errorf("good before: %v; asked every 2^%d s, want 2^%d s", good, p, want)
			}
		}
	}
}

// TestSilence: how often a server that was good is asked while it is silent, by the unanswered polls.
func TestSilence(t *testing.T) {
	for _, c := range []struct {
		name     string
		min, max ntp.PollExp
		urged    bool
		want     map[int]ntp.PollExp
	}{
		{"default", 4, 10, false, map[int]ntp.PollExp{1: 4, 8: 4, 11: 4, 12: 5, 16: 6, 64: 6, 65: 7, 1000: 7}},
		{"default, clock unknown", 4, 10, true, map[int]ntp.PollExp{8: 4, 16: 6, 65: 6, 1000: 6}},
		{"short maximum", 4, 6, false, map[int]ntp.PollExp{8: 4, 65: 6, 1000: 6}},
		{"sparing", 6, 10, false, map[int]ntp.PollExp{1: 6, 8: 6, 9: 7, 10: 8, 11: 9, 12: 10, 1000: 10}},
		{"sparing, clock unknown", 6, 10, true, map[int]ntp.PollExp{8: 6, 12: 6, 65: 6, 1000: 6}},
		{"one interval", 6, 6, false, map[int]ntp.PollExp{8: 6, 12: 6, 1000: 6}},
	} {
		p := newPollRate(Config{PollMin: c.min, PollMax: c.max})
		p.accepted(begin)
		if c.urged {
			p.urge()
		}
		for unanswered, want := range c.want {
			if got := p.exp(unanswered); got != want {
				t.Errorf("%s: after %d unanswered polls every 2^%d s, want 2^%d s", c.name, unanswered, got, want)
			}
		}
		p.accepted(begin)
		if got := p.gone(1000); c.urged && got == goneMost {
			t.Errorf("%s: the clock is known, and a silent server asked every 2^%d s", c.name, got)
		}
	}
}

func TestC31_OutageOfTenMinutes(t *testing.T) {
	w := plain(Config{})
	w.accept(t)
	end := w.now.Add(10 * time.Minute)
	for w.now.Before(end) {
		w.poll(t)
		w.Unsent(w.now, false) // the socket refuses to send
	}
	if d := w.Next().Sub(w.now); d > 17*time.Second {
		t.Errorf("next poll after %v", d)
	}
	if st := w.Status(); st.Reach != 0 || st.Unanswered < 30 || st.Need != NeedReplace {
		t.Errorf("%+v", st)
	}
	for range 40 {
		w.poll(t)
		w.lapse() // now it is the server that is silent
	}
	if p := w.Status().Poll; p != goneMost {
		t.Errorf("a silent server is asked every 2^%d s", p)
	}
}

// TestL05_BurstAfterALateStart: a server that can be reached only a minute after the start still gets its burst, so that
// three samples do not take three long intervals.
func TestL05_BurstAfterALateStart(t *testing.T) {
	w := plain(Config{Burst: 4})
	for w.now.Before(begin.Add(time.Minute)) {
		w.poll(t)
		w.lapse()
	}
	w.accept(t)
	first := w.now
	w.accept(t)
	got := gaps(t, w, 6)
	if d := w.now.Sub(first) - got[1] - got[2] - got[3] - got[4]; d > 7*time.Second {
		t.Errorf("%v until three more replies", d)
	}
	for _, g := range got[2:] {
		if g < 4*time.Second {
			t.Errorf("the burst does not end: %v", got)
		}
	}
}

func TestReach_Register(t *testing.T) {
	w := plain(Config{})
	for _, c := range []struct {
		good bool
		want uint8
	}{{true, 0b1}, {true, 0b11}, {false, 0b110}, {true, 0b1101}, {false, 0b11010}} {
		if c.good {
			w.accept(t)
		} else {
			w.poll(t)
			w.lapse()
		}
		if got := w.Status().Reach; got != c.want {
			t.Fatalf("reach %b, want %b", got, c.want)
		}
	}
}

// C32: a server that answered once is given up with the eighth lost poll in a row, not before.
func TestC32_EightLostPolls(t *testing.T) {
	w := plain(Config{})
	w.accept(t)
	for n := 1; n <= 8; n++ {
		w.poll(t)
		w.lapse()
		if need := w.Status().Need; (need == NeedReplace) != (n == 8) {
			t.Errorf("after %d lost polls: %s", n, need)
		}
	}
}

func TestStillborn_ThreePollsWithoutBurst(t *testing.T) {
	w := plain(Config{})
	for n := 1; n <= 3; n++ {
		w.poll(t)
		w.lapse()
		if need := w.Status().Need; (need == NeedReplace) != (n == 3) {
			t.Errorf("after %d polls: %s", n, need)
		}
	}
}

func TestStretch_Bounds(t *testing.T) {
	for _, j := range []uint32{0, 1, math.MaxUint32} {
		p := pollRate{jitter: j}
		if d := p.jittered(time.Second); d < 1010*time.Millisecond || d > 1050*time.Millisecond {
			t.Errorf("jitter %d: %v", j, d)
		}
	}
}
