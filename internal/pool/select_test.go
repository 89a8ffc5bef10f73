package pool

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	crand "crypto/rand"
)

// entropy is the source of the pool itself.
func entropy() uint64 {
	var b [8]byte
	_, _ = crand.Read(b[:])
	return binary.LittleEndian.Uint64(b[:])
}

// seeded is a source that repeats itself.
func seeded(n uint64) func() uint64 { return rand.New(rand.NewPCG(n, 1)).Uint64 }

// members makes n time sources of weight 1, each of its own operator, changed by edit.
func members(n int, edit func(i int, b *Backend)) []Backend {
	list := make([]Backend, n)
	for i := range list {
		list[i] = Backend{ID: fmt.Sprintf("id-%d", i), Domain: fmt.Sprintf("s%d.example", i), Port: 4460, Weight: 1}
		if edit != nil {
			edit(i, &list[i])
		}
	}
	return list
}

// in puts the i-th time source into regions[i]; those after the last are nowhere.
func in(regions ...[]string) func(i int, b *Backend) {
	return func(i int, b *Backend) {
		if i < len(regions) {
			b.Regions = regions[i]
		}
	}
}

// firsts counts, over n users, who is first.
func firsts(d *Directory, n int, a Ask) []float64 {
	count := make([]float64, d.Len())
	for turn := range uint64(n) {
		a.Turn = turn
		count[d.Pick(a).Order[0]] += 1 / float64(n)
	}
	return count
}

func requireShares(t *testing.T, got, want []float64) {
	t.Helper()
	for i := range want {
		if math.Abs(got[i]-want[i]) > 0.02 {
			t.Errorf("time source %d has a share of %.3f, want %.3f", i, got[i], want[i])
		}
	}
}

// TestP15_Shares: 1e5 picks with weights 1:2:4, by the pool's own source of chance: shares within 2 %, denied ones
// nothing, and who comes next does not depend on who came last.
func TestP15_Shares(t *testing.T) {
	d := mustDirectory(t, nil, members(6, func(i int, b *Backend) { b.Weight = []uint32{1, 2, 4, 1, 2, 4}[i] })...)
	denied := d.Denial(NewDenied([]string{"id-3", "s4.example", "S5.example."}), nil)
	if denied.Known != 3 {
		t.Fatal(denied)
	}
	const users = 100000
	var product, sum, squares, last float64
	count := make([]float64, 6)
	for user := range users {
		first := d.Pick(Ask{Mode: Weighted, Draw: entropy, Denial: denied}).Order[0]
		count[first] += 1. / users
		x := float64(first)
		sum, squares = sum+x, squares+x*x
		if user > 0 {
			product += last * x
		}
		last = x
	}
	requireShares(t, count, []float64{1. / 7, 2. / 7, 4. / 7, 0, 0, 0})
	if count[3]+count[4]+count[5] != 0 {
		t.Errorf("denied ones were first: %v", count)
	}
	mean := sum / users
	if r := (product/(users-1) - mean*mean) / (squares/users - mean*mean); math.Abs(r) > 0.02 {
		t.Errorf("one pick tells of the next: correlation %.4f", r)
	}
}

// TestPick_SharesOfLongLists: the way that does not look at everybody gives the same shares, also where most of the weight
// cannot be offered.
func TestPick_SharesOfLongLists(t *testing.T) {
	for _, n := range []int{smallSet, smallSet + 1, 1000} {
		d := mustDirectory(t, nil, members(n, func(i int, b *Backend) {
			if i < 4 {
				b.Weight = uint32(n) * []uint32{1, 2, 4, 100}[i] // the last is out of order, and with it most of the weight
			}
		})...)
		health := func(i int) Health {
			if i == 3 {
				return Unfit
			}
			return Fit
		}
		all := float64(7*n + n - 4)
		requireShares(t, firsts(d, 20000, Ask{Mode: Weighted, Draw: seeded(uint64(n)), Health: health}),
			[]float64{float64(n) / all, float64(2*n) / all, float64(4*n) / all, 0})
	}
}

