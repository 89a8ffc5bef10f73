// Package units shows quantities as a reader wants them, in the same words in every program.
package units

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

// Seconds shows a time in s as a reader wants it: 12.3 µs, 250 ms, 1.50 s. Below 1 ns it is 0 s.
func Seconds(v float64) string {
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

// Signed is Seconds with a sign, which a difference of clocks always has.
func Signed(v float64) string {
	s := Seconds(v)
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

// Span shows how long something lasts, coarsely: 45 s, 3 min 20 s, 5 h 2 min, 12 d 4 h.
func Span(d time.Duration) string {
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
