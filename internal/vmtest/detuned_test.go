package vmtest

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"ntp-daemon/internal/observe"
)

const (
	// from is when the errors count, after the start of the daemon, and window how long.
	from, window = 180 * time.Second, 20 * time.Second
	// maxError and maxRate are the limits: of the error at the 95th percentile, and of its rate.
	maxError, maxRate = 2 * time.Millisecond, 3e-6
	// maxRateUnknown is the most that is forgiven for not knowing better, s/s.
	maxRateUnknown = 5e-6
	// bootLimit is how long both may take to boot, beside whatever else the machine does.
	bootLimit = 2 * time.Minute
	// detuned is the rate of the server's clock against the oscillator that both machines share, s/s.
	detuned = -80e-6
)

// compared is the client's error at one moment: its clock minus the server's.
type compared struct {
	at      time.Time
	err     time.Duration
	unknown time.Duration // by how much err may be wrong, from the round trips
}

// compare reads both clocks, one after the other, and brings the second to the moment of the first.
func compare(client, server *machine) (c compared, err error) {
	of, err := client.port.read()
	if err != nil {
		return c, err
	}
	truth, err := server.port.read()
	if err != nil {
		return c, err
	}
	later := truth.host.Sub(of.host)
	then := truth.clock - later - time.Duration(float64(later)*detuned)
	return compared{at: of.host, err: of.clock - then, unknown: (of.round + truth.round) / 2}, nil
}

