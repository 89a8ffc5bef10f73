package main

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"ntp-daemon/internal/sim"
	"ntp-daemon/internal/units"
)

// report writes docs/accuracy.md. It knows the results and the scenarios and nothing else: neither date nor machine, so that the
// same results give the same text.
type report struct {
	listed, others []*sim.Case
	rows           map[[2]string]*Record // by scenario and policy
	b              strings.Builder
}

func newReport(rows []Record) (*report, error) {
	r := &report{rows: map[[2]string]*Record{}}
	for i := range rows {
		r.rows[[2]string{rows[i].Scenario, rows[i].Policy}] = &rows[i]
	}
	f, err := sim.Listed()
	if err != nil {
		return nil, err
	}
	r.listed = f.Cases
	if f, err = sim.Unlisted(); err != nil {
		return nil, err
	}
	r.others = f.Cases
	return r, nil
}

func (r *report) row(c *sim.Case, policy string) *Record { return r.rows[[2]string{c.ID, policy}] }

// cases are the scenarios of a list that have a row under the policy and are of a kind. T001, chrony's own default test, is too
// short for figures of a steady state (docs/testing.md#chronys-own-list).
func (r *report) cases(list []*sim.Case, kind, policy string) (found []*sim.Case) {
	for _, c := range list {
		if c.Kind == kind && c.ID != "T001_default" && r.row(c, policy) != nil {
			found = append(found, c)
		}
	}
	return found
}

func (r *report) add(format string, a ...any) { fmt.Fprintf(&r.b, format, a...) }

// table begins a table; columns are parted by |.
func (r *report) table(columns string) {
	r.add("\n| %s |\n|%s\n", columns, strings.Repeat("---|", strings.Count(columns, "|")+1))
}

func (r *report) cells(cells ...string) { r.add("| %s |\n", strings.Join(cells, " | ")) }

// us is a time in s as a reader wants it; "–" if there is none.
func us(s num) string {
	if s == 0 || math.IsNaN(float64(s)) {
		return "–"
	}
	return units.Seconds(float64(s))
}

// times is how much better ours is than theirs.
func times(theirs, ours float64) string {
	if theirs == 0 || ours == 0 {
		return "–"
	}
	return fmt.Sprintf("%.2f", theirs/ours)
}

// after is a time until something, in whole seconds.
func after(t num) string {
	if t >= unsettled {
		return "never"
	}
	return fmt.Sprintf("%.0f", float64(t))
}

// pairs is a median with the worst of the seeds.
func pairs(p Pair, show func(num) string) string { return show(p.Median) + " (" + show(p.Worst) + ")" }

// document is the whole text.
func (r *report) document() string {
	r.add(`# Accuracy

Written by %[1]smake accuracy%[1]s out of [accuracy/results.json](accuracy/results.json); do not edit. Every figure comes from simulation: the production
code of source, system, timekeeper and algorithm steers a simulated clock, whose error is known exactly. chrony 4.9's
figures were measured in the same networks with the same statistics ([how](#how-it-was-measured)). What chrony's own simulations check is in
[testing.md](testing.md#chronys-own-list).

Runs of each scenario: %[2]d or more of a steady state or an attack, %[3]d of a start or an event, %[4]d of hold-over. Figures are medians over them, beside the worst
where it says so.

![chrony's RMS error divided by ours, for each scenario](accuracy/ratio.svg)

`, "`", r.least("steady", "attack"), r.least("converge", "event"), r.least("holdover"))
	r.summary()
	r.steady()
	r.otherPolls()
	r.unlisted()
	r.noisyServers()
	r.honesty()
	r.starts()
	r.events()
	r.holdover()
	r.attacks()
	r.pictures()
	r.method()
	return r.b.String()
}

// least is the smallest number of runs that a scenario of these kinds has.
func (r *report) least(kinds ...string) int {
	n := 1 << 30
	for _, c := range slices.Concat(r.listed, r.others) {
		for _, p := range policyNames() {
			if row := r.row(c, p); row != nil && slices.Contains(kinds, c.Kind) {
				n = min(n, row.Seeds)
			}
		}
	}
	return n
}

