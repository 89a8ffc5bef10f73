package main

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"ntp-daemon/internal/sim"
	"ntp-daemon/tools/accuracy/plot"
)

// ratioOf is chrony's RMS divided by ours in a scenario.
type ratioOf struct {
	id    string
	ratio float64
}

// sortedRatios are those of the steady scenarios, the least first.
func (g *gallery) sortedRatios() (list []ratioOf) {
	for _, c := range g.report.cases(g.report.listed, "steady", "P6") {
		if a := c.Anchors["chrony_P6"].RMS; a > 0 {
			list = append(list, ratioOf{c.ID, a / float64(g.report.row(c, "P6").RMS.Median)})
		}
	}
	slices.SortFunc(list, func(a, b ratioOf) int { return cmp.Compare(a.ratio, b.ratio) })
	return list
}

// ratios shows chrony's RMS divided by ours for each steady scenario.
func (g *gallery) ratios() (*plot.Plot, error) {
	list := g.sortedRatios()
	var names []string
	better := plot.Layer{Kind: plot.Bars, Tone: plot.Ours, Low: []float64{1}, Name: "ours is better"}
	worse := plot.Layer{Kind: plot.Bars, Tone: plot.Theirs, Low: []float64{1}, Name: "chrony is better"}
	most := 4.
	const lowest, highest = 0.2, 6
	for i, e := range list {
		names = append(names, e.id)
		l, label := &better, fmt.Sprintf("%.2f", e.ratio)
		shown := min(max(e.ratio, lowest), highest)
		switch {
		case e.ratio > highest:
			label = fmt.Sprintf("%.0f →", e.ratio)
		case e.ratio < lowest:
			l, label = &worse, "← "+label
		case e.ratio < 1:
			l = &worse
		}
		l.X, l.High, l.Labels = append(l.X, shown), append(l.High, float64(i)), append(l.Labels, label)
		most = max(most, 1.2*shown)
		if shown == highest {
			most = 1.5 * highest
		}
	}
	if len(worse.X) == 0 {
		worse.Name = ""
	}
	least := 0.8
	if len(list) > 0 {
		least = min(least, 0.75*max(list[0].ratio, lowest))
		if list[0].ratio < lowest {
			least = lowest / 2
		}
	}
	return &plot.Plot{
		Title: "chrony's RMS error ÷ ours, steady operation, one sample per 64 s",
		Note:  "Right of 1, ours is better; medians over the seeds.",
		Panels: []plot.Panel{{
			Height: 16*len(list) + 8, Left: 128, X: plot.Axis{Label: "chrony ÷ ours", Min: least, Max: most, Log: true},
			Y:      plot.Axis{Min: -0.75, Max: float64(len(list)) - 0.25, Names: names},
			Layers: []plot.Layer{better, worse, {Kind: plot.Mark, Tone: plot.Moment, X: []float64{1}}},
		}},
	}, nil
}

// allan shows the stability of the steered clock for three networks, and of the oscillator alone.
func (g *gallery) allan() (*plot.Plot, error) {
	const from, length = 100000, 300000
	p := plot.Panel{Height: 330, X: plot.Axis{Label: "averaging time, s", Min: 1, Max: 1e5, Log: true, Format: grouped}, Y: plot.Axis{Label: "Allan deviation", Log: true, Format: power}}
	var least, most = math.Inf(1), 0.
	for i, row := range []struct {
		id, name string
		tone     plot.Tone
	}{{"A1_lan", "steered, LAN", plot.Ours}, {"A3_wan10", "near WAN", plot.Second}, {"A5_wan50", "bad WAN", plot.Third}} {
		c, r, err := g.trace(row.id, "P6", 1, from+length)
		if err != nil {
			return nil, err
		}
		if i == 0 {
			x, err := bare(c, 1, from, from+length)
			if err != nil {
				return nil, err
			}
			p.Layers = append(p.Layers, deviation(x, plot.Bare, "the same oscillator, not steered ("+oscillator(c)+")"))
		}
		p.Layers = append(p.Layers, deviation(scaled(r.Trace.Offset[from:], 1), row.tone, row.name))
	}
	for i := range p.Layers {
		least, most = min(least, slices.Min(p.Layers[i].High)), max(most, slices.Max(p.Layers[i].High))
	}
	p.Y.Min, p.Y.Max = math.Pow(10, math.Floor(math.Log10(least))), math.Pow(10, math.Ceil(math.Log10(most)))
	return &plot.Plot{
		Title:  "Allan deviation of the clock, one sample per 64 s",
		Note:   "Where a steered clock lies above the free one, it is its source's noise; below, the source keeps it.",
		Panels: []plot.Panel{p},
	}, nil
}

func deviation(x []float64, tone plot.Tone, name string) plot.Layer {
	l := plot.Layer{Kind: plot.Line, Tone: tone, Name: name}
	for _, n := range averagingTimes(len(x)) {
		l.X, l.High = append(l.X, float64(n)), append(l.High, allan(x, n))
	}
	return l
}