// A second candidate, too, comes as often as its weight says among those that are left.
func TestPick_SecondBest(t *testing.T) {
	d := mustDirectory(t, nil, members(3, func(i int, b *Backend) { b.Weight = []uint32{8, 1, 3}[i] })...)
	second := make([]float64, 3)
	draw := seeded(2)
	for range 100000 {
		if c := d.Pick(Ask{Mode: Weighted, Draw: draw}); c.Order[0] == 0 {
			second[c.Order[1]]++
		}
	}
	if ratio := second[2] / second[1]; ratio < 2.8 || ratio > 3.2 {
		t.Errorf("ratio %.2f, want 3", ratio)
	}
}

// TestPick_Geographic: the widening: country, continent, world, until there is a choice of four (or all, if there
// are fewer); for later picks of a user, of sixteen.
func TestPick_Geographic(t *testing.T) {
	nl, eu := []string{"NL", "EUROPE"}, []string{"EUROPE"}
	four := members(30, in(nl, nl, nl, nl, eu, eu))
	three := members(30, in(nl, nl, nl, eu, eu))
	tests := []struct {
		story  string
		list   []Backend
		place  Place
		denied []string
		health map[int]Health
		region string
		from   []int // who can be first; nil: not looked at
	}{
		{"four in the country are a choice", four, Place{"NL", "EUROPE"}, nil, nil, "NL", []int{0, 1, 2, 3}},
		{"three are not", three, Place{"NL", "EUROPE"}, nil, nil, "EUROPE", []int{0, 1, 2, 3, 4}},
		{"nor are four of which one is out of order", four, Place{"NL", "EUROPE"}, nil, map[int]Health{2: Unfit}, "EUROPE", []int{0, 1, 3, 4, 5}},
		{"or rests", four, Place{"NL", "EUROPE"}, nil, map[int]Health{2: Resting}, "EUROPE", []int{0, 1, 3, 4, 5}},
		{"a country without any", four, Place{"SE", "EUROPE"}, nil, nil, "EUROPE", []int{0, 1, 2, 3, 4, 5}},
		{"a continent without any", four, Place{"US", "NORTH-AMERICA"}, nil, nil, Global, nil},
		{"not known where", four, Place{}, nil, nil, Global, nil},
		{"country only", four, Place{Country: "NL"}, nil, nil, "NL", []int{0, 1, 2, 3}},
		{"a pool of two has a choice of two", members(2, in(nl, nl)), Place{"NL", "EUROPE"}, nil, nil, "NL", []int{0, 1}},
		{"one of two is none", members(2, in(nl, eu)), Place{"NL", "EUROPE"}, nil, nil, "EUROPE", []int{0, 1}},
		{"who holds one already is served from further away", four, Place{"NL", "EUROPE"}, []string{"s0.example"}, nil, Global, nil},
		{"unless the country has sixteen others", members(40, func(i int, b *Backend) {
			if i < 17 {
				b.Regions = nl
			}
		}), Place{"NL", "EUROPE"}, []string{"s0.example"}, nil, "NL", nil},
		{"an unknown name widens nothing", four, Place{"NL", "EUROPE"}, []string{"x.example"}, nil, "NL", []int{0, 1, 2, 3}},
	}
	for _, tt := range tests {
		t.Run(tt.story, func(t *testing.T) {
			d := mustDirectory(t, nil, tt.list...)
			ask := Ask{
				Mode: Geographic, Draw: seeded(1), Place: tt.place, Denial: d.Denial(NewDenied(tt.denied), nil),
				Health: func(i int) Health { return tt.health[i] },
			}
			var from []int
			for range 1000 {
				c := d.Pick(ask)
				if c.Region != tt.region {
					t.Fatalf("drawn from %q, want %q", c.Region, tt.region)
				}
				if ask.Denial.has(c.Order[0]) {
					t.Fatal("denied and yet first")
				}
				from = append(from, c.Order[0])
			}
			slices.Sort(from)
			if from = slices.Compact(from); tt.from != nil && !slices.Equal(from, tt.from) {
				t.Errorf("drawn from %v, want %v", from, tt.from)
			}
		})
	}
}

