package poolke

import (
	"math"
	"time"

	"ntp-daemon/internal/observe"
	"ntp-daemon/internal/poolmonitor"
)

// historiesInFull is how many time sources may have every slot of their history in a snapshot; of more, several slots become
// one, so that the snapshot stays readable.
const historiesInFull = 48

// observed is what readers see of the monitor; nil if there is none.
func (m *monitor) observed(now time.Time) *observe.PoolMonitor {
	if m == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.core.Status()
	o := &observe.PoolMonitor{
		Rounds: s.Rounds, VoidRounds: s.VoidRounds, RoundAge: age(now, s.Ended), Reference: observe.ReferenceNone, ReferenceVoices: s.Reference.Voices,
		ClockOutOfRange: s.Implausible, AllOut: m.allOut.Load(), StoreErrors: m.storeErrors.Load(),
	}
	for f := range poolmonitor.Families {
		if o.Void == "" {
			o.Void = s.Void[f]
		}
	}
	switch s.Reference.Origin {
	case poolmonitor.FromSources:
		o.Reference = observe.ReferenceSources
	case poolmonitor.FromMembers:
		o.Reference = observe.ReferenceMembers
	}
	if s.Reference.Origin != poolmonitor.NoReference {
		o.ClockOffset = (m.scale.ahead() - s.Reference.Offset).Seconds()
	}
	return o
}

// age is how long ago that was; negative: never.
func age(now, then time.Time) observe.Age {
	if then.IsZero() {
		return -1
	}
	return observe.Age(max(now.Sub(then), 0).Seconds())
}

// member is what readers see of one time source.
func (m *monitor) member(id string, members int, now time.Time) *observe.MonitoredServer {
	if m == nil {
		return nil
	}
	m.mu.Lock()
	views, algorithms := m.core.Views(id, now)
	m.mu.Unlock()
	if views == nil {
		return nil
	}
	o := &observe.MonitoredServer{Algorithms: []observe.MonitorAlgorithm{}}
	for i := range views {
		o.Views = append(o.Views, viewed(&views[i], 1+members/historiesInFull, now))
	}
	for _, a := range algorithms {
		o.Algorithms = append(o.Algorithms, observe.MonitorAlgorithm{Algorithm: uint16(a.Algorithm), Usable: a.Usable, Failures: a.Failed, Reason: a.Reason})
	}
	return o
}

// verdictWords are the states in the words of the snapshot.
var verdictWords = map[poolmonitor.State]string{
	poolmonitor.Unknown: observe.VerdictUnknown, poolmonitor.Usable: observe.VerdictUsable,
	poolmonitor.Probation: observe.VerdictProbation, poolmonitor.Out: observe.VerdictOut,
}

// viewed is what readers see of one view, with so many slots of the history in one.
func viewed(v *poolmonitor.ViewStatus, merged int, now time.Time) observe.MonitorView {
	o := observe.MonitorView{
		Family: v.Family.String(), Verdict: verdictWords[v.State], Usable: v.State == poolmonitor.Unknown || v.State == poolmonitor.Usable,
		Reason: v.Reason, Score: math.Round(v.Score*100) / 100, Failures: v.Failed, Wrong: v.Wrong, Since: age(now, v.Since),
		ProbeAge: age(now, v.Probed), Outcome: v.Outcome.String(), Answered: age(now, v.Answered),
		Offset: v.Offset.Seconds(), Distance: v.Reading.Distance().Seconds(), Delay: v.Reading.Delay.Seconds(),
	}
	if v.Cause != "" {
		o.Outcome += ": " + v.Cause
	}
	h := &o.History
	h.SlotSeconds, h.End = (time.Duration(merged) * poolmonitor.SlotTime).Seconds(), v.SlotLeft.Seconds()
	h.Scores, h.Offsets, h.Probes, h.Failures = []int{}, []float64{}, []int{}, []int{}
	for i := len(v.History) % merged; i < len(v.History); i += merged {
		s := poolmonitor.Merge(v.History[i : i+merged])
		h.Scores = append(h.Scores, int(s.Score))
		h.Offsets = append(h.Offsets, float64(s.Offset.Microseconds())/1e6)
		h.Probes = append(h.Probes, s.Probes)
		h.Failures = append(h.Failures, s.Failures)
	}
	return o
}
