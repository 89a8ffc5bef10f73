package units

import (
	"math"
	"testing"
	"time"
)

func TestSeconds(t *testing.T) {
	for _, tt := range []struct {
		v    float64
		want string
	}{
		{0, "0 s"}, {1e-10, "0 s"}, {1e-9, "1.00 ns"}, {12.34e-9, "12.3 ns"}, {999.4e-9, "999 ns"}, {999.6e-9, "1.00 µs"},
		{12.345e-6, "12.3 µs"}, {9.996e-6, "10.0 µs"}, {0.25, "250 ms"}, {0.9996, "1.00 s"}, {1.5, "1.50 s"}, {1234.5, "1234 s"},
		{-0.25, "-250 ms"}, {-3e-6, "-3.00 µs"}, {math.NaN(), "-"}, {math.Inf(1), "-"},
	} {
		if got := Seconds(tt.v); got != tt.want {
			t.Errorf("%v: %q, want %q", tt.v, got, tt.want)
		}
	}
	if got := Signed(2e-3); got != "+2.00 ms" {
		t.Error(got)
	}
	if got := Signed(1e-12); got != "0 s" {
		t.Error(got)
	}
}

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0 s", 400 * time.Millisecond: "0 s", 45 * time.Second: "45 s", 200 * time.Second: "3 min 20 s", time.Hour: "1 h",
		time.Hour + 5*time.Second: "1 h", 5*time.Hour + 2*time.Minute: "5 h 2 min", 100*time.Hour + 59*time.Second: "4 d 4 h",
	} {
		if got := Span(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}