// TestAudit01_LaterPicks: a user in a country of few, all of one operator, gets them for one of its four servers at
// most.
func TestAudit01_LaterPicks(t *testing.T) {
	d := mustDirectory(t, nil, members(100, func(i int, b *Backend) {
		if i < 8 {
			b.Regions, b.Operator, b.Weight = []string{"LI", "EUROPE"}, "Collusion Ltd", 10
		}
	})...)
	draw := seeded(3)
	seen := map[int]bool{}
	for range 2000 {
		var held []string
		theirs := 0
		for range 4 {
			c := d.Pick(Ask{Mode: Geographic, Draw: draw, Place: Place{"LI", "EUROPE"}, Denial: d.Denial(NewDenied(held), nil)})
			i := c.Order[0]
			if d.At(i).Operator != "" {
				theirs++
			}
			if len(held) > 0 {
				seen[i] = true
			}
			held = append(held, d.At(i).Domain)
		}
		if theirs > 1 {
			t.Fatalf("%d of four belong to one operator", theirs)
		}
	}
	if len(seen) < laterChoice {
		t.Errorf("later picks came from %d time sources only", len(seen))
	}
}

// TestPick_Operators: neighbours in the order and later picks belong to different operators as long as there are some.
func TestPick_Operators(t *testing.T) {
	list := members(6, func(i int, b *Backend) { b.Operator = []string{"A", "a ", "A", "B", "B", ""}[i] })
	d := mustDirectory(t, nil, list...)
	owner := func(i int) string { return d.At(i).operator() }
	for _, mode := range []Mode{RoundRobin, Weighted, Geographic, Latency} {
		t.Run(mode.String(), func(t *testing.T) {
			draw := seeded(4)
			for turn := range uint64(500) {
				order := d.Pick(Ask{Mode: mode, Turn: turn, Draw: draw}).Order
				if len(order) != 6 {
					t.Fatalf("%d candidates", len(order))
				}
				if a, b, c := owner(order[0]), owner(order[1]), owner(order[2]); a == b || b == c || a == c {
					t.Fatalf("%s, %s, %s", a, b, c)
				}
				order = d.Pick(Ask{Mode: mode, Turn: turn, Draw: draw, Denial: d.Denial(NewDenied([]string{"s0.example"}), nil)}).Order
				if len(order) != 5 || owner(order[0]) == "a" || owner(order[1]) == "a" {
					t.Fatalf("the operator of the denied one comes before the others: %v", order)
				}
				// Nobody else is left: better one of the same operator than one that the user has.
				c := d.Pick(Ask{Mode: mode, Turn: turn, Draw: draw, Denial: d.Denial(NewDenied([]string{"id-0", "id-3", "id-5"}), nil)})
				if len(c.Order) != 3 || c.DenyIgnored {
					t.Fatalf("%+v", c)
				}
			}
		})
	}
}

// TestPick_Health: those that rest come after all that are fit, those that are unfit only if there is nobody else; a wish
// of the user gives way before a verdict on a time source does.
func TestPick_Health(t *testing.T) {
	d := mustDirectory(t, nil, members(4, nil)...)
	const f, r, u = Fit, Resting, Unfit
	for _, tt := range []struct {
		story         string
		health        []Health
		denied        []string
		want          []int // first those before the gap, in any order, then the rest
		gap           int
		deny, ignored bool
	}{
		{"all fit", []Health{f, f, f, f}, nil, []int{0, 1, 2, 3}, 4, false, false},
		{"one rests", []Health{f, r, f, f}, nil, []int{0, 2, 3, 1}, 3, false, false},
		{"one is unfit", []Health{f, u, f, f}, nil, []int{0, 2, 3}, 3, false, false},
		{"unfit ones and one that rests", []Health{u, u, u, r}, nil, []int{3}, 1, false, false},
		{"all are unfit: then the verdict says nothing", []Health{u, u, u, u}, nil, []int{0, 1, 2, 3}, 4, false, true},
		{"the only fit one is denied", []Health{f, u, u, u}, []string{"id-0"}, []int{0}, 1, true, false},
		{"the only fit one is denied, one rests", []Health{f, r, u, u}, []string{"id-0"}, []int{1}, 1, false, false},
		{"unfit ones, and one is denied", []Health{u, u, u, u}, []string{"id-0"}, []int{1, 2, 3}, 3, false, true},
		{"all are unfit and denied", []Health{u, u, u, u}, []string{"id-0", "id-1", "id-2", "id-3"}, []int{0, 1, 2, 3}, 4, true, true},
		{"all are denied: those that are in order", []Health{f, r, u, f}, []string{"id-0", "id-1", "id-2", "id-3"}, []int{0, 3, 1}, 2, true, false},
	} {
		for _, mode := range []Mode{RoundRobin, Weighted, Geographic, Latency} {
			t.Run(tt.story+"/"+mode.String(), func(t *testing.T) {
				c := d.Pick(Ask{
					Mode: mode, Draw: seeded(5), Turn: 7, Denial: d.Denial(NewDenied(tt.denied), nil),
					Health: func(i int) Health { return tt.health[i] },
				})
				got := slices.Clone(c.Order)
				if len(got) >= tt.gap {
					slices.Sort(got[:tt.gap])
				}
				if !slices.Equal(got, tt.want) || c.DenyIgnored != tt.deny || c.HealthIgnored != tt.ignored {
					t.Errorf("%+v, want %v %v %v", c, tt.want, tt.deny, tt.ignored)
				}
			})
		}
	}
}

