package source

import (
	"testing"
	"time"

	"ntp-daemon/internal/ntp"
)

// kiss polls and answers with a kiss code; the request stays open.
func (w *association) kissReply(t testing.TB, code string) Outcome {
	t.Helper()
	_, q := w.poll(t)
	return w.receive(edited(w.reply(q), kissWith(code)))
}

func TestC14_RateDoubles(t *testing.T) {
	w := plain(Config{})
	w.accept(t)
	for want := ntp.PollExp(5); want <= 12; want++ {
		if o := w.kissReply(t, "RATE"); o.Verdict != KissRate || o.Kiss != ntp.KissRATE {
			t.Fatal(o.Verdict)
		}
		if d, least := w.Next().Sub(w.rate.last), min(want, 10).Duration(); d < least {
			t.Errorf("next poll %v after the last, want %v", d, least)
		}
		if got := w.Status().Poll; got != min(want, 10) {
			t.Errorf("poll %d, want %d", got, min(want, 10))
		}
		h := w.reply(ntp.Header{Version: 4, Transmit: w.out.origin})
		if o := w.receive(h.AppendTo(nil)); o.Verdict != Accepted { // a good reply may still follow
			t.Fatal(o.Verdict)
		}
	}
	w.Advise(w.now, ntp.Advice{Poll: 4, PollNow: true})
	if d := w.Next().Sub(w.rate.last); d < 1024*time.Second {
		t.Errorf("advice overrode RATE: next %v after the last poll", d)
	}
}

func TestC14_RateCountsOncePerRequest(t *testing.T) {
	w := plain(Config{})
	_, q := w.poll(t)
	for range 5 {
		w.receive(edited(w.reply(q), kissWith("RATE")))
	}
	if got := w.Status().Poll; got != 5 {
		t.Errorf("poll %d, want 5", got)
	}
}

func TestC14_RateEndsTheBurst(t *testing.T) {
	w := plain(Config{Burst: 4})
	w.kissReply(t, "RATE")
	if d := w.Next().Sub(w.now); d < 31*time.Second {
		t.Errorf("next in %v", d)
	}
	w.lapse()
	if d := w.Next().Sub(w.rate.last); d < 32*time.Second {
		t.Errorf("a lapse brought the next poll forward to %v", d)
	}
}

// TestC14_RateDecaysSlowly: a floor that RATE raised survives the good replies that follow at once, and is gone within an
// hour of them, from the longest interval, too.
func TestC14_RateDecaysSlowly(t *testing.T) {
	for _, rates := range []int{1, 6} {
		w := plain(Config{})
		for range rates {
			w.kissReply(t, "RATE")
		}
		high := ntp.PollExp(4 + rates)
		raised := w.now
		for w.Status().Poll > 4 {
			w.accept(t)
			since, steps := w.now.Sub(raised), high-w.Status().Poll
			if since < time.Duration(steps)*rateRelief || since > time.Hour+w.rate.min.Duration() {
				t.Fatalf("%d doublings: %d undone after %v", rates, steps, since)
			}
		}
		w.accept(t)
		if got := w.Status().Poll; got != 4 || w.rate.floor != 4 {
			t.Errorf("poll %d", got)
		}
	}
}

// However often a server said RATE, its demand is never above the ceiling, and so one step down comes eight minutes later.
func TestC14_RateDoesNotPileUp(t *testing.T) {
	w := plain(Config{PollMin: 4, PollMax: 6, PollInitial: 4})
	for range 10 {
		w.kissReply(t, "RATE")
	}
	for end := w.now.Add(rateRelief); w.now.Before(end); {
		w.accept(t)
	}
	if got := w.Status().Poll; got != 5 {
		t.Errorf("poll %d after %v of good replies, want 5", got, rateRelief)
	}
}

