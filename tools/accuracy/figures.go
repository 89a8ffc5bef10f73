package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"ntp-daemon/internal/sim"
	"ntp-daemon/internal/units"
	"ntp-daemon/tools/accuracy/plot"
)

// figure is a picture of the report.
type figure struct {
	file    string // in docs/accuracy
	caption string
	draw    func(*gallery) (*plot.Plot, error)
}

// gallery has what pictures are made of.
type gallery struct {
	cases  map[string]*sim.Case
	report *report
	seeds  int // of pictures that show several runs
}

// figures are all pictures, in the order of the page.
func figures() []figure {
	day := func(id, what string) figure {
		return figure{
			"error-" + id + ".svg", what + ": the error of one run over a day, and what was said of it",
			func(g *gallery) (*plot.Plot, error) { return g.day(id, what) },
		}
	}
	event := func(id, policy, what string, before, after float64) figure {
		return figure{"event-" + id + ".svg", what, func(g *gallery) (*plot.Plot, error) { return g.event(id, policy, what, before, after) }}
	}
	return []figure{
		{"ratio.svg", "chrony's RMS error divided by ours, one sample per 64 s", (*gallery).ratios},
		day("A1_lan", "LAN"), day("A3_wan10", "Near WAN"), day("A5_wan50", "Bad WAN"), day("A6_asymjit", "Jitter on one way only"), day("C1_4srv", "Four servers"),
		{"allan.svg", "Allan deviation of the clock as it is steered and as it would run free", (*gallery).allan},
		{"start-lan.svg", "Starts on a LAN, 0.1 s and 100 ppm off", func(g *gallery) (*plot.Plot, error) { return g.start("D1s_conv_lan_step", "A start on a LAN") }},
		{"start-wan.svg", "Starts on a WAN, 0.1 s and 100 ppm off", func(g *gallery) (*plot.Plot, error) { return g.start("D1s_conv_wan_step", "A start on a near WAN") }},
		event("D3_freqstep_lan", "P6", "The oscillator's frequency jumps by 1 ppm, LAN", 600, 1800),
		event("D3_freqstep_wan", "P6", "The oscillator's frequency jumps by 1 ppm, near WAN", 600, 3600),
		event("D4_srvstep5ms_wan", "P6", "The server's clock steps by 5 ms, near WAN", 300, 1200),
		event("D5a_route_sym", "P6", "A route that is longer by 10 ms each way", 1800, 7200),
		event("D5c_route_asym", "P6", "A route that is longer by 20 ms one way", 1800, 7200),
		{"holdover.svg", "Hold-over on a LAN for three oscillators", (*gallery).holdover},
	}
}

// pictures shows them on the page.
func (r *report) pictures() {
	r.add("\n## Pictures\n")
	for _, f := range figures()[1:] {
		r.add("\n![%s](accuracy/%s)\n", f.caption, f.file)
	}
}

func (g *gallery) find(id string) (*sim.Case, error) {
	if c := g.cases[id]; c != nil {
		return c, nil
	}
	return nil, fmt.Errorf("there is no scenario %s", id)
}

// trace runs a scenario and keeps its course, one value per second.
func (g *gallery) trace(id, policy string, seed uint64, until float64) (*sim.Case, *sim.Result, error) {
	c, err := g.find(id)
	if err != nil {
		return nil, nil, err
	}
	r, err := c.Run(policy, seed, sim.Options{TraceEvery: 1, Duration: until})
	if err != nil {
		return nil, nil, fmt.Errorf("run %s: %w", id, err)
	}
	return c, r, nil
}

// scaled is a series in another unit.
func scaled(v []float32, by float64) []float64 {
	s := make([]float64, len(v))
	for i, x := range v {
		s[i] = float64(x) * by
	}
	return s
}

func absolute(v []float64) []float64 {
	s := make([]float64, len(v))
	for i, x := range v {
		s[i] = math.Abs(x)
	}
	return s
}

func negative(v []float64) []float64 {
	s := make([]float64, len(v))
	for i, x := range v {
		s[i] = -x
	}
	return s
}

// round125 is the next larger one of 1, 2, 5 times a power of ten.
func round125(v float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 2, 5} {
		if m*power >= v {
			return m * power
		}
	}
	return 10 * power
}

// micro is the label of a time axis that is in µs.
func micro(v float64) string { return short(v * 1e-6) }