// A time source that recovers, or a breaker that closes, while the order is made does not leave the user without one.
func TestPick_HealthThatChanges(t *testing.T) {
	d := mustDirectory(t, nil, members(1, nil)...)
	for _, states := range [][]Health{{Resting, Fit, Fit}, {Unfit, Fit, Resting}, {7, 7, 7}} {
		n := -1
		c := d.Pick(Ask{Health: func(int) Health { n = min(n+1, len(states)-1); return states[n] }})
		if len(c.Order) != 1 {
			t.Errorf("%v: %+v", states, c)
		}
	}
}

// TestPick_Family: a time source that lacks the user's family is never offered, whatever happens to the others.
func TestPick_Family(t *testing.T) {
	d := mustDirectory(t, nil, members(4, func(i int, b *Backend) { b.NoIPv4, b.NoIPv6 = i == 1 || i == 3, i == 2 || i == 3 })...)
	for family, want := range map[Family][]int{IPv4: {0, 2}, IPv6: {0, 1}, AnyFamily: {0, 1, 2, 3}} {
		for _, mode := range []Mode{RoundRobin, Weighted, Geographic, Latency} {
			for _, health := range []Health{Fit, Resting, Unfit} {
				got := d.Pick(Ask{Mode: mode, Draw: seeded(6), Family: family, Health: func(int) Health { return health }}).Order
				slices.Sort(got)
				if !slices.Equal(got, want) {
					t.Errorf("%v for family %v: %v, want %v", mode, family, got, want)
				}
			}
		}
	}
	for addr, want := range map[string]Family{"192.0.2.1": IPv4, "::ffff:192.0.2.1": IPv4, "2001:db8::1": IPv6} {
		if got := FamilyOf(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %v, want %v", addr, got, want)
		}
	}
	if FamilyOf(netip.Addr{}) != AnyFamily {
		t.Error("no address has a family")
	}
}

// TestPick_WeightZero: nobody gets it, and a list or region of nothing else ends in no candidate, not in a fault.
func TestPick_WeightZero(t *testing.T) {
	some := mustDirectory(t, nil, members(4, func(i int, b *Backend) {
		b.Regions = []string{"NL"}
		if i != 2 {
			b.Weight = 0
		}
	})...)
	none := mustDirectory(t, nil, members(4, func(_ int, b *Backend) { b.Weight, b.Regions = 0, []string{"NL"} })...)
	for _, mode := range []Mode{RoundRobin, Weighted, Geographic, Latency} {
		for bucket := Whole; bucket <= bucketCount; bucket++ {
			ask := Ask{Mode: mode, Draw: seeded(7), Place: Place{Country: "NL"}, Bucket: bucket}
			if got := some.Pick(ask).Order; !slices.Equal(got, []int{2}) {
				t.Errorf("%v, bucket %v: %v", mode, bucket, got)
			}
			if got := none.Pick(ask); len(got.Order) != 0 {
				t.Errorf("%v, bucket %v: %+v", mode, bucket, got)
			}
		}
	}
	if b := some.shares.buckets[0]; b != Whole {
		t.Errorf("weight 0 is in bucket %v", b)
	}
}

