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
		if g < 16*time.Second {
			t.Errorf("gap after the burst %v", g)
		}
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
	if quick != 7 {
		t.Errorf("%d quick gaps, want 7 between 8 requests", quick)
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
	if p := w.Status().Poll; p != 6 {
		t.Errorf("a server that was good is asked every 2^%d s", p)
	}
	w.accept(t)
	if st := w.Status(); st.Need != NeedNothing || st.Unanswered != 0 {
		t.Errorf("after a reply: %+v", st)
	}
}

// TestPollRate_NeverAnswered: only a server that once answered is asked every minute while it is silent.
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
				want = max(goneMost, w.cfg.PollMin)
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

func TestC31_OutageOfTenMinutes(t *testing.T) {
	w := plain(Config{})
	w.accept(t)
	end := w.now.Add(10 * time.Minute)
	for w.now.Before(end) {
		w.poll(t)
		w.Unsent(w.now) // the socket refuses to send
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
		if g < 16*time.Second {
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
