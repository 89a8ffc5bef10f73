//go:build linux && amd64

package main

import "time"

const (
	// away is how long the machine stands still, long against every limit below.
	away = 10 * time.Second
	// returned is the limit after the return of the network, when the reference answers.
	returned = 500 * time.Millisecond
)

// pausedConfig polls at the default intervals, 16 s and more: whoever waits for the next poll is late.
const pausedConfig = clientHead + serverAddress + "\"\n" + oneAgrees

// paused is a machine that the host stops and lets go on: its clocks stood still, and nothing in them shows it. The daemon
// must notice within a second, and put the clock right with one step.
func paused(t *trial) { t.stoodStill("pause", "K12_pause", noticeLimit+returned) }

// restored is a machine that is saved in a file and goes on from there in another process. Its link asks to be announced, so
// that nothing has to wait for a second to pass; but the new process has to translate every instruction of the guest anew, which is
// why its limit is half as long again.
func restored(t *trial) { t.stoodStill("restore", "K12_restore", returned+returned/2) }

// restoredUnplugged is the same without a network, which returns later.
func restoredUnplugged(t *trial) {
	t.stoodStill("restore-unplugged", "K12_restore_unplugged", returned)
}

// stoodStill has the host stop the machine and measures, from the host's word on, how long the clock stays wrong.
func (t *trial) stoodStill(what, name string, limit time.Duration) {
	p := t.settle(t.run(pausedConfig))
	time.Sleep(3 * time.Second) // or the burst of the start would poll in any case
	mark := p.mark()
	begin := t.askHost(what, away)
	var right time.Duration
	var offset time.Duration
	ok := until(time.Minute, func() bool {
		o, _, err := askOnce()
		offset = o
		if err == nil && o.Abs() < 10*tolerance {
			right = monotonic() - begin
			return true
		}
		return false
	})
	if lines := p.find(mark, `stood still`); t.check(len(lines) == 1, name+"_noticed", "%d lines: %s", len(lines), texts(lines)) {
		noticed := lines[0].at - begin // below zero when the machine went on before its network did
		t.number(name+"_noticed", noticed.Seconds()*1e3, "ms")
		t.check(noticed <= noticeLimit, name+"_noticed_in_time", "%v after the return, limit %v", noticed, noticeLimit)
	}
	t.number(name+"_right_again", right.Seconds()*1e3, "ms")
	t.check(ok && right < limit, name+"_right_again", "offset %v, %v after the return, limit %v", offset, right, limit)
	_, offset, ok = settled(begin, 40*time.Second)
	jumps := p.find(mark, `Jumped offset by`)
	t.check(ok && len(jumps) == 1, name+"_one_step", "offset %v, %d steps: %s", offset, len(jumps), texts(jumps))
	if s := snapshot(); s != nil {
		ppm, sigma := (s.Suite.Frequency-s.Suite.FrequencyError)*1e6, s.Suite.FrequencyUncertainty*1e6
		t.check(max(ppm, -ppm) < 20+4*sigma, name+"_frequency_kept", "%.3f ppm, one sigma is %.3f ppm", ppm, sigma)
	}
}