func TestC16_RateWithHostilePoll(t *testing.T) {
	w := plain(Config{PollMin: 4, PollMax: 6, PollInitial: 4})
	for range 5 {
		_, q := w.poll(t)
		w.receive(edited(w.reply(q), func(h *ntp.Header) { kissWith("RATE")(h); h.Poll = 127 }))
		if d := w.Next().Sub(w.now); d > 68*time.Second {
			t.Errorf("next in %v, cap is 64 s and jitter", d)
		}
	}
}

func TestC15_KissWithWrongOrigin(t *testing.T) {
	for _, code := range []string{"RATE", "DENY", "RSTR", "NTSN"} {
		w := plain(Config{})
		w.accept(t)
		_, q := w.poll(t)
		w.refuse(t, WrongOrigin, edited(w.reply(q), func(h *ntp.Header) { kissWith(code)(h); h.Origin = 1 }))
		w.refuse(t, WrongOrigin, edited(w.reply(q), func(h *ntp.Header) { kissWith(code)(h); h.Origin = 0 }))
	}
}

func TestC17_DenyNeedsThreeMoreLostPolls(t *testing.T) {
	for _, code := range []string{"DENY", "RSTR"} {
		w := plain(Config{})
		w.Advise(w.now, ntp.Advice{Poll: 10})
		w.accept(t)
		if o := w.kissReply(t, code); o.Verdict != KissDeny {
			t.Fatal(o.Verdict)
		}
		w.lapse()
		for n := 1; n <= 3; n++ {
			if need := w.Status().Need; need != NeedNothing {
				t.Fatalf("%s: %s after %d further polls", code, need, n-1)
			}
			if d := w.Next().Sub(w.rate.last); d > 17*time.Second {
				t.Fatalf("%s: poll %d comes after %v", code, n, d)
			}
			w.poll(t)
			w.lapse()
		}
		if need := w.Status().Need; need != NeedReplace {
			t.Errorf("%s: %s after 3 further polls", code, need)
		}
	}
}

// TestDenyOnPath_MinutesAtMost: whoever can write plain DENY in the server's name slows us down for minutes, however long
// it goes on, and one good reply ends it.
func TestDenyOnPath_MinutesAtMost(t *testing.T) {
	w := plain(Config{PollMax: 5, PollMin: 4, PollInitial: 4})
	w.accept(t)
	var gaps []time.Duration
	for range 20 {
		w.kissReply(t, "DENY")
		w.lapse()
		w.PollSoon(w.now)
		w.Advise(w.now, ntp.Advice{Poll: 4, PollNow: true})
		gaps = append(gaps, w.Next().Sub(w.rate.last))
	}
	for n, want := range map[int]time.Duration{3: 64 * time.Second, 4: 128 * time.Second, 5: 256 * time.Second, 6: 512 * time.Second, 19: 512 * time.Second} {
		if gaps[n] < want || gaps[n] > want*21/20 {
			t.Errorf("after %d denials the next poll comes after %v, want %v", n+1, gaps[n], want)
		}
	}
	w.poll(t)
	w.lapse() // silence is no further denial
	if st := w.Status(); st.Poll != 9 || st.Need != NeedReplace {
		t.Errorf("after silence: %+v", st)
	}
	w.accept(t)
	if st := w.Status(); st.Need != NeedNothing || st.Poll != 4 || w.Next().Sub(w.now) > 17*time.Second {
		t.Errorf("after a good reply: %+v, next in %v", st, w.Next().Sub(w.now))
	}
}

func TestC17_GoodReplyForgivesDeny(t *testing.T) {
	w := plain(Config{})
	w.accept(t)
	w.kissReply(t, "DENY")
	h := w.reply(ntp.Header{Version: 4, Transmit: w.out.origin})
	if o := w.receive(h.AppendTo(nil)); o.Verdict != Accepted { // in the same window: the DENY was forged
		t.Fatal(o.Verdict)
	}
	w.kissReply(t, "DENY")
	w.lapse()
	w.poll(t)
	w.lapse()
	w.accept(t)
	for range 3 {
		w.poll(t)
		w.lapse()
	}
	if need := w.Status().Need; need != NeedNothing {
		t.Errorf("need %s", need)
	}
}
