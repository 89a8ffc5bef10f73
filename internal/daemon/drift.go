package daemon

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"ntp-daemon/internal/system"
	"ntp-daemon/internal/timekeeper"
	"ntp-daemon/internal/version"
)

const (
	driftName    = "drift" // file in the state directory
	driftMagic   = "ntp-daemon drift 1"
	maxDriftFile = 4096   // bytes; ours has under 200
	maxDriftFreq = 500e-6 // s/s, what the kernel can apply
	// What an oscillator changes by between two runs, s/s: the temperature of a machine that stays on, and of one
	// that was off.
	restartDoubt = 1e-6
	rebootDoubt  = 5e-6
	// aging is what a crystal changes by in the time that it was not watched, s/s for each second: a quarter of a ppm in a month.
	aging        = 1e-13
	maxDriftAge  = 400 * 24 * time.Hour // an older frequency says nothing about this oscillator today
	driftSpacing = time.Minute          // between two writes at most, see keepState
	driftRefresh = time.Hour            // a drift that did not change is still written this often: its time is used
)

// drift is what survives a restart: the oscillator's frequency and whether the start-up step allowance of this
// boot is spent (CVE-2015-5300: a restart must not give it back).
type drift struct {
	Frequency    float64   // correction of the bare oscillator, s/s
	Sigma        float64   // s/s
	Saved        time.Time // true time, as the sources had it, of this knowledge; never what an unsynchronised clock shows
	StartupSpent bool
	Spent        system.Spent // of the day, by sources without authentication
	Boot         string       // the kernel's boot id; the allowance belongs to a boot
}

// worthwhile reports whether the frequency is better than the one that the kernel happens to have.
func (d drift) worthwhile() bool { return d.Sigma <= timekeeper.MaxKeptSigma }

// uncertaintyNow is one sigma of the stored frequency for a run that begins in the given boot, s/s. It grows with the age of
// the file, by a clock that may be wrong: one that shows an earlier time tells nothing of the age.
func (d drift) uncertaintyNow(boot string, now time.Time) float64 {
	doubt := rebootDoubt
	if boot != "" && d.Boot == boot {
		doubt = restartDoubt
	}
	age := min(max(now.Sub(d.Saved), 0), maxDriftAge)
	return math.Hypot(d.Sigma, doubt+float64(aging*age.Seconds()))
}

// forward is by how much a clock that shows now is set forward at the start, because nobody has set it since the machine was
// switched on: the first run of a boot finds it before the saved time and without a battery that could know better, or long
// before the build of this program. Never back; the saved time is at most maxLead after the build (see bootstrap). 0: it stays.
func forward(stored *drift, now time.Time, boot string, battery bool) time.Duration {
	by := stored.Saved.Sub(now)
	switch sameBoot := boot != "" && stored.Boot == boot; {
	case stored.Saved.IsZero(), by <= 0, sameBoot:
		return 0
	case battery && !now.Before(version.Built().Add(-system.NeverSetMargin)):
		return 0
	}
	return by
}

var errDrift = errors.New("drift file")

// marshal writes the file's text, one key and value per line.
func (d drift) marshal() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\nfrequency_ppm %s\nsigma_ppm %s\nsaved %d\nstartup_spent %t\nunauthenticated_steps %d %t\nboot %s\nend\n", driftMagic,
		strconv.FormatFloat(d.Frequency*1e6, 'f', 6, 64), strconv.FormatFloat(d.Sigma*1e6, 'f', 6, 64),
		d.Saved.Unix(), d.StartupSpent, spentSeconds(d.Spent.Sum), d.Spent.Excepted, d.Boot)
	return b.Bytes()
}

// parseDrift reads the file. Whatever is odd makes the whole file invalid (row K14); a half-written one lacks "end".
func parseDrift(text []byte, now time.Time) (drift, error) {
	sc := bufio.NewScanner(bytes.NewReader(text))
	if !sc.Scan() || sc.Text() != driftMagic {
		return drift{}, fmt.Errorf("%w: first line is not %q", errDrift, driftMagic)
	}
	values := map[string]string{}
	for sc.Scan() {
		key, value, _ := strings.Cut(sc.Text(), " ")
		values[key] = value
	}
	if _, ended := values["end"]; !ended {
		return drift{}, fmt.Errorf("%w: incomplete", errDrift)
	}
	freq, err1 := strconv.ParseFloat(values["frequency_ppm"], 64)
	sigma, err2 := strconv.ParseFloat(values["sigma_ppm"], 64)
	saved, err3 := strconv.ParseInt(values["saved"], 10, 64)
	spent, err4 := strconv.ParseBool(values["startup_spent"])
	used, err5 := parseSpent(values["unauthenticated_steps"])
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		return drift{}, fmt.Errorf("%w: not a number", errDrift)
	}
	d := drift{Frequency: freq * 1e-6, Sigma: sigma * 1e-6, Saved: time.Unix(saved, 0), StartupSpent: spent, Spent: used, Boot: values["boot"]}
	if math.IsNaN(freq) || math.Abs(d.Frequency) > maxDriftFreq || math.IsNaN(sigma) || math.IsInf(sigma, 0) || sigma < 0 {
		return drift{}, fmt.Errorf("%w: frequency outside ±500 ppm", errDrift)
	}
	if age := now.Sub(d.Saved); age > maxDriftAge {
		return drift{}, fmt.Errorf("%w: older than 400 days", errDrift)
	}
	return d, nil
}

// spentSeconds rounds up, because what was made counts, and stays within what is read.
func spentSeconds(d time.Duration) int64 { return int64(min(math.Ceil(d.Seconds()), math.MaxUint32)) }

// parseSpent reads the sum in seconds and whether there was an exception. Files of before there was such a sum lack it.
func parseSpent(text string) (system.Spent, error) {
	if text == "" {
		return system.Spent{}, nil
	}
	sum, excepted, _ := strings.Cut(text, " ")
	s, err1 := strconv.ParseUint(sum, 10, 32)
	e, err2 := strconv.ParseBool(excepted)
	return system.Spent{Sum: time.Duration(s) * time.Second, Excepted: e}, errors.Join(err1, err2)
}

// bootID returns the kernel's identifier of this boot, empty where there is none.
func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}