// short is a time with as few digits as it needs.
func short(v float64) string {
	number, unit, _ := strings.Cut(units.Seconds(v), " ")
	if strings.Contains(number, ".") {
		number = strings.TrimRight(strings.TrimRight(number, "0"), ".")
	}
	return number + " " + unit
}

// power is a number as a power of ten, or one digit times such a power.
func power(v float64) string {
	text := strconv.FormatFloat(v, 'e', -1, 64)
	digits, exponent, _ := strings.Cut(text, "e")
	n, _ := strconv.Atoi(exponent)
	var b strings.Builder
	if digits != "1" {
		b.WriteString(digits + " × ")
	}
	b.WriteString("10")
	for _, c := range strconv.Itoa(n) {
		b.WriteRune([]rune("⁰¹²³⁴⁵⁶⁷⁸⁹⁻")[strings.IndexRune("0123456789-", c)])
	}
	return b.String()
}

// described is the scenario's own description.
func described(c *sim.Case) string { return strings.ReplaceAll(c.Description, " us", " µs") }

// day shows the error of one run from the end of the warm-up on, twice: signed, with what the estimator believes and with chrony's RMS, and as
// an amount beside the root distance that is served.
func (g *gallery) day(id, what string) (*plot.Plot, error) {
	const hours = 24
	first := 100000.
	c, r, err := g.trace(id, "P6", 1, first+hours*3600)
	if err != nil {
		return nil, err
	}
	offset, sigma, bound := scaled(r.Trace.Offset, 1e6), scaled(r.Trace.Sigma, 3e6), scaled(r.Trace.Bound, 1e6)
	cut := func(v []float64) (x, low, high []float64) {
		x, low, high = plot.Envelope(v, 0, 1, first, first+hours*3600, plot.Inner/2)
		for i := range x {
			x[i] = (x[i] - first) / 3600
		}
		return x, low, high
	}
	x, low, high := cut(offset)
	_, _, s3 := cut(sigma)
	ax, _, amount := cut(absolute(offset))
	bx, least, _ := cut(bound)
	theirs := c.Anchors["chrony_P6"].RMS * 1e6
	top := round125(1.15 * max(slices.Max(s3), slices.Max(absolute(high)), slices.Max(absolute(low)), theirs))
	top = math.Ceil(1.1*max(slices.Max(s3), slices.Max(absolute(high)), slices.Max(absolute(low)), theirs)/(top/10)) * (top / 10)
	floor := math.Pow(10, math.Floor(math.Log10(max(min(slices.Min(amount), theirs), slices.Max(least)*1e-4))))
	hoursOf := func(label string) plot.Axis { return plot.Axis{Label: label, Min: 0, Max: hours} }
	return &plot.Plot{
		Title: what + ": error of the clock over a day, one sample per 64 s",
		Note:  described(c) + "; oscillator " + oscillator(c),
		Panels: []plot.Panel{
			{Height: 210, X: hoursOf(""), Y: plot.Axis{Label: "error, µs", Min: -top, Max: top}, Layers: []plot.Layer{
				{Kind: plot.Band, Tone: plot.Sigma, Name: "±3σ, as estimated", X: x, Low: negative(s3), High: s3},
				{Kind: plot.Trail, Tone: plot.Ours, Name: "our error", X: x, Low: low, High: high},
				{Kind: plot.Level, Tone: plot.Theirs, Name: "chrony's RMS, ±", High: []float64{theirs}},
				{Kind: plot.Level, Tone: plot.Theirs, High: []float64{-theirs}},
			}},
			{Height: 150, X: hoursOf("hours"), Y: plot.Axis{Label: "size of it", Log: true, Min: floor, Max: round125(1.2 * slices.Max(least)), Format: micro}, Layers: []plot.Layer{
				{Kind: plot.Line, Tone: plot.Bound, Name: "root distance served", X: bx, High: least},
				{Kind: plot.Line, Tone: plot.Ours, X: ax, High: amount},
				{Kind: plot.Level, Tone: plot.Theirs, High: []float64{theirs}},
			}},
		},
	}, nil
}

// oscillator names its wander.
func oscillator(c *sim.Case) string { return "w = " + power(c.Client.Wander) }

