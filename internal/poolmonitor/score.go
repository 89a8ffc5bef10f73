package poolmonitor

import "time"

// The score of a time source in one family is a number from -100 to 20 that every probe moves:
//
//	score ← min(0.95·score + step, cap)
//
// A time source that is always right earns 1 each time and approaches 20, one that is always dead approaches -100. From 0 it
// takes 14 good probes to pass 10, where it may enter. Steps and caps are those of the public NTS pool, except that the
// distance of the clock counts without its sign (docs/rules/pool.md#monitor-score).
const (
	scoreDecay = 0.95
	scoreLeast = -100.0
	scoreMost  = 20.0
	entryScore = 10.0 // a time source that is out, or new, enters above it
)

// Where the step for an offset bends, in seconds, and beyond what it counts as a failure.
const (
	offsetFine  = 0.025
	offsetFair  = 0.100
	offsetPoor  = 0.750
	offsetWorst = 3 * time.Second
)

// step returns what an outcome other than Good moves the score by, and the most that is left of it.
func (o Outcome) step() (step, limit float64) {
	switch o {
	case Denied:
		return -10, -50
	case NoName, NoKeys, NotValid, Loop, BadAnswer, Silent:
		return -5, scoreMost
	case NotProbed, NoAddress:
		return 0, scoreMost
	}
	return -4, scoreMost
}

// goodStep is step for a good probe: the mean of what the two offsets earn, less 1 if fewer cookies came back than were
// asked for. Without a reference there are no offsets to judge, and the probe earns 1.
func goodStep(offsets []time.Duration, fewCookies bool) (step, limit float64) {
	step, limit = 1, scoreMost
	if len(offsets) > 0 {
		step = 0
		for _, o := range offsets {
			if o.Abs() > offsetWorst {
				return -4, -20
			}
			step += offsetStep(o) / float64(len(offsets))
		}
	}
	if fewCookies {
		step--
	}
	return step, limit
}

// offsetStep is what one offset earns: 1 up to 25 ms, falling to 0.5 at 100 ms and to -1 at 750 ms, and -2 beyond.
func offsetStep(offset time.Duration) float64 {
	s := offset.Abs().Seconds()
	switch {
	case s <= offsetFine:
		return 1
	case s <= offsetFair:
		return 1 - 0.5*(s-offsetFine)/(offsetFair-offsetFine)
	case s <= offsetPoor:
		return 0.5 - 1.5*(s-offsetFair)/(offsetPoor-offsetFair)
	}
	return -2
}

// moved is the score after a step.
func moved(score, step, limit float64) float64 {
	return max(min(scoreDecay*score+step, limit), scoreLeast)
}
