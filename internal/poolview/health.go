package poolview

import (
	"fmt"
	"slices"
	"time"

	"ntp-daemon/internal/observe"
	"ntp-daemon/internal/units"
)

// Tone says how good a state is, for colours and marks.
type Tone string

// The tones.
const (
	Good    Tone = "good"    // as it should be
	Notice  Tone = "notice"  // works, and is worth a look
	Bad     Tone = "bad"     // does not work
	Neutral Tone = "neutral" // as configured, neither good nor bad
)

// Health is how a time source is at one moment.
type Health struct {
	Word      string // one or two words: up, out, left alone, …
	Tone      Tone
	HandedOut bool   // users get it now, at least those of one address family, while others are there
	Why       string // a clause that says what is special, empty if nothing is
}

// HealthOf judges a time source. Of what can keep it from being handed out the first in this order counts: the breaker, the
// configuration, the monitor. What is worth a look without that comes after.
func HealthOf(s *observe.PoolServer) Health {
	switch {
	case s.Breaker == observe.BreakerOpen:
		return Health{"left alone", Bad, false, "failed " + row(s.Failures) + ", tried again " + soon(s.OpenFor)}
	case s.Weight == 0:
		return Health{"not drawn", Neutral, false, "weight 0: only monitors that name it get it"}
	case len(s.Families) == 0:
		return Health{"not drawn", Neutral, false, "ipv4 and ipv6 are both false"}
	}
	if h, decided := monitorHealth(s); decided {
		return h
	}
	switch {
	case s.Breaker == observe.BreakerTrial:
		return Health{"on trial", Notice, true, "was left alone, one more failure and it is again"}
	case s.Failures > 0:
		return Health{"up", Notice, true, "failed " + row(s.Failures)}
	case s.Monitored == nil && s.Dialect == "":
		return Health{"unproven", Notice, true, "nobody has been sent there yet"}
	}
	return Health{"up", Good, true, ""}
}

// HandedOut is how many time sources users get now, and how many the configuration means them to get.
func HandedOut(p *observe.Pool) (now, wanted int) {
	for i := range p.Servers {
		h := HealthOf(&p.Servers[i])
		if h.HandedOut {
			now++
		}
		if h.Tone != Neutral {
			wanted++
		}
	}
	return now, wanted
}

// monitorHealth is the monitor's part of HealthOf, of the families whose users the time source may get; decided is false where
// the monitor has no objection.
func monitorHealth(s *observe.PoolServer) (h Health, decided bool) {
	views := Views(s)
	if len(views) == 0 {
		return h, false
	}
	var usable, unusable []*observe.MonitorView
	unknown := 0
	for _, v := range views {
		if v.Usable {
			usable = append(usable, v)
		} else {
			unusable = append(unusable, v)
		}
		if v.Verdict == observe.VerdictUnknown {
			unknown++
		}
	}
	switch {
	case len(usable) == 0:
		word := "out"
		if !slices.ContainsFunc(unusable, func(v *observe.MonitorView) bool { return v.Verdict == observe.VerdictOut }) {
			word = "on probation"
		}
		return Health{word, Bad, false, unusable[0].Reason}, true
	case len(unusable) > 0:
		tone := Good
		if unusable[0].Verdict == observe.VerdictOut {
			tone = Notice
		}
		return Health{FamilyName(usable[0].Family) + " only", tone, true, FamilyName(unusable[0].Family) + ": " + unusable[0].Reason}, true
	case unknown == len(views) && s.Breaker == observe.BreakerClosed && s.Failures == 0:
		return Health{"unproven", Notice, true, "not probed often enough yet"}, true
	}
	return h, false
}

// Views are the monitor's views of a time source for the families whose users it may get.
func Views(s *observe.PoolServer) (views []*observe.MonitorView) {
	if s.Monitored == nil {
		return nil
	}
	for i := range s.Monitored.Views {
		if v := &s.Monitored.Views[i]; slices.Contains(s.Families, v.Family) {
			views = append(views, v)
		}
	}
	return views
}

// Score is the score that decides most: the best of the families whose users the time source may get. ok is false without
// monitor.
func Score(s *observe.PoolServer) (best *observe.MonitorView, ok bool) {
	for _, v := range Views(s) {
		if best == nil || v.Score > best.Score {
			best = v
		}
	}
	return best, best != nil
}

// FamilyName is how people write an address family.
func FamilyName(family string) string {
	switch family {
	case "ipv4":
		return "IPv4"
	case "ipv6":
		return "IPv6"
	}
	return family
}

// times is once, twice, 3 times.
func times(n int) string {
	switch n {
	case 1:
		return "once"
	case 2:
		return "twice"
	}
	return fmt.Sprintf("%d times", n)
}

// row is once, twice in a row, 3 times in a row.
func row(n int) string {
	if n == 1 {
		return times(n)
	}
	return times(n) + " in a row"
}

// soon is when something happens that many seconds from now.
func soon(seconds float64) string {
	if seconds < 1 {
		return "now"
	}
	return "in " + span(seconds)
}

// span is a length of time given in seconds.
func span(seconds float64) string { return units.Span(time.Duration(seconds * 1e9)) }
