package plot

import (
	"bytes"
	"math"
	"slices"
	"strings"
	"testing"
)

func labels(list []tick) (s []string) {
	for _, t := range list {
		if t.label != "" {
			s = append(s, t.label)
		}
	}
	return s
}

func TestTicks(t *testing.T) {
	for _, row := range []struct {
		axis Axis
		want []string
	}{
		{Axis{Min: -40, Max: 40}, []string{"-40", "-20", "0", "20", "40"}},
		{Axis{Min: 0, Max: 24}, []string{"0", "5", "10", "15", "20"}},
		{Axis{Min: -0.3, Max: 0.3}, []string{"-0.2", "0", "0.2"}},
		{Axis{Min: 1, Max: 1e4, Log: true}, []string{"1", "10", "100", "1000", "10000"}},
		{Axis{Min: 0.5, Max: 8, Log: true}, []string{"0.5", "1", "2", "5"}},
		{Axis{Min: 1e-12, Max: 1, Log: true}, []string{"1e-12", "1e-09", "1e-06", "0.001", "1"}},
		{Axis{Min: -1, Max: 2, Names: []string{"a", "b"}}, []string{"a", "b"}},
	} {
		if got := labels(row.axis.ticks(5)); !slices.Equal(got, row.want) {
			t.Errorf("%+v: %v, want %v", row.axis, got, row.want)
		}
	}
}

func TestAxis(t *testing.T) {
	a := Axis{Min: 1, Max: 100, Log: true}
	for v, want := range map[float64]float64{1: 0, 10: 0.5, 100: 1, 1e9: 1, 0: 0, -5: 0} {
		if got := a.at(v); math.Abs(got-want) > 1e-12 {
			t.Errorf("%g lies at %g, want %g", v, got, want)
		}
	}
	a = Axis{Min: -1, Max: 3}
	if a.at(0) != 0.25 || a.at(-9) != 0 || a.at(9) != 1 {
		t.Errorf("%g %g %g", a.at(0), a.at(-9), a.at(9))
	}
}

func TestEnvelope(t *testing.T) {
	v := []float64{9, 1, -2, 5, math.NaN(), 3, 4, 100}
	x, low, high := Envelope(v, 0, 1, 1, 7, 3)
	if !slices.Equal(x, []float64{2, 4, 6}) || !slices.Equal(low, []float64{-2, 5, 3}) || !slices.Equal(high, []float64{1, 5, 4}) {
		t.Errorf("%v %v %v", x, low, high)
	}
}

func sample() *Plot {
	return &Plot{Title: "a < b", Note: "note", Panels: []Panel{{
		Height: 100, X: Axis{Label: "s", Min: 0, Max: 4}, Y: Axis{Label: "µs", Min: 0, Max: 10},
		Layers: []Layer{
			{Kind: Band, Tone: Bound, Name: "band", X: []float64{0, 4}, Low: []float64{1, 1}, High: []float64{5, 6}},
			{Kind: Line, Tone: Ours, Name: "line", X: []float64{0, 1, 2, 3, 4}, High: []float64{2, 2, 2, 2, 8}},
			{Kind: Level, Tone: Theirs, High: []float64{50}},
			{Kind: Mark, Tone: Moment, X: []float64{1}}, {Kind: Dots, Tone: Limit, X: []float64{1}, High: []float64{1}},
			{Kind: Bars, Tone: Second, X: []float64{3, 1}, Low: []float64{2}, High: []float64{3, 4}, Labels: []string{"up", "down"}},
			{Kind: Trail, Tone: Ours},
		},
	}}}
}

// TestSVG: the same bytes each time, text escaped, points in line left out, nothing beyond the plotting area.
func TestSVG(t *testing.T) {
	text := sample().SVG()
	if !bytes.Equal(text, sample().SVG()) {
		t.Error("two pictures of the same plot")
	}
	s := string(text)
	for _, part := range []string{
		"<title>a &lt; b</title>", `class="l ours" d="M84 159.8L619.5 159.8L798 99.8"`, `text-anchor="end">down<`, ">up<", "prefers-color-scheme:dark",
		`class="l theirs" d="M84 79.8H798"`,
	} {
		if !strings.Contains(s, part) {
			t.Errorf("%s is missing in\n%s", part, s)
		}
	}
	if strings.Contains(s, "NaN") {
		t.Error("no number")
	}
}
