package plot

import "math"

// Envelope reduces a series, whose values are step apart from first on, to the lowest and highest value of each of n equal
// parts of from…to. Parts without a value, or with none but NaN, are left out.
func Envelope(values []float64, first, step, from, to float64, n int) (x, low, high []float64) {
	width := (to - from) / float64(n)
	part, l, h := -1, math.Inf(1), math.Inf(-1)
	end := func() {
		if part >= 0 && l <= h {
			x, low, high = append(x, from+(float64(part)+0.5)*width), append(low, l), append(high, h)
		}
		l, h = math.Inf(1), math.Inf(-1)
	}
	for i, v := range values {
		t := first + float64(i)*step
		if t < from || t >= to || math.IsNaN(v) {
			continue
		}
		if p := min(int((t-from)/width), n-1); p != part {
			end()
			part = p
		}
		l, h = min(l, v), max(h, v)
	}
	end()
	return x, low, high
}
