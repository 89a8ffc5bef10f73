package alarm

import (
	"sync/atomic"
	"testing"
	"time"
)

// alarms are both kinds.
func alarms(t *testing.T) map[string]*Alarm {
	fallback := &Alarm{}
	fallback.bell = newRuntimeBell(fallback.ring)
	m := map[string]*Alarm{"system": New(), "runtime": fallback}
	for _, a := range m {
		t.Cleanup(a.Close)
	}
	return m
}

// TestAlarm: what was set runs once, not before its time, and again when it is set again.
func TestAlarm(t *testing.T) {
	for name, a := range alarms(t) {
		t.Run(name, func(t *testing.T) {
			for _, d := range []time.Duration{-time.Second, 0, time.Millisecond, 20 * time.Millisecond} {
				rang := make(chan time.Time, 2)
				began := time.Now()
				a.Set(d, func() { rang <- time.Now() })
				if took := (<-rang).Sub(began); took < d {
					t.Errorf("%v after %v", took, d)
				}
				if len(rang) != 0 {
					t.Error("twice")
				}
			}
		})
	}
}

// TestAlarm_PutOff: the last setting counts, whether it is later or earlier, and nothing runs that was replaced.
func TestAlarm_PutOff(t *testing.T) {
	for name, a := range alarms(t) {
		t.Run(name, func(t *testing.T) {
			var old atomic.Int32
			rang := make(chan struct{})
			a.Set(time.Hour, func() { old.Add(1) })
			a.Set(time.Millisecond, func() { close(rang) })
			<-rang
			again := make(chan struct{})
			a.Set(time.Millisecond, func() { old.Add(1) })
			a.Set(30*time.Millisecond, func() { close(again) })
			<-again
			if n := old.Load(); n != 0 {
				t.Errorf("%d that were replaced have run", n)
			}
		})
	}
}

// TestAlarm_Stopped: a ring that was under way when the alarm was stopped or put off runs nothing before its time.
func TestAlarm_Stopped(t *testing.T) {
	for name, a := range alarms(t) {
		t.Run(name, func(t *testing.T) {
			ran := make(chan struct{}, 4)
			a.Set(time.Hour, func() { ran <- struct{}{} })
			a.ring()
			a.mu.Lock()
			a.due = time.Now() // as if it rang right now
			a.mu.Unlock()
			a.Stop()
			a.ring()
			if len(ran) != 0 {
				t.Error("it ran")
			}
			a.Set(0, func() { ran <- struct{}{} })
			<-ran
		})
	}
}
