package main

import (
	"fmt"
	"math"
	"strings"

	"ntp-daemon/internal/sim"
)

const heading = `times in µs, frequencies in ppb, medians over the seeds and (worst); chrony/ours and linear/ours above 1: ours is better;
honest: share of seconds above the root distance, within 1σ, within 3σ, median root distance / allowed`

// line is what is printed of a row: a line, and another for what follows a start or an event.
func line(r *Row) string {
	var b strings.Builder
	rms := r.rms()
	freq, _ := r.median(func(r *sim.Result) float64 { return r.RMSFreq })
	_, most := r.median(func(r *sim.Result) float64 { return r.Max })
	_, steps := r.median(func(r *sim.Result) float64 { return float64(r.Steps) })
	fmt.Fprintf(&b, "%-22s %-7s rms %8s chrony %8s ratio %5s linear %5s %-5s max %8s freq %7.1f packets %5.0f", r.Scenario, r.Policy,
		micros(rms), micros(r.Chrony.RMS), ratio(r.Chrony.RMS, rms), ratio(r.Linear, rms), r.verdict(), micros(most), freq*1e9, r.packets())
	if r.Chrony.Packets > 0 {
		fmt.Fprintf(&b, " (%.0f)", r.Chrony.Packets)
	}
	fmt.Fprintf(&b, " steps %.0f %s", steps, r.honest())
	if r.Runs[0].OracleRMS > 0 {
		oracle, _ := r.median(func(r *sim.Result) float64 { return r.OracleRMS })
		fmt.Fprintf(&b, " oracle %s", micros(oracle))
	}
	for i := range r.Runs {
		if r.Runs[i].Stopped != "" {
			fmt.Fprintf(&b, " STOPPED %s", r.Runs[i].Stopped)
			break
		}
	}
	b.WriteByte('\n')
	switch r.Kind {
	case "holdover":
		b.WriteString(r.holding())
	case "converge", "event":
		b.WriteString(r.course())
	}
	return b.String()
}

func micros(s float64) string {
	if s == 0 {
		return "-"
	}
	return fmt.Sprintf("%.4g", s*1e6)
}

func ratio(theirs, ours float64) string {
	if theirs == 0 || ours == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", theirs/ours)
}

func (r *Row) verdict() string {
	switch rms := r.rms(); {
	case r.Must == 0:
		return ""
	case r.Goal > 0 && rms <= r.Goal:
		return "goal"
	case rms <= r.Must:
		return "must"
	}
	return "FAILS"
}

// allowed is the median root distance that an honest and useful bound may have.
func (r *Row) allowed() float64 {
	delay, _ := r.median(func(r *sim.Result) float64 { return r.Delay })
	return delay/2 + 10*r.rms() + 0.02*delay
}

func (r *Row) honest() string {
	var h honesty
	h.add(r)
	if h.served == 0 {
		return "serves nothing"
	}
	bound, _ := r.median(func(r *sim.Result) float64 { return r.Bound })
	return fmt.Sprintf("honest %.1e %2.0f %% %6.2f %% bound %s / %s", share(h.above, h.served), 100*share(h.one, h.served), 100*share(h.three, h.served),
		micros(bound), micros(r.allowed()))
}

// holding tells of the error at some times after all servers are gone.
func (r *Row) holding() string {
	var b strings.Builder
	theirs := []float64{r.Chrony.Err600, r.Chrony.Err3600, r.Chrony.Err14400, r.Chrony.Err43200, r.Chrony.Err86400}
	for i, t := range sim.HoldTimes() {
		ours, oracle := r.held(i)
		fmt.Fprintf(&b, "    %.0f s: rms %s chrony %s", t, micros(ours), micros(theirs[i]))
		if oracle > 0 {
			fmt.Fprintf(&b, " oracle %s ours/oracle %.2f", micros(oracle), ours/oracle)
		}
	}
	return b.String() + "\n"
}

// held is the RMS over the runs of the error at hold time i, ours and the oracle's.
func (r *Row) held(i int) (ours, oracle float64) {
	for k := range r.Runs {
		x := &r.Runs[k]
		ours += x.Hold[i] * x.Hold[i]
		if x.OracleHold != nil {
			oracle += x.OracleHold[i] * x.OracleHold[i]
		}
	}
	n := float64(len(r.Runs))
	return math.Sqrt(ours / n), math.Sqrt(oracle / n)
}

// course tells of what followed the start or the event.
func (r *Row) course() string {
	var b strings.Builder
	pair := func(name, unit string, scale, theirs float64, of func(*sim.Result) float64) {
		mid, worst := r.median(of)
		fmt.Fprintf(&b, "  %s %.4g (%.4g)", name, mid*scale, worst*scale)
		if theirs > 0 {
			fmt.Fprintf(&b, " chrony %.4g", theirs*scale)
		}
		b.WriteString(unit)
	}
	b.WriteString("  ")
	for i, name := range []string{"1 ms", "100 µs", "20 µs"} {
		theirs := []float64{r.Chrony.T1ms, r.Chrony.T100us, r.Chrony.T20us}[i]
		pair("below "+name, " s", 1, theirs, func(r *sim.Result) float64 { return r.Settle[i] })
		last, worst := r.median(func(r *sim.Result) float64 { return r.Last[i] })
		fmt.Fprintf(&b, ", last %.0f (%.0f)", last, worst)
	}
	if r.Kind == "converge" {
		pair("overshoot", "", 1e6, r.Chrony.Overshoot, func(r *sim.Result) float64 { return r.Overshoot })
		pair("packets in 60 s", "", 1, 0, func(r *sim.Result) float64 { return float64(r.Packets60) })
		pair("in 400 s", "", 1, 0, func(r *sim.Result) float64 { return float64(r.Packets400) })
		return b.String() + "\n"
	}
	pair("peak", "", 1e6, r.Chrony.Peak, func(r *sim.Result) float64 { return r.Peak })
	pair("at", " s", 1, 0, func(r *sim.Result) float64 { return r.PeakAt })
	pair("rms in the first hour", "", 1e6, r.Chrony.RMSHour, func(r *sim.Result) float64 { return r.RMSHour })
	pair("later", "", 1e6, 0, func(r *sim.Result) float64 { return r.RMSLate })
	return b.String() + "\n"
}
