//go:build linux && amd64

package main

import (
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// leftovers is row K01: what another program left acting on the clock is put right within a second.
func leftovers(t *trial) {
	old := unix.Timex{
		Modes: unix.ADJ_FREQUENCY | unix.ADJ_TICK | unix.ADJ_STATUS | unix.ADJ_OFFSET | unix.ADJ_NANO,
		Freq:  500 << 16, Tick: 10100, Status: unix.STA_PLL | unix.STA_FREQHOLD | unix.STA_INS, Offset: 300e6,
	}
	_, err := unix.Adjtimex(&old)
	t.must(err, "adjtimex")
	const dirt = unix.STA_PLL | unix.STA_FLL | unix.STA_FREQHOLD | unix.STA_INS | unix.STA_DEL
	begin := monotonic()
	p := t.follow()
	var tx unix.Timex
	clean := until(5*time.Second, func() bool {
		tx, _, err = kernel()
		return err == nil && tx.Tick == 10000 && tx.Status&dirt == 0 && tx.Offset == 0
	})
	took := monotonic() - begin
	t.check(clean, "K01_clean", "tick %d, status %#x, offset %d ns, after %v", tx.Tick, tx.Status, tx.Offset, took)
	p.stop(unix.SIGTERM)
	lines := p.find(0, `(?i)left|normalis`)
	t.check(len(lines) == 1, "K01_logged_once", "%d lines: %s", len(lines), texts(lines))
}

func texts(lines []line) string {
	var all []string
	for _, l := range lines {
		all = append(all, l.text)
	}
	return strings.Join(all, " // ")
}

// synchronise starts with a clock that is 30 years behind, as without a battery (first half of row K03), and 40 ppm
// wrong.
func synchronise(t *trial) {
	t.must(setKernelPPM(40), "set frequency")
	before, _, err := measure()
	t.must(err, "measure")
	t.need(before > 30*365*24*time.Hour, "clock_is_30_years_behind", "%v", before)
	t.must(writeLeapList(time.Now().Add(before)), "write the list of leap seconds")
	begin := monotonic()
	p := t.follow()
	took, offset, ok := settled(begin, 60*time.Second)
	t.need(ok, "K03_30_years_behind_synchronised_within_1ms", "offset %v after %v", offset, took)
	t.number("sync", took.Seconds(), "s")
	t.number("sync_offset", offset.Seconds()*1e6, "us")
	checkStatus(t, "K16_status")
	tai := until(15*time.Second, func() bool { tx, _, err := kernel(); return err == nil && tx.Tai == knownTAI })
	t.check(tai, "K16_TAI", "%d s wanted", knownTAI)
	out, err := exec.Command("/bin/ntp-ctl", "query", serverAddress).CombinedOutput()
	t.check(err == nil, "ntp-ctl_query", "%v: %s", err, strings.Join(strings.Fields(string(out)), " "))
	s := snapshot()
	t.need(s != nil, "observe_socket", "a snapshot")
	t.check(s.Suite.Synchronized && s.Suite.Clock == "system", "observe_synchronised", "state %s, clock %s", s.Suite.State, s.Suite.Clock)
	t.check(time.Duration(s.Suite.Offset*1e9).Abs() < tolerance, "observe_offset", "the daemon thinks %.1f us", s.Suite.Offset*1e6)
	// Both machines run on the same oscillator, so the frequency to be learnt is 0, and the daemon knows how well it
	// knows it.
	learnt := until(90*time.Second, func() bool {
		s = snapshot()
		return s != nil && s.Suite.EstimateKnown && s.Suite.FrequencyUncertainty < 8e-6
	})
	t.need(learnt, "frequency_learnt", "within 8 ppm (one sigma) after %v", monotonic()-begin)
	ppm, sigma := (s.Suite.Frequency-s.Suite.FrequencyError)*1e6, s.Suite.FrequencyUncertainty*1e6
	t.number("frequency_error", ppm, "ppm")
	t.check(ppm < 4*sigma && ppm > -4*sigma, "frequency_true", "%.2f ppm from 40, one sigma is %.2f ppm", ppm, sigma)
	t.check(!p.ended(), "still_running", "daemon runs")
}

// checkStatus is row K16: the kernel, and through it every program of the host, knows that the clock is right.
func checkStatus(t *trial, name string) {
	var tx unix.Timex
	var state int
	var err error
	// The daemon tells the kernel every ten seconds at most.
	ok := until(15*time.Second, func() bool {
		tx, state, err = kernel()
		return err == nil && tx.Status&unix.STA_UNSYNC == 0
	})
	ok = ok && state == unix.TIME_OK && tx.Maxerror > 0 && tx.Maxerror < 1e6 && tx.Esterror < 1e5 && tx.Esterror <= tx.Maxerror
	t.check(ok, name, "state %d, status %#x, maxerror %d us, esterror %d us, TAI %d", state, tx.Status, tx.Maxerror, tx.Esterror, tx.Tai)
}