// TestVM_Detuned follows a server whose clock is half a second and 80 ppm off, through a network of 10 ± 1 ms each way.
// That clock is the truth, and the host asks both machines for theirs.
func TestVM_Detuned(t *testing.T) {
	t.Parallel()
	kernel, root := prepared(t)
	if only := os.Getenv("VMTEST_RUN"); only != "" && !strings.Contains(only, "detuned") {
		t.Skip("not in VMTEST_RUN")
	}
	client, server := detunedMachines(t, kernel, root)
	var numbers strings.Builder
	defer func() { keep(t, root, "detuned.txt", numbers.String()) }()
	number := func(name string, value float64, unit string) {
		fmt.Fprintf(&numbers, "VMNUM %s %.4g %s\n", name, value, unit)
	}
	ask := func(line string) string {
		answer, err := client.port.ask(line)
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	if answer := ask("start"); answer != "ok" {
		t.Fatal(answer)
	}
	begin := time.Now()
	time.Sleep(from) // what is measured is a clock in real time
	accuracy(t, client, server, number)
	t.Run("one_step", func(t *testing.T) {
		if n := ask("count Jumped offset by"); n != "1" {
			t.Errorf("%s steps", n)
		}
	})
	number("detuned_daemon_ran", time.Since(begin).Seconds(), "s")
	restart(t, client, server, ask, number)
}

// detunedMachines boots both and waits until the client can reach the server.
func detunedMachines(t *testing.T, kernel, root string) (client, server *machine) {
	t.Helper()
	initramfs := image(t, filepath.Join(root, "kernel"), programs(t))
	dir := sockets(t)
	slowCable(t, dir, "to-s", "s")
	slowCable(t, dir, "to-c", "c")
	server = boot(t, kernel, initramfs, settings{
		name: "detuned server", dir: dir, rtc: "utc", mac: "52:54:00:00:00:03", here: "s", peer: "to-c", args: "vmtest.role=detuned-server",
	})
	client = boot(t, kernel, initramfs, settings{
		name: "detuned client", dir: dir, rtc: "utc", mac: "52:54:00:00:00:04", here: "c", peer: "to-s", args: "vmtest.role=detuned-client",
	})
	for end := time.Now().Add(bootLimit); !strings.Contains(client.Log(), "VMTEST ready PASS"); time.Sleep(100 * time.Millisecond) { // polls an outside process
		if !client.Running() || time.Now().After(end) {
			t.Fatalf("the client is not ready after %v", bootLimit)
		}
	}
	return client, server
}

// accuracy compares the clocks for a while.
func accuracy(t *testing.T, client, server *machine, number func(string, float64, string)) {
	var all []compared
	for end := time.Now().Add(window); time.Now().Before(end); {
		c, err := compare(client, server)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	var errs, certain, unknown []time.Duration
	for _, c := range all {
		errs = append(errs, c.err.Abs())
		certain = append(certain, max(c.err.Abs()-c.unknown, 0))
		unknown = append(unknown, c.unknown)
	}
	slices.Sort(errs)
	slices.Sort(certain)
	slices.Sort(unknown)
	read, p95, middle := errs[len(errs)*95/100], certain[len(certain)*95/100], unknown[len(unknown)/2]
	rate, sigma := slope(all)
	number("detuned_error_read_p95", read.Seconds()*1e6, "us")
	number("detuned_error_p95", p95.Seconds()*1e6, "us")
	number("detuned_error_last", all[len(all)-1].err.Seconds()*1e6, "us")
	number("detuned_uncertainty", middle.Seconds()*1e6, "us")
	number("detuned_rate", rate*1e6, "ppm")
	number("detuned_rate_uncertainty", sigma*1e6, "ppm")
	number("detuned_comparisons", float64(len(all)), "1")
	t.Logf("%d comparisons: error p95 %v, %v of it beyond the uncertainty of a comparison, median %v; rate %.2f ± %.2f ppm",
		len(all), read, p95, middle, rate*1e6, sigma*1e6)
	t.Run("error_below_2ms", func(t *testing.T) {
		if read > maxError || p95 > maxError {
			t.Errorf("p95 %v, and %v beyond the uncertainty, want %v", read, p95, maxError)
		}
	})
	s := snapshot(t, client)
	found := s.Suite.Frequency - s.Suite.FrequencyError - detuned // what the daemon thinks of the oscillator, against what is true
	number("detuned_frequency_error", found*1e6, "ppm")
	number("detuned_frequency_uncertainty", s.Suite.FrequencyUncertainty*1e6, "ppm")
	if len(s.Sources) == 1 {
		number("detuned_round_trip", s.Sources[0].Delay*1e6, "us")
		number("detuned_sample_jitter", s.Sources[0].Jitter*1e6, "us")
	}
	t.Run("frequency_within_3ppm", func(t *testing.T) {
		if !s.Suite.EstimateKnown || math.Abs(found) > maxRate {
			t.Errorf("%.2f ppm, want %.0f", found*1e6, maxRate*1e6)
		}
	})
	// The clock is also slewed after an estimate that scatters as much as its frequency does, and the fit is not exact.
	allowed := maxRate + min(2*math.Hypot(sigma, s.Suite.FrequencyUncertainty), maxRateUnknown)
	t.Run("rate_within_3ppm", func(t *testing.T) {
		if math.Abs(rate) > allowed {
			t.Errorf("%.2f ± %.2f ppm, limit %.2f", rate*1e6, sigma*1e6, allowed*1e6)
		}
	})
	t.Run("error_within_root_distance", func(t *testing.T) {
		bound := time.Duration((s.System.RootDelay/2 + s.Suite.RootDispersion) * 1e9)
		last := all[len(all)-1]
		number("detuned_root_distance", bound.Seconds()*1e6, "us")
		if last.err.Abs()-last.unknown > bound {
			t.Errorf("error %v ± %v, clients are told %v", last.err, last.unknown, bound)
		}
	})
}

// restart ends the daemon and starts it again: the frequency is that of the drift file, and the clock stays right.
func restart(t *testing.T, client, server *machine, ask func(string) string, number func(string, float64, string)) {
	t.Run("K15_restart_keeps_drift", func(t *testing.T) {
		if code := ask("stop"); code != "0" {
			t.Fatalf("exit code %s", code)
		}
		left, err := strconv.ParseFloat(ask("kernel"), 64)
		if err != nil {
			t.Fatal(err)
		}
		number("detuned_frequency_left", left, "ppm")
		if math.Abs(left-detuned*1e6) > maxRate*1e6 {
			t.Errorf("left %.3f ppm in the kernel, the server runs at %.0f", left, detuned*1e6)
		}
		if answer := ask("detune"); answer != "ok" {
			t.Fatal(answer)
		}
		kept := func(ppm float64) bool { return math.Abs(ppm-left) < maxRate*1e6 }
		ask("start")
		var again float64                                                                                                       // 0, what it was detuned to
		for end := time.Now().Add(5 * time.Second); !kept(again) && time.Now().Before(end); time.Sleep(20 * time.Millisecond) { // polls an outside process
			if again, err = strconv.ParseFloat(ask("kernel"), 64); err != nil {
				t.Fatal(err)
			}
		}
		number("detuned_frequency_after_restart", again, "ppm")
		if !kept(again) {
			t.Errorf("%.3f ppm in the kernel after the restart, %.3f before it", again, left)
		}
		time.Sleep(10 * time.Second) // the first samples of the second run
		s := snapshot(t, client)
		found := (s.Suite.Frequency - s.Suite.FrequencyError) * 1e6 // without what slews the offset away
		number("detuned_frequency_found_after_restart", found, "ppm")
		if !s.Suite.EstimateKnown || !kept(found) {
			t.Errorf("%.3f ppm found by the second run, %.3f left by the first", found, left)
		}
		c, err := compare(client, server)
		if err != nil {
			t.Fatal(err)
		}
		if c.err.Abs()-c.unknown > maxError || ask("count Jumped offset by") != "0" {
			t.Errorf("error %v ± %v after the restart, %s steps", c.err, c.unknown, ask("count Jumped offset by"))
		}
	})
}

// slope fits a line to the errors and returns its rate and one sigma of it.
func slope(all []compared) (rate, sigma float64) {
	var n, mx, my float64
	for _, c := range all {
		n, mx, my = n+1, mx+c.at.Sub(all[0].at).Seconds(), my+c.err.Seconds()
	}
	mx, my = mx/n, my/n
	var xx, xy, rest float64
	for _, c := range all {
		x, y := c.at.Sub(all[0].at).Seconds()-mx, c.err.Seconds()-my
		xx, xy = xx+x*x, xy+x*y
	}
	rate = xy / xx
	for _, c := range all {
		x, y := c.at.Sub(all[0].at).Seconds()-mx, c.err.Seconds()-my
		rest += (y - rate*x) * (y - rate*x)
	}
	return rate, math.Sqrt(rest / max(n-2, 1) / xx)
}

// snapshot asks the guest for its daemon's.
func snapshot(t *testing.T, m *machine) *observe.Snapshot {
	t.Helper()
	answer, err := m.port.ask("snapshot")
	if err != nil {
		t.Fatal(err)
	}
	var s *observe.Snapshot
	if err := json.Unmarshal([]byte(answer), &s); err != nil || s == nil {
		t.Fatalf("snapshot %q: %v", answer, err)
	}
	return s
}
