package ctl

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// significant is the number of digits that a quantity is shown with; more would be noise to a reader.
const significant = 3

// scales are the units that a time is shown in, largest first.
var scales = []struct {
	size float64
	name string
}{{1, "s"}, {1e-3, "ms"}, {1e-6, "µs"}, {1e-9, "ns"}}

// secs shows a time in s as a reader wants it: 12.3 µs, 250 ms, 1.50 s. Below 1 ns it is 0 s.
func secs(v float64) string {
	switch {
	case math.IsNaN(v) || math.IsInf(v, 0):
		return "-"
	case math.Abs(v) < 0.5e-9:
		return "0 s"
	}
	for _, u := range scales {
		// 0.9995 ms and more would round to 1000 µs, so the larger unit takes over there.
		if math.Abs(v) >= u.size*(1-0.5*math.Pow10(-significant)) || u.size == 1e-9 {
			return digits(v/u.size) + " " + u.name
		}
	}
	return "0 s"
}

// signed is secs with a sign, which a difference of clocks always has.
func signed(v float64) string {
	s := secs(v)
	if v > 0 && s != "0 s" && s != "-" {
		return "+" + s
	}
	return s
}

// digits writes three significant digits without exponent, more before the point if need be.
func digits(v float64) string {
	if v == 0 {
		return "0"
	}
	before := int(math.Floor(math.Log10(math.Abs(v)))) + 1
	s := strconv.FormatFloat(v, 'f', max(significant-before, 0), 64)
	// 9.996 has one digit before the point and rounds to 10.00, which has two.
	if rounded, err := strconv.ParseFloat(s, 64); err == nil && rounded != 0 {
		if b := int(math.Floor(math.Log10(math.Abs(rounded)))) + 1; b > before {
			s = strconv.FormatFloat(v, 'f', max(significant-b, 0), 64)
		}
	}
	return s
}

// ppm shows a rate in s/s as parts per million.
func ppm(v float64) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return "-"
	}
	s := strconv.FormatFloat(v*1e6, 'f', 3, 64)
	if s == "-0.000" {
		s = "0.000"
	}
	if v > 0 && s != "0.000" {
		s = "+" + s
	}
	return s + " ppm"
}

// bare is ppm for a size, which has no sign.
func bare(v float64) string { return strings.TrimPrefix(ppm(math.Abs(v)), "+") }

// span shows how long something lasts, coarsely: 45 s, 3 min 20 s, 5 h 2 min, 12 d 4 h.
func span(d time.Duration) string {
	d = d.Round(time.Second)
	units := []struct {
		size time.Duration
		name string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "min"}, {time.Second, "s"}}
	var parts []string
	for _, u := range units {
		if n := d / u.size; n > 0 && len(parts) < 2 {
			parts = append(parts, fmt.Sprintf("%d %s", n, u.name))
			d -= n * u.size
		} else if len(parts) == 1 {
			break
		}
	}
	if len(parts) == 0 {
		return "0 s"
	}
	return strings.Join(parts, " ")
}

// interval shows a poll exponent.
func interval(exp int8) string {
	if exp >= 0 {
		return strconv.FormatFloat(math.Ldexp(1, int(exp)), 'f', -1, 64) + " s"
	}
	return secs(math.Ldexp(1, int(exp)))
}

// clean keeps what came from elsewhere from moving the terminal's cursor.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r >= 0x7f && r < 0xa0 || r == '\u2028' || r == '\u2029' || r == '\ufffd' {
			return '?'
		}
		return r
	}, s)
}

// parseFrequency reads a limit such as 3ppm, 0.5 ppm, 100ppb or, without unit, parts per million. The result is
// in s/s and not negative.
func parseFrequency(s string) (float64, error) {
	text, scale := strings.TrimSpace(s), 1e-6
	if t, ok := strings.CutSuffix(text, "ppb"); ok {
		text, scale = t, 1e-9
	} else if t, ok := strings.CutSuffix(text, "ppm"); ok {
		text = t
	}
	v, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) || v < 0 {
		return 0, fmt.Errorf("%q is no frequency; write for example 3ppm or 500ppb", s)
	}
	return v * scale, nil
}
