package realclock_test

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ntp-daemon/internal/clock/clocktest"
	"ntp-daemon/internal/suite"
)

const (
	raceEnv  = "NTPD_RACE"  // how long each of the two steers the clock, as 10m; default raceTime
	peersEnv = "NTPD_PEERS" // folder with chrony/ (scripts/peers.sh)

	raceTime = 60 * time.Second
	// longest is how long the first part of a run, which does not count, lasts at most; it is a third of shorter runs.
	longest = 2 * time.Minute
	// racePace is how often the clock is compared with the reference.
	racePace = 100 * time.Millisecond
	// raceSlack: on a busy machine a short run says little about who is better, but a clock that is many times worse is broken.
	raceSlack, raceFloor = 3, 100 * time.Microsecond
)

// Both ask every 1 s to 4 s and step beyond 10 ms; all else is the default of each.
const (
	raceOurs = `
[observability]
log-format = "console"
[[source]]
mode = "server"
address = %q
poll-interval-limits = { min = 0, max = 2 }
initial-poll-interval = 0
[synchronization]
minimum-agreeing-sources = 1
[synchronization.algorithm]
step-threshold = 0.01
`
	raceChrony = `
server %s port %d minpoll 0 maxpoll 2 iburst
makestep 0.01 -1
user root
cmdport 0
bindcmdaddress /
pidfile %s/chronyd.pid
`
)

// result is what one of them made of the clock.
type result struct {
	rms, p95, worst time.Duration
	packets         int64
	// Frequencies against the bare oscillator, s/s, over all the time in which the commanded one stood still.
	commanded, obtained float64
	steady              time.Duration // that time
}

// TestRealClock_Race lets ntp-daemon and chronyd steer this machine's clock, one after the other, after the same reference
// through the same jittery relay, and compares what they make of it: truth is CLOCK_MONOTONIC_RAW, which nobody steers.
func TestRealClock_Race(t *testing.T) {
	length := raceTime
	if text := os.Getenv(raceEnv); text != "" {
		var err error
		if length, err = time.ParseDuration(text); err != nil || length < 10*time.Second {
			t.Fatalf("%s=%q: %v", raceEnv, text, err)
		}
	}
	chronyd := filepath.Join(os.Getenv(peersEnv), "chrony/usr/sbin/chronyd")
	if _, err := os.Stat(chronyd); err != nil {
		t.Skipf("skipped: no chronyd: run scripts/peers.sh and set %s: %v", peersEnv, err)
	}
	var ours, theirs result
	done := t.Run("ntp-daemon", func(t *testing.T) {
		program := suite.Program(t, "ntp-daemon") // built before the reference starts to run away
		ours = race(t, length, func(r *relay) *suite.Proc {
			path := filepath.Join(t.TempDir(), "ntp.toml")
			suite.WriteFile(t, path, fmt.Sprintf(raceOurs, r.addr()))
			return suite.Start(t, program, "-c", path)
		})
	})
	done = t.Run("chronyd", func(t *testing.T) {
		theirs = race(t, length, func(r *relay) *suite.Proc {
			dir := t.TempDir()
			path := filepath.Join(dir, "chrony.conf")
			suite.WriteFile(t, path, fmt.Sprintf(raceChrony, r.addr().Addr(), r.addr().Port(), dir))
			return suite.Start(t, chronyd, "-d", "-f", path)
		})
	}) && done
	if !done || ours.rms == 0 || theirs.rms == 0 {
		return
	}
	t.Logf("race of %v each, chronyd/ours: rms %.2f, p95 %.2f, worst %.2f, packets %.2f", length,
		ratio(theirs.rms, ours.rms), ratio(theirs.p95, ours.p95), ratio(theirs.worst, ours.worst), float64(theirs.packets)/float64(ours.packets))
	if ours.rms > raceSlack*theirs.rms+raceFloor {
		t.Errorf("rms %v, chronyd %v", ours.rms, theirs.rms)
	}
}

func ratio(a, b time.Duration) float64 { return float64(a) / float64(b) }

// race lets one program steer the clock and looks at it.
func race(t *testing.T, length time.Duration, start func(*relay) *suite.Proc) (r result) {
	clocktest.Guard(t)
	ref := clocktest.NewReference(startOffset, startRate)
	between := newRelay(t, reference(t, ref))
	p := start(between)
	begin := time.Now()
	var errs []time.Duration
	var sum float64
	var f follower
	ticker := time.NewTicker(racePace)
	defer ticker.Stop()
	for range ticker.C {
		at := time.Since(begin)
		if !p.Running() {
			t.Fatal("the program ended")
		}
		if at < min(length/3, longest) {
			continue
		}
		e := ref.Error()
		errs = append(errs, e.Abs())
		sum += e.Seconds() * e.Seconds()
		f.look(t, e)
		if at >= length {
			break
		}
	}
	p.Stop()
	slices.Sort(errs)
	r.rms = time.Duration(math.Sqrt(sum/float64(len(errs))) * 1e9)
	r.p95, r.worst = errs[len(errs)*95/100], errs[len(errs)-1]
	r.packets = between.packets.Load()
	r.commanded, r.obtained, r.steady = f.frequencies()
	t.Logf("rms %v, p95 %v, worst %v; %d packets; frequency commanded %+.3f ppm, obtained %+.3f ppm over %.0f s, wanted %+.3f",
		r.rms, r.p95, r.worst, r.packets, r.commanded*1e6, r.obtained*1e6, r.steady.Seconds(), startRate*1e6)
	if d := math.Abs(r.commanded - r.obtained); r.steady > 5*time.Second && d > 0.5e-6 {
		t.Errorf("the kernel made %+.3f ppm of %+.3f", r.obtained*1e6, r.commanded*1e6)
	}
	return r
}

// follower compares the frequency that the kernel was told with what it makes of it, between looks that saw the same
// command.
type follower struct {
	command           float64 // of the last look
	at                time.Time
	err               time.Duration
	told, made, total float64 // s
}

// look reads the command; e is the clock's error against the reference, which runs at a known rate.
func (f *follower) look(t *testing.T, e time.Duration) {
	var tx unix.Timex
	if _, err := unix.Adjtimex(&tx); err != nil {
		t.Fatal(err)
	}
	command, now := float64(tx.Freq)/65536e6+float64(tx.Tick-10000)/10000, time.Now()
	if !f.at.IsZero() && command == f.command {
		passed := now.Sub(f.at).Seconds()
		gained := (e - f.err).Seconds()
		if math.Abs(gained) < 1e-3*passed { // else it was stepped, or the look itself was interrupted
			f.told += command * passed
			f.made += gained + startRate*passed
			f.total += passed
		}
	}
	f.command, f.at, f.err = command, now, e
}

func (f *follower) frequencies() (commanded, obtained float64, over time.Duration) {
	if f.total == 0 {
		return 0, 0, 0
	}
	return f.told / f.total, f.made / f.total, time.Duration(f.total * 1e9)
}
