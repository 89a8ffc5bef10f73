package main

import (
	"fmt"

	"ntp-daemon/internal/sim"
)

// portion is a part of seconds, as precise as it needs to be.
func portion(n, of int) string {
	switch {
	case of == 0:
		return "–"
	case n == 0:
		return "0"
	}
	return fmt.Sprintf("%.1e", float64(n)/float64(of))
}

// percent is a share in percent.
func percent(n, of int) string {
	if of == 0 {
		return "–"
	}
	return fmt.Sprintf("%.1f %%", 100*float64(n)/float64(of))
}

// mayClaim is the largest median root distance that is still of use: half of the delay, and little more.
func mayClaim(row *Record) float64 {
	return float64(row.Delay)/2 + 10*float64(row.RMS.Median) + 0.02*float64(row.Delay)
}

func (r *report) honesty() {
	r.add(`
## Honesty: what is said of the error

The root distance that is served must cover the true error, and be no larger than it has to be. *Outside* is the share of seconds in which it did not, over all seeds;
within 1σ and 3σ is the estimate, by its own standard deviation (68 %% and 99.7 %% would be a Gaussian's; what is known and being slewed out is no error of it; half of a static asymmetry is no error that anybody can see).
*Allowed* is half of the delay, ten times the RMS and 2 %% of the delay. chrony's root distance is not among the figures that were recorded of it, so that ours is never
above it is not measured: both have half of the delay, to which ours adds 3σ, an eighth of the jitter and 0.02 ppm of the age of the last sample, chrony its own deviations and 1 ppm of that age; which sum is smaller is open.
What a server claims of itself is part of any root distance (RFC 5905 §11.1), and not of *allowed*: those whose clocks jitter claim three of their σ, which is most of what is told of them.
`)
	r.table("scenario | interval | seconds | outside | within 1σ | within 3σ | median root distance | allowed")
	show := func(list []*sim.Case, policies ...string) {
		for _, policy := range policies {
			for _, c := range list {
				if row := r.row(c, policy); row != nil && (c.Kind == "steady" && c.ID != "T001_default" || c.Kind == "event") {
					r.cells(c.ID, policy, fmt.Sprint(row.Seconds), portion(row.Uncovered, row.Seconds), percent(row.Within1, row.Seconds), percent(row.Within3, row.Seconds),
						us(row.Bound.Median), us(num(mayClaim(row))))
				}
			}
		}
	}
	show(r.listed, "P6", "default")
	show(r.others, "P6")
}

// unset is "–" for an anchor that was not measured.
func unset(c *sim.Case, a sim.Anchor, v float64) string {
	if a.ThenSeeds == 0 {
		return "–"
	}
	return fmt.Sprintf("%.0f", v)
}

// theirStart is what chrony did at this start, with iburst if the scenario has it.
func theirStart(c *sim.Case) sim.Anchor {
	if a := c.Anchors["chrony_PDi"]; a.ThenSeeds > 0 {
		return a
	}
	return c.Anchors["chrony_PD"]
}

func (r *report) starts() {
	r.add(`
## Starts

Default poll interval and step rule. Seconds until the error stays below 1 ms, 100 µs and 20 µs for 300 s: the first such moment, median and worst over the seeds; *last* is the second after the last one above in the first hour.
A clock whose RMS is 11 µs for good crosses 20 µs now and then, so that the last crossing grows with the time that one looks; the 300 s are our choice. chrony's figures count a first stay, too (D5a
[below](#events): 0 s, and a peak of milliseconds after that), but how long it had to last was not recorded. They are those of the same scenario with its own options (without iburst its third sample comes after 130 s).
`)
	r.table("scenario | what | seeds | < 1 ms | chrony | < 100 µs | last | chrony | < 20 µs | last | chrony | overshoot | chrony | packets in 60 s | in 400 s")
	for _, c := range append(r.cases(r.listed, "converge", "default"), r.cases(r.others, "converge", "default")...) {
		row := r.row(c, "default")
		s, a := row.Start, theirStart(c)
		r.cells(c.ID, described(c), fmt.Sprint(row.Seeds), pairs(s.Settle[0], after), unset(c, a, a.T1ms), pairs(s.Settle[1], after), pairs(s.Last[1], after),
			unset(c, a, a.T100us), pairs(s.Settle[2], after), pairs(s.Last[2], after), unset(c, a, a.T20us), pairs(s.Overshoot, us), us(num(a.Overshoot)),
			fmt.Sprintf("%.0f", float64(s.Packets60)), fmt.Sprintf("%.0f", float64(s.Packets400)))
	}
}

