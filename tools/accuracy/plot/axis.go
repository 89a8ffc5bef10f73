package plot

import (
	"math"
	"strconv"
)

// tick is a place on an axis.
type tick struct {
	at    float64
	label string // empty: without a label
	fine  bool   // between two others
}

// at is where a value lies between the ends of the axis, 0 to 1; beyond them it is their end.
func (a *Axis) at(v float64) float64 {
	if a.Log {
		if !(v > a.Min) {
			return 0
		}
		return min(math.Log10(v/a.Min)/math.Log10(a.Max/a.Min), 1)
	}
	return min(max((v-a.Min)/(a.Max-a.Min), 0), 1)
}

// ticks are about as many places as wanted: on a linear axis multiples of 1, 2 or 5, on a logarithmic one the decades, and the
// multiples between them while there are few decades.
func (a *Axis) ticks(wanted int) (list []tick) {
	format := a.Format
	if format == nil {
		format = func(v float64) string { return strconv.FormatFloat(v, 'g', 6, 64) }
	}
	if a.Names != nil {
		for i, n := range a.Names {
			list = append(list, tick{at: float64(i), label: n})
		}
		return list
	}
	if a.Log {
		return a.decades(wanted, format)
	}
	step := niceStep((a.Max - a.Min) / float64(wanted))
	for i := math.Ceil(a.Min/step - 1e-9); i*step <= a.Max+step*1e-9; i++ {
		v := i * step
		if i == 0 {
			v = 0 // not -0
		}
		list = append(list, tick{at: v, label: format(rounded(v))})
	}
	return list
}

func (a *Axis) decades(wanted int, format func(float64) string) (list []tick) {
	first, last := math.Floor(math.Log10(a.Min)+1e-9), math.Ceil(math.Log10(a.Max)-1e-9)
	every := max(int(math.Ceil((last-first)/float64(wanted))), 1)
	few := last-first <= 2
	for d := first; d <= last; d++ {
		for m := 1.; m <= 9; m++ {
			v := rounded(m * math.Pow(10, d))
			if v < a.Min*(1-1e-9) || v > a.Max*(1+1e-9) {
				continue
			}
			t := tick{at: v, fine: m != 1}
			if m == 1 && (int(d-first)%every == 0) || few && (m == 2 || m == 5) {
				t.label = format(v)
			}
			if m == 1 || last-first <= 5 {
				list = append(list, t)
			}
		}
	}
	return list
}

// niceStep is the next larger one of 1, 2 and 5 times a power of ten.
func niceStep(least float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(least)))
	for _, m := range []float64{1, 2, 5, 10} {
		if m*power >= least*(1-1e-9) {
			return m * power
		}
	}
	return 10 * power
}

// rounded takes the dust off a product of decimal numbers.
func rounded(v float64) float64 {
	r, _ := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 12, 64), 64)
	return r
}
