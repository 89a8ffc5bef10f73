package ctl

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestSecs(t *testing.T) {
	for _, tt := range []struct {
		v    float64
		want string
	}{
		{0, "0 s"}, {1e-10, "0 s"}, {1e-9, "1.00 ns"}, {12.34e-9, "12.3 ns"}, {999.4e-9, "999 ns"}, {999.6e-9, "1.00 µs"},
		{12.345e-6, "12.3 µs"}, {9.996e-6, "10.0 µs"}, {0.25, "250 ms"}, {0.9996, "1.00 s"}, {1.5, "1.50 s"}, {1234.5, "1234 s"},
		{-0.25, "-250 ms"}, {-3e-6, "-3.00 µs"}, {math.NaN(), "-"}, {math.Inf(1), "-"},
	} {
		if got := secs(tt.v); got != tt.want {
			t.Errorf("%v: %q, want %q", tt.v, got, tt.want)
		}
	}
	if got := signed(2e-3); got != "+2.00 ms" {
		t.Error(got)
	}
	if got := signed(1e-12); got != "0 s" {
		t.Error(got)
	}
}

func TestPPM(t *testing.T) {
	for v, want := range map[float64]string{0: "0.000 ppm", 50e-6: "+50.000 ppm", -12.3456e-6: "-12.346 ppm", -1e-11: "0.000 ppm", math.Inf(1): "-"} {
		if got := ppm(v); got != want {
			t.Errorf("%v: %q, want %q", v, got, want)
		}
	}
}

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0 s", 400 * time.Millisecond: "0 s", 45 * time.Second: "45 s", 200 * time.Second: "3 min 20 s", time.Hour: "1 h",
		time.Hour + 5*time.Second: "1 h", 5*time.Hour + 2*time.Minute: "5 h 2 min", 100*time.Hour + 59*time.Second: "4 d 4 h",
	} {
		if got := span(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
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
