package system

import (
	"testing"
	"time"

	"ntp-daemon/internal/ntp"
)

// TestK09_Leap: who says so, and when.
func TestK09_Leap(t *testing.T) {
	lastDay := time.Date(2026, 6, 30, 12, 0, 0, 0, time.UTC)
	for _, row := range []struct {
		name  string
		start time.Time
		votes [4]ntp.LeapIndicator
		want  ntp.LeapIndicator
	}{
		{"one of four", lastDay, [4]ntp.LeapIndicator{1, 0, 0, 0}, 0},
		{"two of four", lastDay, [4]ntp.LeapIndicator{1, 1, 0, 0}, 0},
		{"three of four", lastDay, [4]ntp.LeapIndicator{1, 1, 1, 0}, 1},
		{"deleted second, all", lastDay, [4]ntp.LeapIndicator{2, 2, 2, 2}, 2},
		{"divided", lastDay, [4]ntp.LeapIndicator{1, 1, 2, 2}, 0},
		{"S25 the day before", lastDay.AddDate(0, 0, -1), [4]ntp.LeapIndicator{1, 1, 1, 1}, 0},
		{"S25 end of March", time.Date(2026, 3, 31, 12, 0, 0, 0, time.UTC), [4]ntp.LeapIndicator{1, 1, 1, 1}, 0},
		{"S25 end of December", time.Date(2026, 12, 31, 12, 0, 0, 0, time.UTC), [4]ntp.LeapIndicator{1, 1, 1, 1}, 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := newBench(t, row.start, nil)
			b.add(1, 2, 3, 4)
			b.poll(8, func(m *ntp.Measurement) { m.Leap = row.votes[m.Source-1] }, 1, 2, 3, 4)
			if b.view.Leap != row.want {
				t.Errorf("leap %v, want %v", b.view.Leap, row.want)
			}
			b.poll(4, nil, 1, 2, 3, 4)
			if b.view.Leap != ntp.LeapNone {
				t.Errorf("withdrawn, still %v", b.view.Leap)
			}
		})
	}
}

// TestS25_ClearedAfterwards: the warning ends with its day even if the sources keep giving it, and samples close
// to the second do not count (K10).
func TestS25_ClearedAfterwards(t *testing.T) {
	b := newBench(t, time.Date(2026, 6, 30, 23, 59, 0, 0, time.UTC), nil)
	b.add(1)
	warn := func(m *ntp.Measurement) { m.Leap = ntp.LeapInsert }
	b.poll(57, warn, 1)
	if b.view.Leap != ntp.LeapInsert || b.sys.Report().InLeap != 0 {
		t.Fatalf("leap %v, %d samples dropped", b.view.Leap, b.sys.Report().InLeap)
	}
	b.poll(7, warn, 1)
	if n := b.sys.Report().InLeap; n < 3 || n > 5 {
		t.Errorf("%d samples dropped around the second", n)
	}
	b.poll(3, warn, 1)
	if b.view.Leap != ntp.LeapNone {
		t.Errorf("leap %v on the next day", b.view.Leap)
	}
}

// TestK09_FalsetickersDoNotVote: two of the three sources that agree announce a leap second; two that are ten seconds
// off do not.
func TestK09_FalsetickersDoNotVote(t *testing.T) {
	b := newBench(t, time.Date(2026, 6, 30, 12, 0, 0, 0, time.UTC), nil)
	b.add(1, 2, 3, 4, 5)
	b.poll(8, func(m *ntp.Measurement) {
		if m.Source <= 2 {
			m.Leap = ntp.LeapInsert
		}
		if m.Source >= 4 {
			m.TrueGap += 10 * sec
		}
	}, 1, 2, 3, 4, 5)
	if b.view.Leap != ntp.LeapInsert {
		t.Errorf("leap %v", b.view.Leap)
	}
}

// TestK09_DecidedBeforeTheSecond: within two seconds of the leap nothing is armed or disarmed any more.
func TestK09_DecidedBeforeTheSecond(t *testing.T) {
	midnight := time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)
	for _, row := range []struct {
		from time.Duration
		want ntp.LeapIndicator
	}{{-3 * sec, ntp.LeapNone}, {-sec, ntp.LeapInsert}, {0, ntp.LeapInsert}, {sec, ntp.LeapInsert}, {3 * sec, ntp.LeapNone}} {
		l := leap{armed: ntp.LeapInsert}
		l.update(ntp.LeapNone, ntp.FromTime(midnight.Add(row.from)), midnight)
		if l.armed != row.want {
			t.Errorf("%v from midnight: %v, want %v", row.from, l.armed, row.want)
		}
	}
}

func TestLeapDay(t *testing.T) {
	for day := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC); day.Year() == 2026; day = day.AddDate(0, 0, 1) {
		want := day.YearDay() == 181 || day.YearDay() == 365
		if leapDay(day) != want {
			t.Errorf("%v: %v", day, !want)
		}
	}
}
