package daemon

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"ntp-daemon/internal/config"
	"ntp-daemon/internal/system"
	"ntp-daemon/internal/version"
)

// TestParams_WhatWasStored: the allowances that an earlier run of this boot has used stay used, and a clock before the
// build or the stored time is known to be unset, unless that time cannot be true.
func TestParams_WhatWasStored(t *testing.T) {
	saved := version.Built().AddDate(0, 3, 0)
	stored := drift{StartupSpent: true, Spent: system.Spent{Sum: time.Minute, Excepted: true}, Saved: saved}
	p := systemParams(&config.Config{}, &stored)
	if !p.StartupSpent || p.Spent != stored.Spent || !p.Built.Equal(version.Built()) || !p.LastRight.Equal(saved) {
		t.Errorf("%+v", p)
	}
	stored.Saved = version.Built().AddDate(100, 0, 0)
	(&Daemon{cfg: &config.Config{}}).bootstrap(&stored)
	if p := systemParams(&config.Config{}, &stored); !p.LastRight.IsZero() || !p.StartupSpent {
		t.Errorf("believed %v", p.LastRight)
	}
}

// TestStateKeeper_Due: what a restart must not give back is written at once, the rest when it is worth it.
func TestStateKeeper_Due(t *testing.T) {
	now := time.Now()
	last := drift{Frequency: 1e-6, Sigma: 1e-8, StartupSpent: true}
	k := &stateKeeper{written: last, at: now}
	spent, moved := last, last
	spent.Spent.Sum = 900 * time.Second
	moved.Frequency = 2e-6
	for name, row := range map[string]struct {
		d     drift
		after time.Duration
		want  bool
	}{
		"unchanged":              {last, time.Minute, false},
		"unchanged for an hour":  {last, time.Hour, true},
		"frequency":              {moved, 59 * time.Second, false},
		"frequency, in a minute": {moved, time.Minute, true},
		"a step":                 {spent, time.Millisecond, true},
		"allowance":              {drift{Frequency: 1e-6, Sigma: 1e-8}, time.Millisecond, true},
	} {
		if got := k.due(row.d, now.Add(row.after)); got != row.want {
			t.Errorf("%s: due %v", name, got)
		}
	}
	if !(&stateKeeper{}).due(last, now) {
		t.Error("the first one waits")
	}
}

// TestLeapTable_File: a list of leap seconds that is there is read; one that is absent or odd costs nothing.
func TestLeapTable_File(t *testing.T) {
	path := filepath.Join(t.TempDir(), "leap-seconds.list")
	quiet := zerolog.Nop()
	for text, want := range map[string]int{"": 0, "3692217600 37\n": 0, "#@ 9000000000\n3692217600 37\n": 37} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if n := leapTable(path, &quiet).TAI(version.Built()); n != want {
			t.Errorf("%q: %d, want %d", text, n, want)
		}
	}
	if leapTable(path+".none", &quiet) != nil {
		t.Error("read a file that is not there")
	}
}

// TestForward: the last known time sets a clock that nobody has set forward, once a boot, and never back.
func TestForward(t *testing.T) {
	const day = 24 * time.Hour
	built := version.Built()
	saved := built.Add(100 * day)
	for name, row := range map[string]struct {
		stored  drift
		now     time.Time
		battery bool
		want    time.Duration
	}{
		"without a battery, 1970":                {drift{Saved: saved}, time.Unix(0, 0), false, saved.Sub(time.Unix(0, 0))},
		"with an empty battery, 1970":            {drift{Saved: saved}, time.Unix(0, 0), true, saved.Sub(time.Unix(0, 0))},
		"without a battery, where it stopped":    {drift{Saved: saved, Boot: "last"}, saved.Add(-day), false, day},
		"a battery that is a day behind":         {drift{Saved: saved}, saved.Add(-day), true, 0},
		"a battery that is behind the build":     {drift{Saved: saved}, built.Add(-20 * day), true, 0},
		"a restart, somebody set the clock back": {drift{Saved: saved, Boot: "this"}, saved.Add(-day), false, 0},
		"never back":                             {drift{Saved: saved}, saved.Add(time.Hour), false, 0},
		"nothing is known":                       {drift{}, time.Unix(0, 0), false, 0},
	} {
		if by := forward(&row.stored, row.now, "this", row.battery); by != row.want {
			t.Errorf("%s: %v, want %v", name, by, row.want)
		}
	}
}
