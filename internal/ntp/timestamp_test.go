package ntp

import (
	"math"
	"math/big"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// window is the largest difference that Sub promises to get right, less one nanosecond.
const window = 1<<31*time.Second - 1

func drawTimestamp(t *rapid.T, label string) Timestamp {
	return Timestamp(rapid.Uint64().Draw(t, label))
}

func drawDuration(t *rapid.T, label string) time.Duration {
	return time.Duration(rapid.Int64Range(-int64(window), int64(window)).Draw(t, label))
}

// TestTimestamp_AddSub: adding a difference and taking it again is exact, at every point of every era.
func TestTimestamp_AddSub(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		at, d := drawTimestamp(t, "t"), drawDuration(t, "d")
		if got := at.Add(d).Sub(at); got != d {
			t.Fatalf("%#x + %v - itself = %v", uint64(at), d, got)
		}
		if got := at.Sub(at.Add(d)); got != -d {
			t.Fatalf("%#x - (itself + %v) = %v", uint64(at), d, got)
		}
		if got := at.Add(d).Add(-d); got != at {
			t.Fatalf("%#x + %v - %v = %#x", uint64(at), d, d, uint64(got))
		}
		if at.Add(d).Before(at) != (d < 0) {
			t.Fatalf("%#x + %v on the wrong side", uint64(at), d)
		}
	})
}

// TestTimestamp_SubExact compares with exact arithmetic, rounded to nearest.
func TestTimestamp_SubExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawTimestamp(t, "a"), drawTimestamp(t, "b")
		exact := new(big.Rat).SetFrac(new(big.Int).Mul(big.NewInt(int64(a-b)), big.NewInt(1e9)), new(big.Int).Lsh(big.NewInt(1), 32))
		diff := exact.Sub(exact, new(big.Rat).SetInt64(int64(a.Sub(b))))
		if diff.Abs(diff).Cmp(big.NewRat(1, 2)) > 0 {
			t.Fatalf("%#x - %#x = %d ns, wrong by %v ns", uint64(a), uint64(b), a.Sub(b), diff.FloatString(3))
		}
	})
}

func TestTimestamp_Extremes(t *testing.T) {
	for _, d := range []int64{math.MinInt64, math.MinInt64 + 1, -1, 0, 1, math.MaxInt64} {
		_ = Timestamp(0).Add(time.Duration(d)) // no panic; what does not fit wraps by whole eras
		_ = Timestamp(uint64(d)).Sub(0)
	}
	if got := Timestamp(1 << 63).Sub(0); got != -(1<<31)*time.Second {
		t.Errorf("half a period is %v", got)
	}
	if !Timestamp(0).IsZero() || Timestamp(1).IsZero() {
		t.Error("only 0 is unknown")
	}
}

// TestTimestamp_EraWrap: across 2036-02-07T06:28:16Z a later reading is a smaller number.
func TestTimestamp_EraWrap(t *testing.T) {
	before := FromTime(time.Date(2036, 2, 7, 6, 28, 10, 0, time.UTC))
	after := FromTime(time.Date(2036, 2, 7, 6, 28, 40, 500e6, time.UTC))
	if after >= before {
		t.Fatal("the era did not wrap")
	}
	if got := after.Sub(before); got != 30500*time.Millisecond {
		t.Errorf("Sub %v", got)
	}
	if got := before.Add(30500 * time.Millisecond); got != after {
		t.Errorf("Add %#x, want %#x", uint64(got), uint64(after))
	}
	if !before.Before(after) || after.Before(before) {
		t.Error("Before does not see the wrap")
	}
}

// buildDate stands for the pivot of the suite.
var buildDate = time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC)

// TestC33_Pivot: the moments that break other implementations come back as themselves when they are within
// 68 years of the pivot, and exactly one era off when they are not.
func TestC33_Pivot(t *testing.T) {
	era := 1 << 32 * time.Second
	for _, c := range []struct {
		name  string
		at    time.Time
		pivot time.Time
		shift int // eras between the moment and what Time returns
	}{
		{"build date", buildDate, buildDate, 0},
		{"1970", time.Unix(0, 0), buildDate, 0},
		{"1969", time.Unix(-1, 0), buildDate, 0},
		{"last second of era 0", time.Date(2036, 2, 7, 6, 28, 15, 999999999, time.UTC), buildDate, 0},
		{"first second of era 1", time.Date(2036, 2, 7, 6, 28, 16, 0, time.UTC), buildDate, 0},
		{"31 bits of Unix time", time.Date(2038, 1, 19, 3, 14, 8, 0, time.UTC), buildDate, 0},
		{"end of the window", time.Date(2094, 11, 1, 0, 0, 0, 0, time.UTC), buildDate, 0},
		{"2100", time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC), buildDate, -1},
		{"2106", time.Date(2106, 2, 7, 6, 28, 16, 0, time.UTC), buildDate, -1},
		{"2106 with a later build", time.Date(2106, 2, 7, 6, 28, 16, 0, time.UTC), time.Date(2060, 1, 1, 0, 0, 0, 0, time.UTC), 0},
		{"1958", time.Date(1958, 1, 1, 0, 0, 0, 0, time.UTC), buildDate, 1},
		{"1900", time.Date(1900, 1, 1, 0, 0, 0, 1, time.UTC), buildDate, 1},
		{"with a monotonic pivot", buildDate, time.Now(), 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := FromTime(c.at).Time(c.pivot)
			want := c.at.Add(time.Duration(c.shift) * era)
			if d := got.Sub(want); d < -1 || d > 1 {
				t.Errorf("%v, want %v", got.UTC(), want.UTC())
			}
		})
	}
}