// event shows several runs around an event: the median and the range of all, beside what chrony reached.
func (g *gallery) event(id, policy, what string, before, after float64) (*plot.Plot, error) {
	var runs [][]float64
	var bounds [][]float64
	var c *sim.Case
	for seed := range uint64(g.seeds) {
		cc, err := g.find(id)
		if err != nil {
			return nil, err
		}
		c = cc
		_, r, err := g.trace(id, policy, seed+1, cc.Event.At+after+10)
		if err != nil {
			return nil, err
		}
		runs, bounds = append(runs, scaled(r.Trace.Offset, 1e6)), append(bounds, scaled(r.Trace.Bound, 1e6))
	}
	from := int(c.Event.At - before)
	low, mid, high := across(runs, from, int(before+after))
	claimed, _, _ := across(bounds, from, int(before+after))
	x, l, _ := plot.Envelope(low, -before, 1, -before, after, plot.Inner/2)
	_, _, h := plot.Envelope(high, -before, 1, -before, after, plot.Inner/2)
	_, ml, mh := plot.Envelope(mid, -before, 1, -before, after, plot.Inner/2)
	a := c.Anchors["chrony_"+policy]
	top, bottom, peak := aroundZero(slices.Max(h), slices.Min(l), a.Peak*1e6)
	panel := plot.Panel{Height: 260, X: plot.Axis{Label: "seconds since the event", Min: -before, Max: after}, Y: plot.Axis{Label: "error, µs", Min: bottom, Max: top}}
	if slices.Min(claimed) < top {
		panel.Layers = append(panel.Layers, plot.Layer{Kind: plot.Band, Tone: plot.Bound, Name: "± root distance served, least", X: seq(-before, len(claimed), 1), Low: negative(claimed), High: claimed})
	}
	panel.Layers = append(panel.Layers,
		plot.Layer{Kind: plot.Band, Tone: plot.Ours, X: x, Low: l, High: h, Name: fmt.Sprintf("our error, range of %d runs", g.seeds)},
		plot.Layer{Kind: plot.Line, Tone: plot.Ours, X: x, High: halves(ml, mh), Name: "median"},
		plot.Layer{Kind: plot.Mark, Tone: plot.Moment, X: []float64{0}, Name: "the event"},
	)
	note := fmt.Sprintf("One sample per 64 s. Root distance served: %s or more.", short(slices.Min(claimed)*1e-6))
	switch {
	case peak == 0:
	case bottom < peak && peak < top:
		panel.Layers = append(panel.Layers, plot.Layer{Kind: plot.Level, Tone: plot.Theirs, High: []float64{peak}, Name: "chrony's peak, " + short(a.Peak)})
	default:
		note += " The peak of chrony, " + short(a.Peak) + ", is beyond the scale."
	}
	return &plot.Plot{Title: what, Note: note, Panels: []plot.Panel{panel}}, nil
}

// aroundZero gives the range of an axis on which values from least to most are seen, and a peak without a sign of its own on the side to
// which they go.
func aroundZero(most, least, peak float64) (top, bottom, signed float64) {
	top, bottom = max(most, 0), max(-least, 0)
	signed = peak
	side := &top
	if bottom > 2*top {
		side, signed = &bottom, -peak
	}
	if peak < 30**side {
		*side = max(*side, peak)
	}
	largest := 1.1 * max(top, bottom)
	step := round125(largest) / 10
	up := func(v float64) float64 { return step * math.Ceil(max(1.1*v, largest/6)/step) }
	return up(top), -up(bottom), signed
}

// seq counts from first on.
func seq(first float64, n int, step float64) []float64 {
	s := make([]float64, n)
	for i := range s {
		s[i] = first + float64(i)*step
	}
	return s
}

// halves is the middle of each pair.
func halves(a, b []float64) []float64 {
	s := make([]float64, len(a))
	for i := range a {
		s[i] = (a[i] + b[i]) / 2
	}
	return s
}

// across gives the lowest, the middle and the highest of several runs at each second.
func across(runs [][]float64, from, n int) (low, mid, high []float64) {
	v := make([]float64, len(runs))
	for t := from; t < from+n; t++ {
		for i := range runs {
			v[i] = 0
			if t < len(runs[i]) {
				v[i] = runs[i][t]
			}
		}
		slices.Sort(v)
		low, mid, high = append(low, v[0]), append(mid, v[len(v)/2]), append(high, v[len(v)-1])
	}
	return low, mid, high
}
