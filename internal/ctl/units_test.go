package ctl

import (
	"math"
	"strings"
	"testing"
)

func TestPPM(t *testing.T) {
	for v, want := range map[float64]string{0: "0.000 ppm", 50e-6: "+50.000 ppm", -12.3456e-6: "-12.346 ppm", -1e-11: "0.000 ppm", math.Inf(1): "-"} {
		if got := ppm(v); got != want {
			t.Errorf("%v: %q, want %q", v, got, want)
		}
	}
}

func TestParseFrequency(t *testing.T) {
	for s, want := range map[string]float64{"3ppm": 3e-6, "0.5 ppm": 5e-7, "100ppb": 1e-7, "2": 2e-6} {
		if got, err := parseFrequency(s); err != nil || math.Abs(got-want) > 1e-15 {
			t.Errorf("%q: %v, %v; want %v", s, got, err, want)
		}
	}
	for _, s := range []string{"", "ppm", "-1ppm", "nan", "infppm", "3 apples"} {
		if _, err := parseFrequency(s); err == nil {
			t.Errorf("%q accepted", s)
		}
	}
}

func TestTable_ColourDoesNotMoveColumns(t *testing.T) {
	rows := [][]cell{{left("µs").in(good), right("1"), left("x")}, {left("long"), right("1000").in(bad), left("")}}
	want := "µs       1  x\nlong  1000\n"
	if got := table(rows, "", false); got != want {
		t.Errorf("plain %q, want %q", got, want)
	}
	stripped := strings.NewReplacer("\x1b[32m", "", "\x1b[31m", "", "\x1b[0m", "").Replace(table(rows, "", true))
	if stripped != want {
		t.Errorf("coloured without colours %q, want %q", stripped, want)
	}
}

func TestClean(t *testing.T) {
	if got := clean("a\x1b[31m\nb\u009bc\u2028"); got != "a?[31m?b?c?" {
		t.Errorf("%q", got)
	}
}
