package pool

import (
	"math/bits"
	"slices"
	"time"
)

// Mode is the rule by which the time sources are shared out among users.
type Mode uint8

// The modes (docs/rules/pool.md#selection).
const (
	RoundRobin Mode = iota // in turn, the seed's
	Weighted               // by chance, each as often as its weight says
	Geographic             // the same among those of the user's country, else of its continent, else among all
	Latency                // the same, but of two that were drawn the one that answers clearly faster comes first
)

// modes are the words of the configuration.
var modes = [...]string{RoundRobin: "round-robin", Weighted: "weighted", Geographic: "geographic", Latency: "latency"}

// Modes lists the words for the modes, by number.
func Modes() []string { return slices.Clone(modes[:]) }

// String is the word of the configuration.
func (m Mode) String() string {
	if int(m) < len(modes) {
		return modes[m]
	}
	return "unknown"
}

// Place is where a user is, in the spelling of CanonicalRegion. Empty: not known.
type Place struct{ Country, Continent string }

// Health is what is known of a time source at the moment. It never takes anybody off the list: it orders the draw.
type Health uint8

// The states, the best first.
const (
	Fit     Health = iota
	Resting        // it failed some users in a row; only when nobody fit is left
	Unfit          // it serves no good time, or none; only when nobody else at all is there

	whatever Health = 255 // any of them
)

// Ask is what the choice for one user depends on.
type Ask struct {
	Mode    Mode
	Turn    uint64                    // users before this one, for RoundRobin
	Draw    func() uint64             // uniform and not to be guessed; must not be nil in the other modes
	Place   Place                     // for Geographic
	Family  Family                    // time sources that do not serve it are never offered
	Bucket  Bucket                    // part that the user asked for
	Denial  Denial                    // what the user holds already
	Again   []int32                   // what the user asks for by name: it comes first if it is fit and not denied
	Health  func(i int) Health        // of the i-th time source; nil: all are fit
	Latency func(i int) time.Duration // expected time to its answer, 0 if not known; nil: not known of any
}

// Candidates are the backends to try for one user, by index in the Directory, best first.
type Candidates struct {
	Order         []int
	Region        string // that the first one was drawn from: of its Regions, or Global; empty without candidates
	DenyIgnored   bool   // the user denied every backend, so nobody's wish could be honoured
	HealthIgnored bool   // every backend is Unfit, so that says nothing any more
}

// How much is worked out for one user.
const (
	maxInTurn   = 64 // candidates in rotation
	maxDrawn    = 16 // candidates by chance: more than fit into one user's time
	smallSet    = 64 // up to here each time source is looked at; above, they are drawn and thrown back
	maxMisses   = 64 // draws thrown back before each time source is looked at after all
	firstChoice = 4  // time sources that a user's first one is drawn from at least, if there are as many
	laterChoice = 16 // the same for later ones: who denies names tells which ones it holds
)

// Pick orders the backends for one user. It never empties: who denies everybody is offered everybody, and so is a user
// of a list on which nobody is fit (docs/rules/pool.md#deny, #selection). A list of n costs no more than one of 64 as
// long as most of it can be offered.
func (d *Directory) Pick(a Ask) Candidates {
	p := picker{d: d, a: a, limit: maxDrawn}
	if a.Mode == RoundRobin {
		p.limit = maxInTurn
	}
	all := d.shares.of(Global, a.Family, Whole)
	p.limit = min(p.limit, len(all.members))
	if p.limit == 0 {
		return Candidates{}
	}
	p.order = make([]int, 0, p.limit)
	var room [8]*set
	sets := p.sets(room[:0], all)
	again := p.again(all)
	p.offer(sets, Fit, false)
	if a.Mode == Latency && !again {
		p.fasterFirst()
	}
	p.offer(sets, Resting, false)
	c := Candidates{}
	if len(p.order) == 0 {
		p.offer(sets, Fit, true)
		p.offer(sets, Resting, true)
		c.DenyIgnored = len(p.order) > 0
	}
	if len(p.order) == 0 {
		c.HealthIgnored = true
		p.offer(sets, whatever, false)
	}
	if len(p.order) == 0 {
		c.DenyIgnored = true
		p.offer(sets, whatever, true)
	}
	c.Order, c.Region = p.order, p.region
	return c
}

// picker is one Pick.
type picker struct {
	d      *Directory
	a      Ask
	limit  int
	order  []int
	region string // of the first in order
}

// again puts the time source that the user asks for in front, if the user could have been offered it, and reports whether it did
// (docs/rules/pool.md#same-server-again).
func (p *picker) again(all *set) bool {
	for _, i := range p.a.Again {
		if slices.Contains(all.members, i) && p.fits(int(i), Fit, false, false) {
			p.order, p.region = append(p.order, int(i)), Global
			return true
		}
	}
	return false
}

// sets are those to draw from, one after the other: of the user's part of the list, then of all of it.
func (p *picker) sets(list []*set, all *set) []*set {
	if p.a.Bucket != Whole {
		list = p.widening(list, p.a.Bucket)
	}
	if p.a.Mode == Geographic {
		return p.widening(list, Whole)
	}
	return append(list, all)
}

