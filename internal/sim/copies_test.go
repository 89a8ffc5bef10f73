package sim

import (
	"testing"
	"time"

	"ntp-daemon/internal/source"
)

// TestCopies delivers every packet four times, each copy with a delay of its own, one in a hundred of them more than a second late:
// each exchange counts once.
func TestCopies(t *testing.T) {
	w := New(41, time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	c := w.AddClient(Machine{Offset: 100 * ms, Frequency: 50e-6, Wander: 1e-9, System: Scenario{}.params()})
	way := func(name string) Link {
		e, err := ParseExpr("(+ 2.5e-2 (* 1e-3 (exponential)) (* 1.5 (equal 0.01 (uniform) 0.0)))", Origin{Seed: 41, Scenario: "copies", Name: name, Delay: true})
		if err != nil {
			t.Fatal(err)
		}
		return Link{Expr: e, Copies: 3}
	}
	ref := w.AddReference(0)
	w.Connect(c, &ref.node, Path{Out: way("out"), Back: way("back")}, polls(Scenario{}, 6).source())
	w.RunFor(10 * time.Hour)
	w.Require(t, Limits{SyncBefore: 10 * time.Minute, MaxOffset: 2 * ms, RMSOffset: 600 * us, MaxSteps: 2, Uncovered: -1})
	a := c.assocs[0]
	if good := a.Verdicts[source.Accepted]; good > a.Sent || good < a.Sent*9/10 {
		t.Errorf("%d of %d exchanges counted", good, a.Sent)
	}
	if n := len(ref.Served); n != 4*a.Sent {
		t.Errorf("%d requests sent, %d arrived", a.Sent, n)
	}
}
