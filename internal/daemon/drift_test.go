package daemon

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"ntp-daemon/internal/system"
)

func TestDriftRoundTrip(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	want := drift{Frequency: -12.345678e-6, Sigma: 0.25e-6, Saved: now, StartupSpent: true, Boot: "b-1", Spent: system.Spent{Sum: 900 * time.Second, Excepted: true}}
	got, err := parseDrift(want.marshal(), now.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if d := got.Frequency - want.Frequency; d > 1e-13 || d < -1e-13 || !got.StartupSpent || got.Boot != "b-1" || got.Spent != want.Spent || !got.Saved.Equal(now) {
		t.Fatalf("got %+v, want %+v", got, want)
	}
}

// A file of the version before the day's sum is read, and a sum of centuries is written so that it can be read again.
func TestDriftSpent(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	text := string(drift{Frequency: 1e-6, Saved: now, Spent: system.Spent{Sum: system.Unlimited}}.marshal())
	if d, err := parseDrift([]byte(text), now); err != nil || d.Spent.Sum < 24*365*time.Hour {
		t.Errorf("%+v, %v", d, err)
	}
	var old []string
	for _, line := range strings.Split(text, "\n") {
		if !strings.HasPrefix(line, "unauthenticated_steps") {
			old = append(old, line)
		}
	}
	if d, err := parseDrift([]byte(strings.Join(old, "\n")), now); err != nil || d.Spent != (system.Spent{}) {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestK14_DriftFile(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	good := string(drift{Frequency: 1e-6, Sigma: 1e-7, Saved: now}.marshal())
	for name, text := range map[string]string{
		"empty":       "",
		"garbage":     "\x00\xff\x13",
		"other magic": strings.Replace(good, driftMagic, "ntp-daemon drift 9", 1),
		"half":        good[:len(good)-4],
		"NaN":         strings.Replace(good, "frequency_ppm 1.000000", "frequency_ppm NaN", 1),
		"infinite":    strings.Replace(good, "sigma_ppm 0.100000", "sigma_ppm +Inf", 1),
		"1e9":         strings.Replace(good, "frequency_ppm 1.000000", "frequency_ppm 1e9", 1),
		"no number":   strings.Replace(good, "frequency_ppm 1.000000", "frequency_ppm x", 1),
		"too old":     string(drift{Saved: now.Add(-500 * 24 * time.Hour)}.marshal()),
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, driftName), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			var log strings.Builder
			k := stateKeeper{dir: dir, log: zerolog.New(&log)}
			if _, ok := k.load(now); ok {
				t.Fatal("accepted")
			}
			if n := strings.Count(log.String(), "\n"); n != 1 {
				t.Errorf("%d log lines, want one warning:\n%s", n, log.String())
			}
		})
	}
	t.Run("absent", func(t *testing.T) {
		var log strings.Builder
		k := stateKeeper{dir: t.TempDir(), log: zerolog.New(&log)}
		if _, ok := k.load(now); ok || log.Len() > 0 {
			t.Fatalf("ok %v, log %q", ok, log.String())
		}
	})
	t.Run("unwritable", func(t *testing.T) {
		var log strings.Builder
		k := stateKeeper{dir: filepath.Join(t.TempDir(), "missing"), log: zerolog.New(&log)}
		for range 3 {
			k.write(drift{})
		}
		if n := strings.Count(log.String(), "\n"); n != 1 {
			t.Errorf("%d log lines, want one error:\n%s", n, log.String())
		}
	})
}

func TestK02_AllowanceBelongsToTheBoot(t *testing.T) {
	now, dir := time.Now(), t.TempDir()
	w := stateKeeper{dir: dir, boot: "one"}
	w.write(drift{Frequency: 1e-6, StartupSpent: true, Spent: system.Spent{Sum: time.Minute}, Saved: now})
	same := stateKeeper{dir: dir, boot: "one"}
	if d, ok := same.load(now); !ok || !d.StartupSpent || d.Spent.Sum != time.Minute {
		t.Errorf("a restart gave the allowance back: %+v", d)
	}
	next := stateKeeper{dir: dir, boot: "two"}
	if d, ok := next.load(now); !ok || d.StartupSpent || d.Spent != (system.Spent{}) {
		t.Errorf("a new boot has no allowance: %+v", d)
	}
}

