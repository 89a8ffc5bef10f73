package poolke

import (
	"fmt"
	"strings"
	"testing"

	"ntp-daemon/internal/observe"
)

// TestShares: what the choice aims at, in turn and by weight, with those left out that cannot be handed out.
func TestShares(t *testing.T) {
	list := func() []observe.PoolServer {
		users := []string{"ipv4", "ipv6"}
		return []observe.PoolServer{
			{Weight: 1, Families: users, Breaker: observe.BreakerClosed}, {Weight: 3, Families: users, Breaker: observe.BreakerTrial},
			{Weight: 4, Families: users, Breaker: observe.BreakerOpen}, {Weight: 0, Families: users, Breaker: observe.BreakerClosed},
		}
	}
	for _, tt := range []struct {
		selection string
		lately    []uint64
		want      string
	}{
		{selectRoundRobin, []uint64{6, 3, 1, 0}, "0.60/0.50 0.30/0.50 0.10/0.00 0.00/0.00"},
		{selectWeighted, []uint64{0, 0, 0, 0}, "-/0.25 -/0.75 -/0.00 -/0.00"},
		{"latency", []uint64{1, 3, 0, 0}, "0.25/- 0.75/- 0.00/- 0.00/-"},
	} {
		servers := list()
		observeShares(tt.selection, servers, tt.lately)
		var got []string
		for _, s := range servers {
			got = append(got, shown(s.Share)+"/"+shown(s.Expected))
		}
		if text := strings.Join(got, " "); text != tt.want {
			t.Errorf("%s: %s, want %s", tt.selection, text, tt.want)
		}
	}
	none := []observe.PoolServer{{Weight: 1, Breaker: observe.BreakerOpen}}
	if observeShares(selectRoundRobin, none, []uint64{0}); none[0].Expected != nil || none[0].Share != nil {
		t.Errorf("nobody to choose: %+v", none[0])
	}
}

func shown(v *float64) string {
	if v == nil {
		return "-"
	}
	return fmt.Sprintf("%.2f", *v)
}

// TestServedMarks: lately reaches back to the start at first, and then five minutes.
func TestServedMarks(t *testing.T) {
	var u upstream
	for minute := range 12 {
		want := uint64(10 * minute)
		if minute >= recentMinutes {
			want = 10 * (recentMinutes - 1)
		}
		if got := u.lately(); got != want {
			t.Errorf("minute %d: %d, want %d", minute, got, want)
		}
		u.tally[Served].Add(10)
		u.markMinute()
	}
}
