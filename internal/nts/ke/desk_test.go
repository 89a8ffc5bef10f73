package ke

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"testing"
	"time"
)

// deskGuest is a connection of a thread that does nothing but wait: Park runs what the test has the thread do meanwhile.
type deskGuest struct {
	net.Conn
	meanwhile func() error
	resumed   bool
}

func (g *deskGuest) Park(time.Time) error  { return g.meanwhile() }
func (g *deskGuest) Resume()               { g.resumed = true }
func (g *deskGuest) Prefix() netip.Prefix  { return netip.MustParsePrefix("192.0.2.1/32") }
func (g *deskGuest) Gone() <-chan struct{} { return nil }
func (g *deskGuest) Present() bool         { return true }

// TestDesk_Turn: a handshake begins when the budget allows it, keeps its turn while it does not, and is told when that has
// lasted for too long; one whose connection ends meanwhile leaves no trace.
func TestDesk_Turn(t *testing.T) {
	for _, row := range []struct {
		name    string
		used    time.Duration // before
		later   time.Duration // the second look
		ends    error         // of the connection
		want    error
		resumed bool // at the first look
		held    uint64
	}{
		{"a budget", 0, 0, nil, nil, true, 0},
		{"a budget soon", 610 * time.Millisecond, 100 * time.Millisecond, nil, nil, false, 1},
		{"no budget for too long", 5 * time.Second, 600 * time.Millisecond, nil, ErrOverBudget, false, 1},
		{"the connection ends", 5 * time.Second, 0, os.ErrDeadlineExceeded, os.ErrDeadlineExceeded, false, 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			var spent atomic.Int64
			var held atomic.Uint64
			d := newDesk(60, 500*time.Millisecond, &spent, &held)
			now := time.Now()
			d.Next(now, row.used, 0)
			g := &deskGuest{}
			g.meanwhile = func() error {
				worked, wait := d.Next(now, 0, 0)
				if worked != row.resumed || g.resumed != worked || (wait > 0) == worked {
					t.Errorf("resumed %v, %v, asks again after %v", worked, g.resumed, wait)
				}
				if row.ends != nil {
					return row.ends
				}
				if !worked {
					if worked, _ = d.Next(now.Add(row.later), 0, 0); !worked || !g.resumed {
						t.Error("not resumed")
					}
				}
				return nil
			}
			c := newGated(g, d)
			if err := c.enter(); !errors.Is(err, row.want) {
				t.Fatalf("%v, want %v", err, row.want)
			}
			if began := c.ticket != nil; began != (row.want == nil) {
				t.Errorf("has a place: %v", began)
			}
			c.Done(true)
			if d.line.busy != 0 || d.line.size != 0 || held.Load() != row.held || time.Duration(spent.Load()) != row.used {
				t.Errorf("%d busy, %d in line, held %d, spent %v", d.line.busy, d.line.size, held.Load(), time.Duration(spent.Load()))
			}
		})
	}
}

// TestDesk_TakenAwayWithItsTurn: a connection that another thread takes away while it gets its turn, the first or a later
// one, or while it is told that there will be none, leaves no trace.
func TestDesk_TakenAwayWithItsTurn(t *testing.T) {
	for _, row := range []struct {
		name  string
		later time.Duration // the look at the line
		began bool
		open  int32 // handshakes under way afterwards
	}{
		{"the first", 0, false, 0},
		{"a later one", 0, true, 1},
		{"none", time.Hour, false, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			d := newDesk(60, time.Minute, new(atomic.Int64), new(atomic.Uint64))
			g := &deskGuest{}
			g.meanwhile = func() error {
				if worked, _ := d.Next(d.start.Add(row.later), 0, 0); !worked || !g.resumed || (d.line.busy == 1) != (row.later == 0) {
					t.Errorf("resumed %v, %d busy", g.resumed, d.line.busy)
				}
				return net.ErrClosed
			}
			c := newGated(g, d)
			c.prefix, c.began = g.Prefix(), row.began
			if row.began {
				d.note(c.prefix, (*standing).begin)
			}
			if err := c.enter(); !errors.Is(err, net.ErrClosed) {
				t.Errorf("%v", err)
			}
			if s := d.line.known.of(c.prefix, 0); d.line.busy != 0 || d.line.size != 0 || s.open != row.open {
				t.Errorf("%d busy, %d in line, %d under way", d.line.busy, d.line.size, s.open)
			}
			c.Done(true)
		})
	}
}

// TestDesk_AsksInTime: whatever else the desk waits for, it looks again when the one who has waited for the longest has
// waited for too long.
func TestDesk_AsksInTime(t *testing.T) {
	const longest = 500 * time.Millisecond
	for name, prepare := range map[string]func(d *desk, now time.Time){
		"for the budget": func(d *desk, now time.Time) { d.Next(now, 5*time.Second, 0) },
		"for a pause": func(d *desk, now time.Time) {
			d.line.pause = now.Sub(d.start) + time.Hour
			d.line.known.of((&deskGuest{}).Prefix(), 0).credit = worstCredit
		},
		"for a place": func(d *desk, now time.Time) { d.line.busy = 1 },
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(60, longest, new(atomic.Int64), new(atomic.Uint64))
			prepare(d, d.start)
			var resumed []string
			for i, who := range []string{"first", "second"} {
				d.line.join(&ticket{prefix: (&deskGuest{}).Prefix(), resume: func() { resumed = append(resumed, who) }}, time.Duration(i)*100*time.Millisecond)
			}
			now := d.start.Add(200 * time.Millisecond)
			for _, want := range []time.Duration{300 * time.Millisecond, 100 * time.Millisecond} {
				worked, wait := d.Next(now, 0, 0)
				if worked || wait < want || wait > want+time.Millisecond {
					t.Fatalf("worked %v, asks again after %v, want %v", worked, wait, want)
				}
				now = now.Add(wait)
				if worked, _ := d.Next(now, 0, 0); !worked {
					t.Fatal("nobody was told in time")
				}
			}
			if len(resumed) != 2 || resumed[0] != "first" || d.line.size != 0 {
				t.Errorf("resumed %v, %d in line", resumed, d.line.size)
			}
		})
	}
}
