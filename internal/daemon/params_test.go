package daemon

import (
	"testing"
	"time"

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
