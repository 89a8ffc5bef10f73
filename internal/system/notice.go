package system

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"ntp-daemon/internal/algorithm"
	"ntp-daemon/internal/logtarget"
)

const (
	// loudLines is the number of offset lines at the start that are told at Info.
	loudLines = 10
	// lineInterval is the pause between such lines after that; the ones between are Debug.
	lineInterval = time.Minute
)

// repeatAfter is how long the same subject stays at Debug after a line: a source on the edge of the consensus must not
// fill the log.
const repeatAfter = 5 * time.Minute

// logThrottle lowers the level of lines that follow each other too soon.
type logThrottle struct{ last time.Time }

func (v *logThrottle) level(now time.Time, wanted Level) Level {
	if !v.last.IsZero() && now.Sub(v.last) < repeatAfter {
		return Debug
	}
	v.last = now
	return wanted
}

func (fx *Effects) note(level Level, target, format string, args ...any) {
	fx.Notices = append(fx.Notices, Notice{Level: level, Target: target, Text: fmt.Sprintf(format, args...)})
}

// offsetLines writes one line per update in the reference suite's wording.
type offsetLines struct {
	n    int
	loud time.Time // of the last Info line
	told int       // times that a gained consensus was told
}

func (o *offsetLines) add(now time.Time, e *algorithm.Estimate, applied float64, fx *Effects) {
	level := Debug
	if o.n < loudLines || now.Sub(o.loud) >= lineInterval {
		level, o.loud = Info, now
	}
	o.n++
	fx.note(level, logtarget.Kalman, "Offset: %s+-%sms, frequency: %s+-%sppm",
		milliseconds(e.Offset.Seconds()), milliseconds(math.Sqrt(e.VarOffset)),
		ppm(e.Frequency-applied), ppm(math.Sqrt(e.VarFreq)))
}

// outOfReach tells of an oscillator that no correction can make run right.
type outOfReach struct {
	is       bool
	throttle logThrottle
}

// surelySigmas is how sure it must be that the oscillator is out of reach before the log says so.
const surelySigmas = 3

// tickUnit is what one microsecond of the kernel's tick of 10 ms makes of the clock's rate, s/s (adjtimex(8)).
const tickUnit = 1e-4

// tell writes one line when the oscillator's error is beyond limit, s/s, for all that is known, and another one only after it was below. The kernel's tick is not touched:
// it is the administrator's, and the right remedy may be another one (docs/algorithm.md, Steering).
func (o *outOfReach) tell(now time.Time, e *algorithm.Estimate, limit float64, fx *Effects) {
	doubt := float64(surelySigmas * math.Sqrt(e.VarFreq))
	switch {
	case limit-math.Abs(e.Frequency) > doubt:
		o.is = false
	case !o.is && e.Beyond > doubt:
		o.is = true
		way := "slow"
		if e.Frequency < 0 {
			way = "fast"
		}
		fx.note(o.throttle.level(now, Warn), logtarget.System, "the oscillator is out of reach: it runs %.0f ppm %s, maximum-frequency-steer is %.0f ppm; "+
			"steps keep the clock near until the kernel's tick is changed by %+.0f (adjtimex --tick) or another clock source is chosen",
			math.Abs(e.Frequency)*1e6, way, limit*1e6, e.Frequency/tickUnit)
	}
}

// milliseconds and ppm print the shortest digits that identify the number, without exponent.
func milliseconds(sec float64) string { return strconv.FormatFloat(sec*1e3, 'f', -1, 64) }
func ppm(rate float64) string         { return strconv.FormatFloat(rate*1e6, 'f', -1, 64) }

// whyNot explains a missing consensus to the operator in half a line.
func (s *System) whyNot() string {
	voters, need := s.decision.Candidates, max(s.params.Algorithm.MinimumAgreeing, 1)
	if voters < need {
		return fmt.Sprintf("%d of %d sources usable, minimum-agreeing-sources is %d", voters, max(len(s.sources), s.params.Expected), need)
	}
	return fmt.Sprintf("the %d usable sources disagree", voters)
}
