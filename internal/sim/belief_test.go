package sim

import (
	"math"
	"testing"
	"time"
)

// TestBelief: what is being slewed out is no error of the estimate, and everything else is.
func TestBelief(t *testing.T) {
	w := polls(Scenario{Seed: 3, ClientOffset: 100 * ms, ClientFreq: 20e-6, Jitter: -1}, 6).Build()
	w.RunFor(time.Hour)
	c := w.Clients[0]
	if off, wrong := c.Offset().Seconds(), c.wrong(); math.Abs(off+wrong) > 2e-6 {
		t.Errorf("the clock is %g s ahead, the estimate %g s behind", off, wrong)
	}
	b := c.belief
	b.wrong += int64(5 * ms) // an estimate that is off by that
	c.belief = b
	w.RunFor(10 * time.Second)
	if c.belief == b && math.Abs(c.wrong()-5e-3) > 50e-6 {
		t.Errorf("an estimate that is 5 ms off is %g s wrong ten seconds later", c.wrong())
	}
}
