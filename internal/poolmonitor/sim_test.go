package poolmonitor

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"ntp-daemon/internal/nts/aead"
)

// world is a pool in simulated time: a monitor, its time sources and the network between them.
type world struct {
	t       *testing.T
	now     time.Time
	start   time.Time
	m       *Monitor
	rnd     *rand.Rand
	nodes   []*node
	cond    func() Conditions // nil: none
	reports []Report
	log     []string // changes, with the time since the start
	flying  []flight
	tasks   int
}

// node is one time source. The functions may be nil.
type node struct {
	id         string
	algorithms []aead.Algorithm
	offset     time.Duration               // of its clock
	wander     time.Duration               // of it per second since the start
	claimed    time.Duration               // root distance that it claims
	rtt        time.Duration               // to it, over both families
	broken     func(now time.Time) Outcome // of the key exchange; Good: it works
	edit       func(a *Attempt)            // last word on what a probe brings
	noV6       bool                        // by its operator
}

// flight is a probe under way.
type flight struct {
	at time.Time
	a  Attempt
}

var simStart = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func newWorld(t *testing.T, n int) *world {
	w := &world{t: t, now: simStart, start: simStart, rnd: rand.New(rand.NewPCG(7, uint64(n)))}
	for i := range n {
		w.nodes = append(w.nodes, newNode(fmt.Sprintf("m%d", i)))
	}
	w.m = New(Params{}, w.rnd.Float64, w.now)
	w.list()
	return w
}

func newNode(id string) *node {
	return &node{id: id, algorithms: []aead.Algorithm{15, 17, 30}, claimed: 2 * time.Millisecond, rtt: 20 * time.Millisecond}
}

func (w *world) list() {
	var list []Target
	for _, n := range w.nodes {
		list = append(list, Target{ID: n.id, Wanted: [Families]bool{true, !n.noV6}})
	}
	w.m.SetMembers(w.now, list)
}

// run lets the time pass.
func (w *world) run(d time.Duration) {
	w.t.Helper()
	end := w.now.Add(d)
	for idle := 0; ; {
		for _, task := range w.m.Due(w.now) {
			w.tasks++
			w.flying = append(w.flying, w.probe(task))
		}
		next := w.m.Next(w.now)
		for _, f := range w.flying {
			if f.at.Before(next) {
				next = f.at
			}
		}
		if next.After(end) {
			w.now = end
			return
		}
		if idle++; next.After(w.now) {
			w.now, idle = next, 0
		}
		if idle > 10_000 {
			w.t.Fatalf("nothing happens, and nothing is waited for, at %v", w.now.Sub(w.start))
		}
		w.land()
		if w.m.RoundOver() {
			var c Conditions
			if w.cond != nil {
				c = w.cond()
			}
			w.note(w.m.Judge(w.now, c))
		}
	}
}

// land absorbs the probes that have ended.
func (w *world) land() {
	left := w.flying[:0]
	for _, f := range w.flying {
		if f.at.After(w.now) {
			left = append(left, f)
			continue
		}
		w.m.Absorb(w.now, f.a)
	}
	w.flying = left
}

func (w *world) note(r Report) {
	w.reports = append(w.reports, r)
	for _, c := range r.Changes {
		w.log = append(w.log, fmt.Sprintf("%v %s %v %v %s", w.now.Sub(w.start).Round(time.Second), c.Member, c.Family, c.State, c.Reason))
	}
}

// probe is what a task comes to, and when. A failure by silence takes the whole time that a probe has.
func (w *world) probe(task Task) flight {
	n := w.node(task.Member)
	a := Attempt{Member: n.id, Keys: Good, Algorithm: task.Algorithm, Advertised: n.algorithms}
	if a.Algorithm == 0 {
		a.Algorithm = n.algorithms[0]
	}
	took := n.rtt * 4
	if n.broken != nil {
		if o := n.broken(w.now); o != Good {
			a.Keys, a.Cause, a.Advertised, took = o, "timeout", nil, 8*time.Second
		}
	}
	for f := range Families {
		if task.Wanted[f] && a.Keys == Good {
			a.Answers[f] = Answer{Outcome: Good, Readings: []Reading{w.reading(n), w.reading(n)}}
		}
	}
	if n.edit != nil {
		n.edit(&a)
	}
	return flight{at: w.now.Add(took), a: a}
}

// reading is one exchange with a node over a path whose two directions may be as unlike as 9:1, by a clock that is as wrong as it
// admits, or 5 ms.
func (w *world) reading(n *node) Reading {
	offset := n.offset + time.Duration(float64(n.wander)*w.now.Sub(w.start).Seconds())
	asymmetry := time.Duration((w.rnd.Float64() - 0.5) * 0.8 * float64(n.rtt))
	own := time.Duration((w.rnd.Float64()*2 - 1) * float64(min(n.claimed, 5*time.Millisecond)))
	return Reading{At: w.now, Offset: offset + own + asymmetry, Claimed: n.claimed, Path: n.rtt / 2, Delay: n.rtt}
}

func (w *world) node(id string) *node {
	for _, n := range w.nodes {
		if n.id == id {
			return n
		}
	}
	w.t.Fatalf("no node %s", id)
	return nil
}

// usable counts the time sources that users of the family may be sent to.
func (w *world) usable(f Family) (n int) {
	for _, o := range w.nodes {
		if w.m.Verdict(o.id).For(f) {
			n++
		}
	}
	return n
}

// until runs until the condition holds, looking each second, and returns how long it took; it fails the test at the limit.
func (w *world) until(limit time.Duration, what string, f func() bool) time.Duration {
	w.t.Helper()
	from := w.now
	for !f() {
		if w.now.Sub(from) > limit {
			w.t.Fatalf("%s: not within %v\n%v", what, limit, w.log)
		}
		w.run(time.Second)
	}
	return w.now.Sub(from)
}

// requireSteady checks that nothing changed and nothing was void.
func (w *world) requireSteady() {
	w.t.Helper()
	if len(w.log) > 0 {
		w.t.Errorf("changes: %v", w.log)
	}
	if s := w.m.Status(); s.VoidRounds > 0 {
		w.t.Errorf("%d void rounds: %v", s.VoidRounds, s.Void)
	}
}

func dead(time.Time) Outcome { return NoKeys }
