//go:build linux && amd64

package main

import (
	"os"
	"regexp"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// quantum is how far a frequency may move through the kernel's and the drift file's rounding, ppm.
const quantum = 2e-5 + 1e-6

// exits is row K15: what a killed and an orderly ended daemon leave behind, and what the next one makes of it.
func exits(t *trial) {
	killed(t)
	stored := ended(t)
	restarted(t, stored)
	forgotten(t)
}

// killed: the kernel keeps the last frequency, and its error bound grows by 500 ppm.
func killed(t *trial) {
	p := t.synchronised()
	written := func() (ppm float64, ok bool) {
		if s := snapshot(); s != nil {
			return s.Suite.Frequency * 1e6, true
		}
		return 0, false
	}
	var last float64
	for range 20 { // until the daemon did not steer between the last look and its death
		before, ok := written()
		if !ok || !same(before, kernelPPM()) {
			continue
		}
		last = before
		break
	}
	code := p.stop(unix.SIGKILL)
	ppm := kernelPPM()
	t.check(code == -1 && same(ppm, last) && ppm < 500 && ppm > -500, "K15_killed_frequency",
		"kernel %.5f ppm, last written %.5f ppm, code %d", ppm, last, code)
	rate := growth(t)
	t.check(rate > 450e-6 && rate < 550e-6, "K15_killed_bound_grows", "maxerror grows by %.0f ppm, the kernel's 500 wanted", rate*1e6)
}

// growth is how fast the kernel's error bound grows, s/s. It grows once a second, so the time between two growths
// counts.
func growth(t *trial) float64 {
	const seconds = 3
	bound := func() int64 {
		tx, _, err := kernel()
		t.must(err, "adjtimex")
		return tx.Maxerror
	}
	next := func(from int64) (int64, time.Duration) {
		for end := monotonic() + 3*time.Second; bound() == from && monotonic() < end; {
			time.Sleep(2 * time.Millisecond)
		}
		return bound(), monotonic()
	}
	first, begin := next(bound())
	last, end := first, begin
	for range seconds {
		last, end = next(last)
	}
	rate := float64(last-first) * 1e-6 / (end - begin).Seconds()
	t.number("K15_maxerror_growth", rate*1e6, "ppm")
	return rate
}

var storedFrequency = regexp.MustCompile(`(?m)^frequency_ppm (\S+)$`)

// drift reads the drift file.
func drift(t *trial) float64 {
	b, err := os.ReadFile(stateDir + "/drift")
	t.must(err, "read drift")
	m := storedFrequency.FindSubmatch(b)
	t.need(m != nil, "drift_file", "%q", b)
	ppm, err := strconv.ParseFloat(string(m[1]), 64)
	t.must(err, "drift")
	return ppm
}

// ended: an orderly end leaves the base frequency, which is what the drift file holds.
func ended(t *trial) (ppm float64) {
	p := t.synchronised()
	// A frequency known worse than 20 ppm is stored but not restored, so the daemon must have learnt it first.
	learnt := until(40*time.Second, func() bool {
		s := snapshot()
		return s != nil && s.Suite.EstimateKnown && s.Suite.FrequencyUncertainty < 8e-6
	})
	t.need(learnt, "K15_frequency_learnt", "within 8 ppm (one sigma)")
	code := p.stop(unix.SIGTERM)
	left := kernelPPM()
	t.check(code == 0, "K15_clean_exit_code", "%d", code)
	ppm = drift(t)
	t.check(same(left, ppm), "K15_clean_exit_frequency", "kernel %.5f ppm, drift file %.5f ppm", left, ppm)
	return ppm
}

// restarted: the stored frequency is in force before the first sample.
func restarted(t *trial, stored float64) {
	t.must(setKernelPPM(stored+100), "set frequency")
	t.must(setDelay(interfaceName, 5*time.Second), "netem") // no answer yet
	p := t.follow()
	var ppm float64
	ok := until(5*time.Second, func() bool { ppm = kernelPPM(); return same(ppm, stored) })
	t.check(ok, "K15_drift_restored", "kernel %.5f ppm, drift file %.5f ppm", ppm, stored)
	p.stop(unix.SIGTERM)
	t.must(setDelay(interfaceName, 0), "netem")
}

// forgotten: with nobody to renew it, the kernel's claim ends by itself.
func forgotten(t *trial) {
	tx := unix.Timex{Modes: unix.ADJ_MAXERROR | unix.ADJ_STATUS, Maxerror: 15_999_000}
	_, err := unix.Adjtimex(&tx)
	t.must(err, "adjtimex")
	_, state, err := kernel()
	t.must(err, "adjtimex")
	t.check(state == unix.TIME_OK, "K15_claim_still_there", "state %d", state)
	ok := until(6*time.Second, func() bool {
		tx, state, err = kernel()
		return err == nil && state == unix.TIME_ERROR && tx.Status&unix.STA_UNSYNC != 0
	})
	t.check(ok, "K15_claim_ends", "state %d, status %#x, maxerror %d us", state, tx.Status, tx.Maxerror)
}

func same(a, b float64) bool { return a-b < quantum && b-a < quantum }
