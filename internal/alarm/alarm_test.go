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

// hastyBell rings only when the test says so, and notes what it was set to.
type hastyBell struct{ times []time.Duration }

func (b *hastyBell) set(d time.Duration) { b.times = append(b.times, d) }
func (b *hastyBell) silence()            {}
func (b *hastyBell) close()              {}

// TestAlarm_HastyBell: a bell that rings too early is set again for what is left, and one that rings twice runs nothing twice.
func TestAlarm_HastyBell(t *testing.T) {
	bell, ran := &hastyBell{}, 0
	a := &Alarm{bell: bell}
	a.Set(time.Hour, func() { ran++ })
	a.ring()
	if n := len(bell.times); ran != 0 || n != 2 || bell.times[1] <= 0 || bell.times[1] > time.Hour {
		t.Fatalf("ran %d times, the bell was set to %v", ran, bell.times)
	}
	a.due = time.Now()
	a.ring()
	a.ring()
	if ran != 1 || len(bell.times) != 2 {
		t.Errorf("ran %d times, the bell was set to %v", ran, bell.times)
	}
}
