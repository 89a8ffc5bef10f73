package ctl

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"ntp-daemon/internal/observe"
	"ntp-daemon/internal/units"
)

const (
	// readingInterval is the time between two readings of the daemon.
	readingInterval = time.Second
	// steadyReadings is how many successive readings must be within the limits: one may be luck.
	steadyReadings = 3
)

// syncLimits are what wait-sync waits for beside a synchronised daemon; a negative limit is none.
type syncLimits struct {
	offset    float64 // s
	frequency float64 // s/s
}

// reading is what one snapshot says about the clock.
type reading struct {
	offset, offsetSigma       float64 // s; sigma 0 if the value is the truth
	frequency, frequencySigma float64 // s/s
	truth                     bool    // compared with the machine's clock, not estimated
}

// readingOf takes the values of a virtual clock from its truth, which is what a trial is about, and those of
// another clock from the daemon's estimate.
func readingOf(s *observe.Snapshot) reading {
	if v := s.Suite.VirtualTruth; v != nil {
		return reading{offset: v.Offset, frequency: v.Frequency, truth: true}
	}
	return reading{
		offset: s.Suite.Offset, offsetSigma: s.Suite.Uncertainty,
		frequency: s.Suite.FrequencyError, frequencySigma: s.Suite.FrequencyUncertainty,
	}
}

// unmet says why the snapshot does not satisfy the limits, empty if it does. An estimate counts together with
// its uncertainty: without it an estimate right after a correction would always be zero.
func (l syncLimits) unmet(s *observe.Snapshot) string {
	r := readingOf(s)
	worst, fastest := math.Abs(r.offset)+r.offsetSigma, math.Abs(r.frequency)+r.frequencySigma
	switch {
	case s.Pool != nil:
		return "this is the socket of nts-pool-ke, which steers no clock"
	case !s.Suite.Synchronized:
		return notSynchronised(s)
	case l.offset < 0 && l.frequency < 0:
		return ""
	case !r.truth && !s.Suite.EstimateKnown:
		return "the daemon has no estimate of its clock yet"
	case l.offset >= 0 && worst > l.offset:
		return fmt.Sprintf("offset %s is above the limit of %s", r.showOffset(), units.Seconds(l.offset))
	case l.frequency >= 0 && fastest > l.frequency:
		return fmt.Sprintf("frequency error %s is above the limit of %s", r.showFrequency(), bare(l.frequency))
	}
	return ""
}

func (r reading) showOffset() string {
	if r.truth {
		return units.Signed(r.offset)
	}
	return units.Signed(r.offset) + " ± " + units.Seconds(r.offsetSigma)
}

func (r reading) showFrequency() string {
	if r.truth {
		return ppm(r.frequency)
	}
	return ppm(r.frequency) + " ± " + bare(r.frequencySigma)
}

// notSynchronised explains an unsynchronised daemon by its sources.
func notSynchronised(s *observe.Snapshot) string {
	if s.Suite.Unserved != "" {
		return "not synchronised: " + clean(s.Suite.Unserved)
	}
	if s.Suite.Refusal != "" {
		return "the daemon refuses to steer: " + clean(s.Suite.Refusal)
	}
	text := "the daemon is " + clean(s.Suite.State)
	if s.Suite.ClockUnset {
		text = "the clock is unset, it shows a time that is past; " + text
	}
	if len(s.Sources) == 0 && len(s.Suite.Missing) == 0 {
		return text + " and has no source yet"
	}
	for i := range s.Suite.Missing {
		if i == 3 {
			text += fmt.Sprintf("; and %d more names without", len(s.Suite.Missing)-i)
			break
		}
		text += fmt.Sprintf("; source %s: %s", clean(s.Suite.Missing[i].Name), missingText(&s.Suite.Missing[i]))
	}
	for i := range s.Sources {
		r := &s.Sources[i]
		reason := r.Role
		if r.Reason != "" {
			reason += " (" + r.Reason + ")"
		}
		text += fmt.Sprintf("; source %s: %s", clean(r.Name), clean(reason))
		if i == 3 && len(s.Sources) > 5 {
			return text + fmt.Sprintf("; and %d more", len(s.Sources)-i-1)
		}
	}
	return text
}

// summary is the line of numbers that wait-sync ends with.
func summary(s *observe.Snapshot) string {
	r := readingOf(s)
	text := fmt.Sprintf("synchronised to %s at stratum %d: offset %s, frequency error %s",
		clean(s.Suite.Reference), s.System.Stratum, r.showOffset(), r.showFrequency())
	if r.truth {
		text += " (virtual clock, compared with the machine's)"
	}
	return text
}

// waitSync reads the daemon once a second until its snapshot has been within the limits for some readings in a
// row, and returns the last one. The error says what was still missing when ctx ended.
func waitSync(ctx context.Context, e *Env, path string, l syncLimits) (*observe.Snapshot, error) {
	need := steadyReadings
	if l.offset < 0 && l.frequency < 0 {
		need = 1
	}
	why := "no reading was made"
	for steady := 0; ; {
		s, err := observe.Read(ctx, path)
		switch {
		case err != nil && !ended(ctx):
			why, steady = err.Error(), 0
		case err == nil:
			if missing := l.unmet(s); missing != "" {
				why, steady = missing, 0
			} else if steady++; steady >= need {
				return s, nil
			} else {
				why = fmt.Sprintf("only %d of %d readings in a row were within the limits", steady, need)
			}
		}
		if err := e.Sleep(ctx, readingInterval); err != nil {
			if errors.Is(err, context.DeadlineExceeded) {
				return nil, fail(ExitFailed, "not synchronised in time: %s", why)
			}
			return nil, fail(ExitFailed, "interrupted: %s", why)
		}
	}
}

// ended reports whether ctx is over. The deadline of a socket, which comes from ctx, may fire before that of ctx itself.
func ended(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	return ctx.Err() != nil || ok && !time.Now().Before(deadline)
}