// widening are the sets of country, continent and world, from the smallest on that leaves a choice; none if not
// even the world has anybody. A quarter of the time sources is to leave a quarter of the choice.
func (p *picker) widening(list []*set, bucket Bucket) []*set {
	world := p.d.shares.of(Global, p.a.Family, bucket)
	if p.a.Mode != Geographic {
		return append(list, world)
	}
	want := firstChoice
	if len(p.a.Denial.members) > 0 {
		want = laterChoice
	}
	if bucket != Whole {
		want /= bucketCount
	}
	others := true // of operators that the user has none of
	found := p.count(world, want, others)
	if found == 0 {
		others = false
		found = p.count(world, want, others)
	}
	for _, region := range [...]string{p.a.Place.Country, p.a.Place.Continent} {
		s := p.d.shares.of(region, p.a.Family, bucket)
		if found > 0 && len(s.members) >= found && p.count(s, found, others) == found {
			list = append(list, s)
		}
	}
	return append(list, world)
}

// count is how many of a set could be offered, up to enough.
func (p *picker) count(s *set, enough int, others bool) (n int) {
	for _, i := range s.members {
		if n == enough {
			break
		}
		if p.fits(int(i), Fit, false, others) {
			n++
		}
	}
	return n
}

// offer appends what the sets have of one state; those of operators that the user does not know yet come first, so
// that neighbours in the order belong to different ones.
func (p *picker) offer(sets []*set, h Health, denied bool) {
	for _, s := range sets {
		before := len(p.order)
		if before == p.limit {
			return
		}
		if p.a.Mode == RoundRobin {
			if p.d.shares.named {
				p.rotate(s, h, denied, true)
			}
			p.rotate(s, h, denied, false)
		} else {
			p.draw(s, h, denied, true)
			p.draw(s, h, denied, false)
		}
		if before == 0 && len(p.order) > 0 {
			p.region = s.region
		}
	}
}

// rotate appends in the order of the list, beginning one further for each user.
func (p *picker) rotate(s *set, h Health, denied, others bool) {
	n := len(s.members)
	if n == 0 {
		return
	}
	start := int(p.a.Turn % uint64(n))
	for k := 0; k < n && len(p.order) < p.limit; k++ {
		if i := int(s.members[(start+k)%n]); p.fits(i, h, denied, others) {
			p.order = append(p.order, i)
		}
	}
}

// ticket is a time source that can be drawn.
type ticket struct {
	member int
	weight uint64
}

// draw appends by chance, each time source as often as its weight says among those that are left. A long set is drawn
// from as it is, and what does not fit is thrown back, which leaves the chances of the others in proportion; where too
// much does not fit, and in a short set, those that do are listed first.
func (p *picker) draw(s *set, h Health, denied, others bool) {
	if len(s.members) > smallSet {
		before := len(p.order)
		for misses := 0; misses < maxMisses && len(p.order) < p.limit; {
			if i := s.at(p.uniform(s.total())); p.fits(i, h, denied, others) {
				p.order = append(p.order, i)
			} else {
				misses++
			}
		}
		if len(p.order) > before {
			return
		}
	}
	var short [smallSet]ticket
	tickets, total := short[:0], uint64(0)
	for _, i := range s.members {
		if len(p.order) < p.limit && p.fits(int(i), h, denied, others) {
			t := ticket{int(i), uint64(p.d.backends[i].Weight)}
			tickets, total = append(tickets, t), total+t.weight
		}
	}
	for len(tickets) > 0 && len(p.order) < p.limit {
		k, x := 0, p.uniform(total)
		for ; x >= tickets[k].weight; k++ {
			x -= tickets[k].weight
		}
		drawn := tickets[k]
		p.order = append(p.order, drawn.member)
		total = 0
		tickets = slices.DeleteFunc(tickets, func(t ticket) bool {
			gone := t.member == drawn.member || others && p.d.shares.operators[t.member] == p.d.shares.operators[drawn.member]
			if !gone {
				total += t.weight
			}
			return gone
		})
	}
}

// uniform is a number below n, each as likely as any other but for n/2^64, which is less than 2^-28: a
// rejection for that little would be a loop that a broken source of chance never leaves.
func (p *picker) uniform(n uint64) uint64 {
	x, _ := bits.Mul64(p.a.Draw(), n)
	return x
}

// fits reports whether a time source that is not in the order yet is in the state that is looked for. others: its operator
// must be new to the user, too. What costs least is looked at first.
func (p *picker) fits(i int, h Health, denied, others bool) bool {
	if len(p.a.Denial.members) > 0 && p.a.Denial.has(i) != denied || denied && len(p.a.Denial.members) == 0 {
		return false
	}
	if others && p.knows(p.d.shares.operators[i], denied) || slices.Contains(p.order, i) {
		return false
	}
	switch {
	case h == whatever:
		return true
	case p.a.Health == nil:
		return h == Fit
	}
	return p.a.Health(i) == h
}

// knows reports whether the user has, or is about to be offered, a time source of the operator.
func (p *picker) knows(operator int32, denied bool) bool {
	if !denied && p.a.Denial.holds(operator) {
		return true
	}
	return slices.ContainsFunc(p.order, func(i int) bool { return p.d.shares.operators[i] == operator })
}

// fasterFirst exchanges the first two of the order if the second answers clearly faster, by a quarter and a
// millisecond: below that chance decides, so that users are not sent all to one of several equals. Of two that chance
// has chosen the better one, instead of the best of all: nobody gets more than twice its share, and the crowd does not
// run to and fro (Mitzenmacher 2001).
func (p *picker) fasterFirst() {
	if len(p.order) < 2 || p.a.Latency == nil {
		return
	}
	first, second := p.a.Latency(p.order[0]), p.a.Latency(p.order[1])
	if second > 0 && first > second+second/4+time.Millisecond {
		p.order[0], p.order[1] = p.order[1], p.order[0]
	}
}