func (r *report) events() {
	r.add(`
## Events

One sample per 64 s. Peak of the error after the event and seconds until it stays below the limit for 300 s, counted as at a [start](#starts), median and worst over the seeds. A permanent route change one way leaves an error of half the change
that nobody can see in the long run; what counts is that the old time is kept.
`)
	r.table("scenario | what | seeds | peak | chrony | at, s | < 1 ms | chrony | < 100 µs | chrony | RMS in the first hour | chrony | later")
	for _, c := range append(r.cases(r.listed, "event", "P6"), r.cases(r.others, "event", "P6")...) {
		row, a := r.row(c, "P6"), c.Anchors["chrony_P6"]
		e := row.Event
		r.cells(c.ID, described(c), fmt.Sprint(row.Seeds), pairs(e.Peak, us), pairs(Pair{num(a.Peak), num(a.WorstPeak)}, us), after(e.PeakAt),
			pairs(e.Settle[0], after), unset(c, a, a.T1ms), pairs(e.Settle[1], after), unset(c, a, a.T100us), us(e.Hour), us(num(a.RMSHour)), us(e.Late))
	}
}

func (r *report) holdover() {
	r.add(`
## Hold-over

The only server falls silent; RMS of the error over the seeds, so long after. *Oracle* is a Kalman filter that knows the oscillator's wander and the variance of a sample, on the same noise
of the same runs. chrony's figures are of 6 seeds.
`)
	r.table("scenario | seeds | time | ours | oracle | ours ÷ oracle | chrony")
	for _, c := range r.cases(r.listed, "holdover", "P6") {
		row, a := r.row(c, "P6"), c.Anchors["chrony_P6"]
		theirs := []float64{a.Err600, a.Err3600, a.Err14400, a.Err43200, a.Err86400}
		for i, name := range []string{"10 min", "1 h", "4 h", "12 h", "24 h"} {
			r.cells(c.ID, fmt.Sprint(row.Seeds), name, us(row.Hold.RMS[i]), us(row.Hold.Oracle[i]), times(float64(row.Hold.RMS[i]), float64(row.Hold.Oracle[i])), us(num(theirs[i])))
		}
	}
}

func (r *report) attacks() {
	list := r.cases(r.others, "attack", "P6")
	if len(list) == 0 {
		return
	}
	r.add(`
## Attacks

Somebody who holds packets back can move a clock by half of the delay that he adds, and nobody can see it from one source; the root distance says so.
`)
	r.table("scenario | what | RMS | largest error | median root distance | largest excess over it | seconds outside")
	for _, c := range list {
		row := r.row(c, "P6")
		r.cells(c.ID, described(c), us(row.RMS.Median), us(row.Max), us(row.Bound.Median), us(row.Excess), portion(row.Uncovered, row.Seconds))
	}
}

// jitter is the standard deviation of the noise of the only server's own clock, s; 0: it has none, or it is not a plain normal one.
func jitter(c *sim.Case) float64 {
	var sigma float64
	if len(c.Servers) != 1 {
		return 0
	}
	if _, err := fmt.Sscanf(c.Servers[0].ReadError, "(* %g (normal))", &sigma); err != nil {
		return 0
	}
	return sigma
}

func (r *report) noisyServers() {
	r.add(`
## Servers whose own clock jitters

The path is quiet, the server's clock is not, as GPS without a pulse or a busy virtual machine makes it: one normal error for each reply. The client averages; it does not follow.
`)
	r.table("scenario | interval | σ | RMS | RMS ÷ σ | rate error, ppm | steps")
	for _, policy := range []string{"P4", "P6"} {
		for _, c := range r.cases(r.others, "steady", policy) {
			if sigma := jitter(c); sigma > 0 {
				row := r.row(c, policy)
				r.cells(c.ID, policy, us(num(sigma)), us(row.RMS.Median), times(float64(row.RMS.Median), sigma), fmt.Sprintf("%.2f", float64(row.RMSFreq)*1e6), fmt.Sprintf("%.0f", float64(row.Steps)))
			}
		}
	}
}
