package main

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"ntp-daemon/internal/sim"
)

// How many runs the table has of each kind. The figures of starts and events scatter more than those of steady states.
const (
	steadySeeds = 3
	eventSeeds  = 30
	holdSeeds   = 64
	worldSeeds  = 64
	longSeeds   = 64
)

// steadyRuns is how many runs a steady scenario has. Where the noise is large beside what the oscillator does, the filter remembers hours and one run is a
// few dozen independent errors: of three runs the share of seconds within 1σ scatters by four hundredths and more.
func steadyRuns(c *sim.Case) int {
	if c.ID == "A5_wan50" || strings.HasSuffix(c.ID, "_srvnoise") {
		return longSeeds
	}
	return steadySeeds
}

// worldAnchors are what a Kalman filter with the true wander and noise reaches in chrony's world, s.
func worldAnchors() map[string]float64 {
	return map[string]float64{"A1_lan": 4.41e-6, "A3_wan10": 24.6e-6, "A4_wan25": 138e-6, "A5_wan50": 779e-6, "D9_intermittent": 241e-6}
}

// table is everything that is measured.
func table(f *sim.File) ([]*job, error) {
	var jobs []*job
	add := func(c *sim.Case, policy string, seeds int, o sim.Options) {
		jobs = append(jobs, &job{c: c, policy: policy, first: 1, seeds: seeds, o: o})
	}
	for _, c := range f.Cases {
		switch c.Kind {
		case "steady":
			for _, p := range policies(c, "P6") {
				if p == "P6" && worldAnchors()[c.ID] > 0 {
					add(c, p, worldSeeds, sim.Options{Oracle: true})
				} else {
					add(c, p, steadyRuns(c), sim.Options{})
				}
			}
			if len(c.Anchors) > 0 || c.Polls == nil {
				add(c, "default", steadyRuns(c), sim.Options{})
			}
		case "event":
			for _, p := range policies(c, "P6") {
				add(c, p, eventSeeds, sim.Options{})
			}
			add(c, "default", eventSeeds, sim.Options{})
		case "converge":
			for _, p := range policies(c, "PDi") {
				add(c, p, eventSeeds, sim.Options{Duration: 4000})
			}
			add(c, "default", eventSeeds, sim.Options{Duration: 4000})
		case "holdover":
			add(c, "P6", holdSeeds, sim.Options{Oracle: true})
		case "attack":
			add(c, "P6", steadySeeds, sim.Options{})
		default:
			return nil, fmt.Errorf("%s is of the unknown kind %q", c.ID, c.Kind)
		}
	}
	return jobs, nil
}

// policies are those that the scenario is meant for, or the one named.
func policies(c *sim.Case, otherwise string) []string {
	if len(c.Polls) == 0 {
		return []string{otherwise}
	}
	var list []string
	for _, p := range []string{"P6", "PD", "PDi", "P4", "P0"} {
		if _, ok := c.Polls[p]; ok {
			list = append(list, p)
		}
	}
	return list
}

// summary is what the whole table comes to.
func summary(rows []*Row) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\nmedian chrony/ours over the steady scenarios with one server\n")
	for _, p := range []string{"P6", "PD", "default"} {
		ratios(&b, rows, p)
	}
	targets(&b, rows)
	fmt.Fprintf(&b, "honesty: seconds above the served root distance\n")
	for _, kind := range []string{"steady", "event", "server_step", "converge", "holdover", "attack"} {
		var h honesty
		for _, r := range rows {
			if r.honestyKind() == kind {
				h.add(r)
			}
		}
		fmt.Fprintf(&b, "  %-11s %d of %d: %.2e\n", kind, h.above, h.served, share(h.above, h.served))
	}
	for _, r := range rows {
		want := worldAnchors()[r.Scenario]
		if want == 0 || r.Policy != "P6" || r.Runs[0].OracleRMS == 0 {
			continue
		}
		var sum, told float64
		for i := range r.Runs {
			sum, told = sum+r.Runs[i].OracleRMS*r.Runs[i].OracleRMS, told+r.Runs[i].OracleTold*r.Runs[i].OracleTold
		}
		n := float64(len(r.Runs))
		fmt.Fprintf(&b, "world: Kalman filter that knows the noise on %s: %s, it expects %s, chrony's world %s\n", r.Scenario,
			micros(math.Sqrt(sum/n)), micros(math.Sqrt(told/n)), micros(want))
	}
	return b.String()
}

func ratios(b *strings.Builder, rows []*Row, policy string) {
	var list []float64
	var worse, talkative []string
	for _, r := range rows {
		if r.Kind != "steady" || r.Policy != policy || !r.Listed || r.Chrony.RMS == 0 {
			continue
		}
		q := r.Chrony.RMS / r.rms()
		if q < 1 {
			worse = append(worse, fmt.Sprintf("%s %.2f", r.Scenario, q))
		}
		if limit := r.Chrony.Packets; r.packets() > limit {
			talkative = append(talkative, fmt.Sprintf("%s %.0f (%.0f)", r.Scenario, r.packets(), limit))
		}
		if len(r.Case.Servers) == 1 {
			list = append(list, q)
		}
	}
	if len(list) == 0 {
		return
	}
	slices.Sort(list)
	n := len(list)
	fmt.Fprintf(b, "  %-7s %.2f over %d; worse: %s; more packets: %s\n", policy, (list[n/2]+list[(n-1)/2])/2, n,
		strings.Join(worse, ", "), strings.Join(talkative, ", "))
}

func targets(b *strings.Builder, rows []*Row) {
	must, musts, goal, goals := 0, 0, 0, 0
	var failed []string
	for _, r := range rows {
		v := r.verdict()
		if v == "" {
			continue
		}
		musts++
		if v == "FAILS" {
			failed = append(failed, r.Scenario)
		} else {
			must++
		}
		if r.Goal > 0 {
			goals++
			if v == "goal" {
				goal++
			}
		}
	}
	fmt.Fprintf(b, "targets: %d of %d that must be, %d of %d goals; failed: %s\n", must, musts, goal, goals, strings.Join(failed, ", "))
}