func (r *report) steady() {
	r.add(`
## Steady operation, one sample per 64 s

RMS of the clock's error at every whole second of 300 000 s, median over the seeds. *Linear* is the least that an estimator can reach that knows
the oscillator's wander and the variance of a sample (Kalman filter, Riccati equation), *Bayes* one that knows the whole law of the delays, too (particle filter);
both would show their estimate as if it cost nothing. *Must* is 0.9 × chrony, or what the scenario says; a goal weaker than its must is none.
`)
	r.table("scenario | what | ours | chrony | chrony ÷ ours | linear | Bayes | ours ÷ Bayes | largest error, ours | chrony | rate error, ours, ppb | chrony | packets, ours | chrony | target")
	for _, c := range r.cases(r.listed, "steady", "P6") {
		row, a := r.row(c, "P6"), c.Anchors["chrony_P6"]
		var b sim.Bounds
		if c.Bounds != nil {
			b = *c.Bounds
		}
		r.cells(c.ID, described(c), us(row.RMS.Median), us(num(a.RMS)), times(a.RMS, float64(row.RMS.Median)), us(num(b.Kalman)), us(num(b.Bayes)),
			times(float64(row.RMS.Median), b.Bayes), us(row.Max), us(num(max(a.Max, a.WorstMax))), fmt.Sprintf("%.3g", float64(row.RMSFreq)*1e9),
			fmt.Sprintf("%.3g", a.RMSFreq*1e9), fmt.Sprintf("%.0f", float64(row.Packets)), fmt.Sprintf("%.0f", a.Packets), reached(c, row))
	}
}

// reached says which target a row meets.
func reached(c *sim.Case, row *Record) string {
	must, goal := aims(c)
	v := float64(row.RMS.Median)
	switch {
	case must == 0:
		return "–"
	case v > must:
		return "**missed**"
	case goal > 0 && v <= goal:
		return "goal"
	case goal > 0:
		return "must"
	}
	return "must, no goal"
}

// aims are what must and what should be reached in a steady scenario; 0: none. Where nobody can be better than the bias of the
// path, or the clock runs free most of the time, a little worse than chrony is enough.
func aims(c *sim.Case) (must, goal float64) {
	if c.Targets != nil {
		must, goal = c.Targets.MustRMS, c.Targets.GoalRMS
	}
	theirs := c.Anchors["chrony_P6"].RMS
	switch c.ID {
	case "A10_staticasym", "D9_intermittent":
		must, goal = 1.02*theirs, 0
	case "C2_4srv_bias":
		must = theirs
	}
	if goal > must {
		goal = 0
	}
	return must, goal
}

func (r *report) otherPolls() {
	r.add(`
## Other poll intervals

Against chrony's default, which asks every 64 to 1024 s: with the same limits (6–10), and with our own default (4–10). Packets are those of 400 000 s, all servers.
`)
	r.table("scenario | chrony 6–10 | packets | ours 6–10 | packets | chrony ÷ ours | ours by default | packets | chrony ÷ ours")
	for _, c := range r.cases(r.listed, "steady", "PD") {
		pd, def, a := r.row(c, "PD"), r.row(c, "default"), c.Anchors["chrony_PD"]
		if a.RMS == 0 || def == nil {
			continue
		}
		r.cells(c.ID, us(num(a.RMS)), fmt.Sprintf("%.0f", a.Packets), us(pd.RMS.Median), fmt.Sprintf("%.0f", float64(pd.Packets)), times(a.RMS, float64(pd.RMS.Median)),
			us(def.RMS.Median), fmt.Sprintf("%.0f", float64(def.Packets)), times(a.RMS, float64(def.RMS.Median)))
	}
	r.add("\nFixed intervals of 16 s (P4) and 1 s (P0, over 50 000 s):\n")
	r.table("scenario | interval | ours | chrony | chrony ÷ ours")
	for _, policy := range []string{"P4", "P0"} {
		for _, c := range r.cases(r.listed, "steady", policy) {
			row, a := r.row(c, policy), c.Anchors["chrony_"+policy]
			r.cells(c.ID, policy, us(row.RMS.Median), us(num(a.RMS)), times(a.RMS, float64(row.RMS.Median)))
		}
	}
}

func (r *report) unlisted() {
	list := r.cases(r.others, "steady", "P6")
	if len(list) == 0 {
		return
	}
	r.add(`
## More scenarios

Paths and oscillators of the same kinds on which chrony was not measured and for which no target was set, one sample per 64 s. Not all of them were unseen while the estimator was made: five
(U1_asym_mild, U2_tail_quiet_wan, U12_srvjitter_1ms, U15_wan_w1e-11, U18_gamma3) have limits in %[1]sTestAccuracy%[1]s of %[1]sinternal/sim%[1]s that every change had to keep. *Linear* is the bound of an estimator that knows wander and variance, at the rate of samples of the run;
there is none where the oscillator does more than wander or a server is wrong.
`, "`")
	r.table("scenario | what | ours | linear | linear ÷ ours | largest error | packets")
	for _, c := range list {
		row := r.row(c, "P6")
		r.cells(c.ID, described(c), us(row.RMS.Median), us(row.Linear), times(float64(row.Linear), float64(row.RMS.Median)), us(row.Max), fmt.Sprintf("%.0f", float64(row.Packets)))
	}
}
