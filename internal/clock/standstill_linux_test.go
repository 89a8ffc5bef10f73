package clock

import (
	"testing"
	"time"
)

// TestK12_Standstill: the battery clock, in whole seconds, went on while the machine's own clock stood.
func TestK12_Standstill(t *testing.T) {
	const s = time.Second
	for name, row := range map[string]struct {
		battery, running, steered, want time.Duration // since the first look
	}{
		"a second":                             {1 * s, 900 * time.Millisecond, s, 0},
		"whole seconds, at their worst":        {2 * s, 910 * time.Millisecond, 5 * s, 0},
		"paused for ten seconds":               {11 * s, s, s, 10 * s},
		"restored after a week":                {7 * 24 * 3600 * s, s, s, 7*24*3600*s - s},
		"suspended, which the clock has known": {3600 * s, 3600 * s, 3600 * s, 0},
		"battery clock set back":               {-3600 * s, s, s, 0},
		"battery clock stopped":                {0, 100 * s, 100 * s, 0},
		"battery clock set by a century":       {100 * 365 * 24 * 3600 * s, s, s, 0},
		"set by the kernel, after a step":      {3 * 365 * 24 * 3600 * s, s, 3 * 365 * 24 * 3600 * s, 0},
	} {
		t.Run(name, func(t *testing.T) {
			var w standstill
			at := clocks{battery: 1_800_000_000 * s, running: 50 * s, steered: 1_800_000_000 * s}
			if d := w.look(at); d != 0 {
				t.Errorf("first look: %v", d)
			}
			if d := w.look(clocks{battery: at.battery + row.battery, running: at.running + row.running, steered: at.steered + row.steered}); d != row.want {
				t.Errorf("%v, want %v", d, row.want)
			}
			if d := w.look(clocks{battery: at.battery + row.battery + s, running: at.running + row.running + s, steered: at.steered + row.steered + s}); d != 0 {
				t.Errorf("told twice: %v", d)
			}
		})
	}
}

// TestK12_SlowReading: readings that a busy machine took long for are no standstill, and hide none.
func TestK12_SlowReading(t *testing.T) {
	const s = time.Second
	var w standstill
	w.look(clocks{battery: 1000 * s, running: 50 * s, steered: 1000 * s})
	for i, row := range []struct {
		now  clocks
		want time.Duration
	}{
		{clocks{battery: 1001 * s, running: 54 * s, steered: 1004 * s, took: 3 * s}, 0}, // the battery clock was read long before the others
		{clocks{battery: 1005 * s, running: 55 * s, steered: 1005 * s}, 0},
		{clocks{battery: 1020 * s, running: 59 * s, steered: 1009 * s, took: 3 * s}, 0},
		{clocks{battery: 1024 * s, running: 60 * s, steered: 1010 * s}, 14 * s},
	} {
		if d := w.look(row.now); d != row.want {
			t.Errorf("look %d: %v, want %v", i, d, row.want)
		}
	}
}

func TestHypervisor(t *testing.T) {
	for text, want := range map[string]bool{
		"processor\t: 0\nflags\t\t: fpu sse4_2 hypervisor lahf_lm\n": true,
		"processor\t: 0\nflags\t\t: fpu sse4_2 lahf_lm\n":            false,
		"processor\t: 0\nBogoMIPS\t: 50.00\n":                        false,
	} {
		if hypervisor([]byte(text)) != want {
			t.Errorf("%q: want %v", text, want)
		}
	}
}