// TestPick_Latency: of two the one that answers clearly faster comes first; equals share by weight, and no time source
// draws everybody.
func TestPick_Latency(t *testing.T) {
	d := mustDirectory(t, nil, members(4, nil)...)
	for _, tt := range []struct {
		story string
		ms    []float64
		want  []float64
	}{
		{"one of four is near: whenever it is one of the two", []float64{5, 80, 80, 80}, []float64{1. / 2, 1. / 6, 1. / 6, 1. / 6}},
		{"in a row", []float64{5, 20, 80, 320}, []float64{3. / 6, 2. / 6, 1. / 6, 0}},
		{"about equal", []float64{80, 90, 85, 95}, []float64{.25, .25, .25, .25}},
		{"below a millisecond nothing is to be gained", []float64{.1, .9, .2, .5}, []float64{.25, .25, .25, .25}},
		{"nothing is known of one, and it is taken as it comes", []float64{0, 80, 80, 80}, []float64{.25, .25, .25, .25}},
		{"nothing is known", []float64{0, 0, 0, 0}, []float64{.25, .25, .25, .25}},
	} {
		t.Run(tt.story, func(t *testing.T) {
			requireShares(t, firsts(d, 50000, Ask{Mode: Latency, Draw: seeded(8), Latency: func(i int) time.Duration {
				return time.Duration(tt.ms[i] * float64(time.Millisecond))
			}}), tt.want)
		})
	}
}

// TestSetAt: the parts of [0, total) are as long as the weights, borders included.
func TestSetAt(t *testing.T) {
	s := &set{members: []int32{7, 8, 9}, sums: []uint64{2, 3, 7}}
	var got []int
	for x := range s.total() {
		got = append(got, s.at(x))
	}
	if want := []int{7, 7, 8, 9, 9, 9, 9}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// Pick is called for each user: it makes one list, however long the pool's is.
func TestPick_AllocatesOnce(t *testing.T) {
	d := mustDirectory(t, nil, members(1000, in([]string{"NL"}))...)
	health, latency, draw := func(int) Health { return Fit }, func(i int) time.Duration { return time.Duration(i) }, seeded(9)
	denial := d.Denial(NewDenied([]string{"s1.example"}), nil)
	for _, mode := range []Mode{RoundRobin, Weighted, Geographic, Latency} {
		if n := testing.AllocsPerRun(100, func() {
			d.Pick(Ask{Mode: mode, Draw: draw, Health: health, Latency: latency, Denial: denial, Place: Place{"NL", "EUROPE"}, Bucket: 2})
		}); n > 1 {
			t.Errorf("%v: %v allocations", mode, n)
		}
	}
}

// BenchmarkPick is one user's choice from a list of 10 000, 1000 of them in the user's country.
func BenchmarkPick(b *testing.B) {
	d, err := NewDirectory(members(10000, func(i int, m *Backend) {
		m.Weight = uint32(1 + i%10)
		if i%10 == 0 {
			m.Regions = []string{"NL", "EUROPE"}
		}
	}), nil)
	if err != nil {
		b.Fatal(err)
	}
	half := func(i int) Health { return Health(i % 2) }
	few := func(i int) Health {
		if i%1000 == 7 {
			return Fit
		}
		return Unfit
	}
	held := d.Denial(NewDenied([]string{"s1.example", "s20.example", "s3.example"}), nil)
	for _, mode := range []Mode{RoundRobin, Weighted, Geographic, Latency} {
		for name, ask := range map[string]Ask{
			"healthy": {Mode: mode, Draw: entropy, Place: Place{"NL", "EUROPE"}},
			"half":    {Mode: mode, Draw: entropy, Place: Place{"NL", "EUROPE"}, Health: half},
			"few":     {Mode: mode, Draw: entropy, Place: Place{"NL", "EUROPE"}, Health: few},
			"denying": {Mode: mode, Draw: entropy, Place: Place{"NL", "EUROPE"}, Denial: held},
			"bucket":  {Mode: mode, Draw: entropy, Place: Place{"NL", "EUROPE"}, Bucket: 3},
		} {
			b.Run(mode.String()+"/"+name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					ask.Turn++
					d.Pick(ask)
				}
			})
		}
	}
}

// BenchmarkNewDirectory is a reload of such a list.
func BenchmarkNewDirectory(b *testing.B) {
	list := members(10000, func(_ int, m *Backend) { m.Regions = []string{"NL", "EUROPE"} })
	b.ReportAllocs()
	for b.Loop() {
		if _, err := NewDirectory(list, nil); err != nil {
			b.Fatal(err)
		}
	}
}
