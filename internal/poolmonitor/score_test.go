package poolmonitor

import (
	"math"
	"testing"
	"time"
)

func TestOffsetStep(t *testing.T) {
	const ms = time.Millisecond
	for _, tt := range []struct {
		offset time.Duration
		want   float64
	}{
		{0, 1}, {25 * ms, 1}, {62500 * time.Microsecond, 0.75}, {100 * ms, 0.5}, {425 * ms, -0.25}, {750 * ms, -1}, {751 * ms, -2}, {3 * time.Second, -2},
	} {
		for _, sign := range []time.Duration{1, -1} {
			if got := offsetStep(sign * tt.offset); math.Abs(got-tt.want) > 1e-9 {
				t.Errorf("%v: %v, want %v", sign*tt.offset, got, tt.want)
			}
		}
	}
}

// TestSteps is the table of docs/rules/pool.md#monitor-score, from a score of 20.
func TestSteps(t *testing.T) {
	const ms = time.Millisecond
	for _, tt := range []struct {
		outcome Outcome
		offsets []time.Duration
		few     bool
		want    float64
	}{
		{Good, nil, false, 20}, {Good, []time.Duration{0, -ms}, false, 20}, {Good, []time.Duration{0, 0}, true, 19},
		{Good, []time.Duration{100 * ms, -100 * ms}, false, 19.5}, {Good, []time.Duration{0, 750 * ms}, false, 19},
		{Good, []time.Duration{-time.Second, time.Second}, false, 17}, {Good, []time.Duration{0, -3001 * ms}, false, -20},
		{NoKeys, nil, false, 14}, {NotValid, nil, false, 14}, {NoName, nil, false, 14}, {Loop, nil, false, 14}, {BadAnswer, nil, false, 14}, {Silent, nil, false, 14},
		{Denied, nil, false, -50}, {Limited, nil, false, 15}, {NAK, nil, false, 15}, {Unsynchronised, nil, false, 15}, {HighStratum, nil, false, 15},
		{Distant, nil, false, 15}, {BadPacket, nil, false, 15},
	} {
		step, limit := tt.outcome.step()
		if tt.outcome == Good {
			step, limit = goodStep(tt.offsets, tt.few)
		}
		if got := moved(20, step, limit); math.Abs(got-tt.want) > 1e-9 {
			t.Errorf("%v %v: %v, want %v", tt.outcome, tt.offsets, got, tt.want)
		}
	}
	n, score := 0, 0.0
	for ; score <= entryScore; n++ {
		score = moved(score, 1, scoreMost)
	}
	if n != 14 {
		t.Errorf("%d good probes to enter, want 14", n)
	}
	for score = 20; n < 1000; n++ {
		score = moved(score, -10, -50)
	}
	if score != scoreLeast {
		t.Errorf("least score %v", score)
	}
}

func TestNames(t *testing.T) {
	seen := map[string]bool{}
	for o := range outcomes {
		if s := o.String(); s == "" || seen[s] {
			t.Errorf("outcome %d is called %q", o, s)
		} else {
			seen[s] = true
		}
	}
	if outcomes.String() != "outcome(16)" || states.String() != "state(4)" {
		t.Errorf("%v, %v", outcomes, states)
	}
}

func TestHistory(t *testing.T) {
	var h history
	at := simStart
	if list, _ := h.list(at); list != nil {
		t.Errorf("%v", list)
	}
	h.add(at, 5.4, false)
	h.add(at.Add(time.Minute), 3.6, true).Offset = time.Second
	h.add(at.Add(time.Minute), 7, false)
	h.add(at.Add(47*time.Hour), -100, true)
	h.add(at.Add(46*time.Hour), 1, true) // the clock went back
	list, left := h.list(at.Add(47*time.Hour + 5*time.Minute))
	if len(list) != slots || left != 10*time.Minute || list[slots-1] != (Slot{Score: -100, Probes: 2, Failures: 2}) {
		t.Errorf("%d slots, %v left, last %+v", len(list), left, list[len(list)-1])
	}
	if first := list[slots-1-47*4]; first != (Slot{Score: 4, Offset: time.Second, Probes: 3, Failures: 1}) {
		t.Errorf("%+v", first)
	}
	for i, s := range list {
		if s.Probes > 0 && i != slots-1 && i != slots-1-47*4 {
			t.Errorf("slot %d: %+v", i, s)
		}
	}
	for _, jump := range []time.Duration{100 * 24 * time.Hour, -100 * 24 * time.Hour} {
		at = at.Add(jump)
		h.add(at, 1, false)
		if list, _ := h.list(at); list[slots-1].Probes != 1 || list[slots-2].Probes != 0 {
			t.Errorf("after a jump of %v: %+v", jump, list[slots-2:])
		}
	}
}
