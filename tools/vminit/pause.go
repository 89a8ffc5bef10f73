//go:build linux && amd64

package main

import (
	"time"

	"github.com/beevik/ntp"
	"golang.org/x/sys/unix"
)

const (
	// away is how long the machine stands still, long against every limit below.
	away = 10 * time.Second
	// returned is the limit after the return of the network, when the reference answers.
	returned = 500 * time.Millisecond
)

// pausedConfig polls at the default intervals, 16 s and more: whoever waits for the next poll is late.
const pausedConfig = clientHead + serverAddress + "\"\n" + oneAgrees

// servingConfig serves what it follows, to this machine only.
const servingConfig = pausedConfig + "[[server]]\nlisten = \"127.0.0.1:123\"\n"

const (
	// silence is how long nobody answers a restored machine: longer than a burst, shorter than that and the poll interval after it.
	silence = 12 * time.Second
	// burstMost is how many requests may go out meanwhile: four, two seconds apart, and those that the link's announcements bring,
	// together no more than what public servers take for one burst.
	burstMost = 8
	// burstOver is when the last of them has gone out, after the standstill was noticed.
	burstOver = 7 * time.Second
	// nextPoll is when the silent reference is asked again at the latest, after the burst.
	nextPoll = 17 * time.Second
)

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
	t.checkNoticed(p, name, mark, begin)
	t.number(name+"_right_again", right.Seconds()*1e3, "ms")
	t.check(ok && right < limit, name+"_right_again", "offset %v, %v after the return, limit %v", offset, right, limit)
	t.checkOneStep(p, name, mark, begin)
}

// checkNoticed checks that the log says so, once, and soon after the return at begin. It returns when, at the latest.
func (t *trial) checkNoticed(p *program, name string, mark int, begin time.Duration) (at time.Duration) {
	lines := p.find(mark, `stood still`)
	if t.check(len(lines) == 1, name+"_noticed", "%d lines: %s", len(lines), texts(lines)) {
		noticed := lines[0].at - begin // below zero when the machine went on before its network did
		t.number(name+"_noticed", noticed.Seconds()*1e3, "ms")
		t.check(noticed <= noticeLimit, name+"_noticed_in_time", "%v after the return, limit %v", noticed, noticeLimit)
		return max(begin, lines[0].at)
	}
	return begin
}

// checkOneStep checks that the clock was put right by one step, and that nobody took the standstill for an error of the frequency.
func (t *trial) checkOneStep(p *program, name string, mark int, begin time.Duration) {
	_, offset, ok := settled(begin, 40*time.Second)
	jumps := p.find(mark, `Jumped offset by`)
	t.check(ok && len(jumps) == 1, name+"_one_step", "offset %v, %d steps: %s", offset, len(jumps), texts(jumps))
	if s := snapshot(); s != nil {
		ppm, sigma := (s.Suite.Frequency-s.Suite.FrequencyError)*1e6, s.Suite.FrequencyUncertainty*1e6
		t.check(max(ppm, -ppm) < 20+4*sigma, name+"_frequency_kept", "%.3f ppm, one sigma is %.3f ppm", ppm, sigma)
	}
}

// restoredSilent is a machine that is restored while its reference does not answer, though the network is there. It must ask for a
// burst and no more, call no time good, its own neither, and be right with one step when the reference is there again.
func restoredSilent(t *trial) {
	const name = "K12_restore_silent"
	p := t.settle(t.run(servingConfig))
	wire := t.watchRequests()
	time.Sleep(3 * time.Second) // or the burst of the start would poll in any case
	err := served()
	t.need(err == nil, name+"_served_before", "%v", err)
	t.must(tellServer(silent), "silence the server")
	t.atEnd(func() { t.guard("server speaks", func() error { return tellServer(speaking) }) })
	mark := p.mark()
	begin := t.askHost("restore", away)
	until(3*noticeLimit, func() bool { return len(p.find(mark, `stood still`)) > 0 })
	noticed := t.checkNoticed(p, name, mark, begin)
	usable, looks := 0, 0
	for monotonic() < begin+silence {
		if looks++; served() == nil {
			usable++
		}
		time.Sleep(200 * time.Millisecond)
	}
	t.check(looks > 3 && usable == 0, name+"_not_served", "%d of %d answers with a usable time", usable, looks)
	t.checkUnsynchronised(name)
	jumps := p.find(mark, `Jumped offset by`)
	t.check(len(jumps) == 0, name+"_clock_left_alone", "%d steps: %s", len(jumps), texts(jumps))
	t.checkBurst(name, begin, noticed, wire.between(begin, begin+silence))
	t.must(tellServer(speaking), "let the server speak")
	t.checkRightAgain(p, name, mark, wire)
	t.checkOneStep(p, name, mark, begin)
	err = served()
	t.check(err == nil, name+"_served_again", "%v", err)
}

// served is nil if this machine's own server tells a time that a client would follow, or else why not.
func served() error {
	r, err := ntp.QueryWithOptions("127.0.0.1", ntp.QueryOptions{Timeout: time.Second})
	if err != nil {
		return err
	}
	return r.Validate()
}

// checkUnsynchronised checks what the rest of the machine is told while nothing is known of the clock.
func (t *trial) checkUnsynchronised(name string) {
	if s := snapshot(); t.check(s != nil, name+"_status", "a snapshot") {
		t.check(!s.Suite.Synchronized, name+"_status_unsynchronised", "state %s, root dispersion %v s", s.Suite.State, s.Suite.RootDispersion)
	}
	tx, state, err := kernel()
	t.check(err == nil && state == unix.TIME_ERROR && tx.Status&unix.STA_UNSYNC != 0, name+"_kernel_told",
		"state %d, status %#x, maxerror %d us, %v", state, tx.Status, tx.Maxerror, err)
}

// checkBurst checks that the requests of the silence are those of one burst: enough of them to be one, no flood, and then none.
func (t *trial) checkBurst(name string, begin, noticed time.Duration, sent []time.Duration) {
	var at []time.Duration
	late := 0
	for _, s := range sent {
		at = append(at, (s - begin).Round(time.Millisecond))
		if s-noticed > burstOver {
			late++
		}
	}
	t.number(name+"_requests", float64(len(sent)), "requests")
	t.check(len(sent) >= 2 && len(sent) <= burstMost && late == 0, name+"_one_burst", "%d requests, after %v", len(sent), at)
}

// checkRightAgain checks that the first answer puts the clock right: the next poll comes in time and the step with its answer.
func (t *trial) checkRightAgain(p *program, name string, mark int, wire *requests) {
	spoke := monotonic()
	stepped := until(nextPoll+returned, func() bool { return len(p.find(mark, `Jumped offset by`)) > 0 })
	if !t.check(stepped, name+"_right_again", "no step in %v", nextPoll+returned) {
		return
	}
	at := p.find(mark, `Jumped offset by`)[0].at
	sent := wire.between(spoke-silence, at)
	took := at - sent[len(sent)-1]
	t.number(name+"_right_again", took.Seconds()*1e3, "ms")
	t.number(name+"_asked_again", (sent[len(sent)-1] - spoke).Seconds(), "s")
	offset, _, err := measure()
	t.check(took < returned && err == nil && offset.Abs() < 10*tolerance, name+"_right_with_the_answer",
		"offset %v, the step %v after the request that was answered, limit %v, %v", offset, took, returned, err)
}