// grouped writes a whole number with thin spaces between thousands.
func grouped(v float64) string {
	s := fmt.Sprintf("%.0f", v)
	if v < 1 {
		return fmt.Sprintf("%g", v)
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "\u202f" + s[i:]
	}
	return s
}

// start shows the amount of the error from the first second on, over several runs.
func (g *gallery) start(id, what string) (*plot.Plot, error) {
	const seconds = 3600
	var runs, bounds [][]float64
	var c *sim.Case
	for seed := range uint64(g.seeds) {
		cc, r, err := g.trace(id, "default", seed+1, seconds)
		if err != nil {
			return nil, err
		}
		c = cc
		runs, bounds = append(runs, absolute(scaled(r.Trace.Offset, 1))), append(bounds, scaled(r.Trace.Bound, 1))
	}
	_, mid, high := across(runs, 1, seconds-1)
	_, claimed, _ := across(bounds, 1, seconds-1)
	x, mid := logarithmic(mid)
	_, high = logarithmic(high)
	bx, claimed := logarithmic(claimed)
	served := slices.IndexFunc(claimed, func(v float64) bool { return v > 0 })
	a := c.Anchors["chrony_PDi"]
	p := plot.Panel{
		Height: 300, X: plot.Axis{Label: "seconds since the start", Min: 1, Max: seconds, Log: true, Format: grouped},
		Y: plot.Axis{Label: "amount of the error", Min: 1e-6, Max: 1, Log: true, Format: short},
		Layers: []plot.Layer{
			{Kind: plot.Band, Tone: plot.Ours, X: x, Low: mid, High: high, Name: fmt.Sprintf("our error, up to the worst of %d runs", g.seeds)},
			{Kind: plot.Line, Tone: plot.Ours, X: x, High: mid, Name: "median"},
			{Kind: plot.Line, Tone: plot.Bound, X: bx[max(served, 0):], High: claimed[max(served, 0):], Name: "root distance served, median"},
		},
	}
	if a.ThenSeeds > 0 {
		p.Layers = append(p.Layers, plot.Layer{Kind: plot.Dots, Tone: plot.Theirs, X: []float64{a.T1ms, a.T100us, a.T20us}, High: []float64{1e-3, 1e-4, 2e-5}, Name: "chrony is below 1 ms, 100 µs, 20 µs (iburst)"})
	}
	return &plot.Plot{Title: what + ", 0.1 s and 100 ppm off", Note: described(c) + "; default poll interval", Panels: []plot.Panel{p}}, nil
}

// logarithmic keeps of a series of one value per second, from second 1 on, about a hundred for each factor of ten: the largest of its part.
func logarithmic(v []float64) (x, high []float64) {
	for t := 1; t <= len(v); {
		end := min(max(t, int(float64(t)*1.02)-1), len(v))
		x, high = append(x, math.Sqrt(float64(t)*float64(end))), append(high, slices.Max(v[t-1:end]))
		t = end + 1
	}
	return x, high
}

// holdover shows the growth of the error without a server for three oscillators: RMS over the runs of the table.
func (g *gallery) holdover() (*plot.Plot, error) {
	p := plot.Panel{
		Height: 320, X: plot.Axis{Label: "time since the last reply, s", Min: 300, Max: 1e5, Log: true, Format: grouped},
		Y: plot.Axis{Label: "RMS of the error", Min: 1e-7, Max: 1e-1, Log: true, Format: short},
	}
	hours := sim.HoldTimes()
	for i, row := range []struct {
		id, name string
		tone     plot.Tone
	}{{"D7_holdover_lan_w1e-9", "ours, w = 10⁻⁹", plot.Ours}, {"D7_holdover_lan_w1e-10", "10⁻¹⁰", plot.Second}, {"D7_holdover_lan_w1e-11", "10⁻¹¹", plot.Third}} {
		c, err := g.find(row.id)
		if err != nil {
			return nil, err
		}
		got := g.report.row(c, "P6")
		if got == nil {
			continue
		}
		a := c.Anchors["chrony_P6"]
		ours := plot.Layer{Kind: plot.Line, Tone: row.tone, Name: row.name, X: hours[:]}
		oracle := plot.Layer{Kind: plot.Line, Tone: plot.Limit, X: hours[:]}
		dots := plot.Layer{Kind: plot.Dots, Tone: plot.Theirs, X: hours[:], High: []float64{a.Err600, a.Err3600, a.Err14400, a.Err43200, a.Err86400}}
		for k := range hours {
			ours.High, oracle.High = append(ours.High, float64(got.Hold.RMS[k])), append(oracle.High, float64(got.Hold.Oracle[k]))
		}
		if i == 0 {
			oracle.Name, dots.Name = "an oracle on the same noise", "chrony, 6 seeds"
		}
		p.Layers = append(p.Layers, ours, oracle, dots)
	}
	return &plot.Plot{Title: "Hold-over on a LAN: how far the clock runs off without a server", Note: "Three oscillators; the dotted line of each is a Kalman filter that knows wander and noise.", Panels: []plot.Panel{p}}, nil
}
