// One goroutine decides everything here: the race detector finds nothing in ten times the time (docs/testing.md).

//go:build !race

package sim

import (
	"fmt"
	"math"
	"testing"
	"time"

	"ntp-daemon/internal/ntp"
)

// TestStart_BesideTheLinearOptimum: in the first minute and in the nine after it the clock, not only the estimate, is about as good as what a filter
// says that knows the noise, and far better than that where delays tell it. Delays in steps are those of packets that wait for the tick of a
// clock: the shortest round trips, which were lucky on one way, are the worst.
func TestStart_BesideTheLinearOptimum(t *testing.T) {
	const inSteps = "(+ 0.00215 (* 6e-5 (exponential)) (* -0.001 (equal 0.18 (uniform) 0)) (* 0.001 (equal 0.07 (uniform) 0)))"
	const exponential = "(+ 0.001 (* 3e-4 (exponential)))"
	for _, row := range []struct {
		name     string
		delay    string
		sigma    float64 // of the offset of a sample, s
		min, max ntp.PollExp
		limit    [2]float64 // of the first minute from second 20 on, and after it, in units of that filter's error
	}{
		{"exponential, 1 to 4 s", exponential, 212e-6, 0, 2, [2]float64{0.8, 0.5}},
		{"exponential, 16 s", exponential, 212e-6, 4, 4, [2]float64{0.82, 0.65}},
		{"in steps, 1 to 4 s", inSteps, 345e-6, 0, 2, [2]float64{1.48, 1.35}},
		{"in steps, 16 s", inSteps, 345e-6, 4, 4, [2]float64{1.42, 1.38}},
	} {
		t.Run(row.name, func(t *testing.T) {
			var ours, best [2]float64
			for seed := range uint64(100) {
				w := Scenario{Seed: seed + 1, ClientOffset: -50 * ms, ClientFreq: -20e-6, Wander: -1, Polls: true, PollMin: row.min, PollMax: row.max}.Build()
				c, filter := w.Clients[0], newOracle(1e-10, row.sigma*row.sigma)
				for i, l := range []*link{c.assocs[0].out, c.assocs[0].back} {
					e, err := ParseExpr(row.delay, Origin{Seed: seed, Scenario: row.name, Name: fmt.Sprint(i), Delay: true})
					if err != nil {
						t.Fatal(err)
					}
					l.Expr = e
				}
				w.sampled = filter.sample
				w.second = func() {
					if w.seconds < 20 {
						return
					}
					local := c.osc.read(w.now)
					late := 0
					if w.seconds >= 60 {
						late = 1
					}
					o, e := c.Offset().Seconds(), float64(w.now-local)*1e-9-(filter.x+(float64(local)*1e-9-filter.at)*filter.y)
					ours[late] += o * o
					best[late] += e * e
				}
				w.RunFor(10 * time.Minute)
			}
			for i, part := range []string{"first minute", "then"} {
				ratio := math.Sqrt(ours[i] / best[i])
				t.Logf("%s: %.2f times what the filter is off", part, ratio)
				if ratio > row.limit[i] {
					t.Errorf("%s: %.2f times what the filter is off, limit %g", part, ratio, row.limit[i])
				}
			}
		})
	}
}