// A frequency from the noise of a few samples is not put in force; a good one is trusted less after a reboot.
func TestDriftWorth(t *testing.T) {
	const day = 24 * time.Hour
	now := time.Unix(1_800_000_000, 0)
	for _, row := range []struct {
		d     drift
		boot  string
		age   time.Duration
		worth bool
		sigma float64
	}{
		{drift{Sigma: 99e-6, Boot: "a"}, "a", 0, false, 99.005e-6},
		{drift{Sigma: 0, Boot: "a"}, "a", 0, true, 1e-6},
		{drift{Sigma: 3e-6, Boot: "a"}, "a", 0, true, 3.162e-6},
		{drift{Sigma: 0.1e-6, Boot: "a"}, "b", 0, true, 5.001e-6},
		{drift{Sigma: 0.1e-6}, "", 0, true, 5.001e-6},
		{drift{Sigma: 0.1e-6, Boot: "a"}, "b", 30 * day, true, 5.260e-6},
		{drift{Sigma: 0.1e-6, Boot: "a"}, "b", 399 * day, true, 8.448e-6},
		{drift{Sigma: 0.1e-6, Boot: "a"}, "b", -1000 * day, true, 5.001e-6}, // a clock without a battery
	} {
		row.d.Saved = now.Add(-row.age)
		if got := row.d.uncertaintyNow(row.boot, now); math.Abs(got-row.sigma) > 1e-9 || row.d.worthwhile() != row.worth {
			t.Errorf("%+v in boot %q: %v, %v", row.d, row.boot, got, row.d.worthwhile())
		}
	}
}

// The last offer is written when the daemon stops, however long after; by then others may have set the clock wrong. The
// time in the file is still that of the offer (row KC19).
func TestKC19_LateWriteKeepsTheTime(t *testing.T) {
	dir, drifts := t.TempDir(), make(chan drift)
	first, last := time.Now().Add(-3*time.Hour), time.Now().Add(-2*time.Hour)
	k := &stateKeeper{dir: dir, drifts: drifts, log: zerolog.Nop()}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = k.run(ctx) }()
	for _, saved := range []time.Time{first, last} { // the second one comes too soon after the first for a write of its own
		drifts <- drift{Frequency: 1e-6, Sigma: 1e-7, Saved: saved}
	}
	cancel()
	<-done
	next := stateKeeper{dir: dir, log: zerolog.Nop()}
	if d, ok := next.load(time.Now()); !ok || d.Saved.Unix() != last.Unix() {
		t.Errorf("%v, %+v, want %v", ok, d, last)
	}
}

// TestK14_UnreadableDriftIsLeftAlone: what could not be read for a reason that may pass is not overwritten; once it can be
// read, or is gone, it is kept up to date again.
func TestK14_UnreadableDriftIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, driftName)
	if err := os.Symlink("elsewhere", path); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	k := stateKeeper{dir: dir, log: zerolog.New(&log)}
	if _, ok := k.load(time.Now()); ok || !strings.Contains(log.String(), "left alone") {
		t.Fatalf("loaded %v, log %q", ok, log.String())
	}
	k.write(drift{Frequency: 1e-6})
	if info, err := os.Lstat(path); err != nil || info.Mode().IsRegular() {
		t.Errorf("overwritten: %v, %v", info, err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	k.write(drift{Frequency: 2e-6, Saved: time.Now()})
	next := stateKeeper{dir: dir, log: zerolog.Nop()}
	if d, ok := next.load(time.Now()); !ok || math.Abs(d.Frequency-2e-6) > 1e-9 {
		t.Errorf("%+v, %v", d, ok)
	}
}