func TestC33_PivotWindow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pivot := time.Unix(rapid.Int64Range(-3e9, 1e10).Draw(t, "pivot"), rapid.Int64Range(0, 999999999).Draw(t, "ns"))
		at := pivot.Add(drawDuration(t, "d"))
		if d := FromTime(at).Time(pivot).Sub(at); d < -1 || d > 1 {
			t.Fatalf("pivot %v: %v came back %v off", pivot, at, d)
		}
	})
}

func TestFromUnix(t *testing.T) {
	for _, c := range []struct {
		sec, nsec int64
		want      Timestamp
	}{
		{0, 0, 0x83AA7E80_00000000}, // RFC 5905 figure 4: 1970-01-01
		{0, 500_000_000, 0x83AA7E80_80000000},
		{0, 1, 0x83AA7E80_00000004},
		{0, 999_999_999, 0x83AA7E80_FFFFFFFC},
		{-2208988800, 0, 0},
		{2085978496, 0, 0}, // 2036-02-07T06:28:16Z
		{2085978495, 999_999_999, 0xFFFFFFFF_FFFFFFFC},
	} {
		if got := FromUnix(c.sec, c.nsec); got != c.want {
			t.Errorf("FromUnix(%d, %d) = %#x, want %#x", c.sec, c.nsec, uint64(got), uint64(c.want))
		}
	}
}

func TestShort(t *testing.T) {
	for _, c := range []struct {
		d    time.Duration
		want Short
	}{
		{math.MinInt64, 0}, {-1, 0}, {0, 0}, {1, 1}, {15258, 1}, {15259, 2}, {time.Second, 1 << 16},
		{time.Second + 1, 1<<16 + 1}, {65535 * time.Second, 65535 << 16}, {65536 * time.Second, math.MaxUint32},
		{1 << 17 * time.Second, math.MaxUint32}, {math.MaxInt64, math.MaxUint32},
	} {
		if got := ShortFrom(c.d); got != c.want {
			t.Errorf("ShortFrom(%d) = %#x, want %#x", c.d, uint32(got), uint32(c.want))
		}
	}
	if got := Short(math.MaxUint32).Duration(); got != 65536*time.Second-15259 {
		t.Errorf("the largest value is %d ns", got)
	}
}

// TestShort_NeverShrinks: an error bound that travels is at least what it was, and less than 15.3 µs more.
func TestShort_NeverShrinks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := time.Duration(rapid.Int64Range(0, int64(65535*time.Second)).Draw(t, "d"))
		s := ShortFrom(d)
		if uint64(s)*1e9 < uint64(d)<<16 {
			t.Fatalf("%v became %v", d, s.Duration())
		}
		if s.Duration()-d > 15259 {
			t.Fatalf("%v became %v", d, s.Duration())
		}
	})
}

// TestC12_PollAndPrecision: whatever a packet claims, the interval and the precision stay in their bounds.
func TestC12_PollAndPrecision(t *testing.T) {
	var lastPoll, lastPrecision time.Duration
	for v := math.MinInt8; v <= math.MaxInt8; v++ {
		p := PollExp(v)
		if c := p.Clamp(); c < MinPollExp || c > MaxPollExp || v >= int(MinPollExp) && v <= int(MaxPollExp) && c != p {
			t.Errorf("PollExp(%d).Clamp() = %d", v, c)
		}
		if d := p.Duration(); d < lastPoll || d < 15625*time.Microsecond || d > 131072*time.Second {
			t.Errorf("PollExp(%d) is %v after %v", v, d, lastPoll)
		} else {
			lastPoll = d
		}
		if d := PrecisionExp(v).Duration(); d < lastPrecision || d < 1 || d > time.Second {
			t.Errorf("PrecisionExp(%d) is %v after %v", v, d, lastPrecision)
		} else {
			lastPrecision = d
		}
	}
	if d := PollExp(6).Duration(); d != 64*time.Second {
		t.Errorf("poll 6 is %v", d)
	}
	if d := PollExp(-1).Duration(); d != 500*time.Millisecond {
		t.Errorf("poll -1 is %v", d)
	}
	if d := PrecisionExp(-20).Duration(); d != 953 {
		t.Errorf("precision -20 is %v", d)
	}
}
