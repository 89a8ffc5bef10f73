package ctl

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode"

	"ntp-daemon/internal/units"
)

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

// interval shows a poll exponent.
func interval(exp int8) string {
	if exp >= 0 {
		return strconv.FormatFloat(math.Ldexp(1, int(exp)), 'f', -1, 64) + " s"
	}
	return units.Seconds(math.Ldexp(1, int(exp)))
}

// clean keeps what came from elsewhere from moving the terminal's cursor, and from changing the direction of what follows.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r >= 0x7f && r < 0xa0 || r == '\u2028' || r == '\u2029' || r == '\ufffd' || unicode.Is(unicode.Cf, r) {
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
