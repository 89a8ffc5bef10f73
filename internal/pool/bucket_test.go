package pool

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// Which part of the list the name by which a user came asks for.
func TestD3_41_NamesOfUsers(t *testing.T) {
	d := mustDirectory(t, []string{"pool.example", "*.pool.example", "*.ke.example.org", "localhost", "203.0.113.7"})
	for name, want := range map[string]Bucket{
		"0.pool.example": 1, "1.pool.example": 2, "2.pool.example": 3, "3.pool.example": 4, "3.POOL.Example": 4, "2.pool.example.": 3,
		"1.ke.example.org":   2, // the certificate is for the names below it
		"1.a.pool.example":   2, // covered by the wildcard
		"1.b.a.pool.example": 0, // not covered
		"0.localhost":        1, "4.pool.example": 0, "00.pool.example": 0, "-.pool.example": 0, "a.pool.example": 0, "0pool.example": 0,
		"pool.example": 0, "": 0, ".": 0, "0": 0, "0.": 0, "0..": 0, "0..pool.example": 0, "1.elsewhere.example": 0, "0.0.pool.example": 1,
		"1.2.3.4": 0, "0.203.0.113.7": 1, "2001:db8::1": 0, "::1": 0, "1.example": 0, "1.org": 0,
	} {
		if got := d.Bucket(name); got != want {
			t.Errorf("%q: bucket %d, want %d", name, got, want)
		}
	}
	if got := mustDirectory(t, nil).Bucket("0.pool.example"); got != Whole {
		t.Errorf("a pool without names: bucket %d", got)
	}
	// A time source may not send users back to a part of the pool.
	if err := d.CheckServerName(&Backend{Domain: "ts.example", Port: 1}, "3.pool.example", Expected{}); err == nil {
		t.Error("a time source may hand out 3.pool.example")
	}
}

// scene makes a random list: weights, operators, regions in a country and continent.
func scene(r *rand.Rand, n int) []Backend {
	return members(n, func(_ int, b *Backend) {
		b.Weight = uint32(1 + r.IntN(10))
		b.ID = fmt.Sprintf("%08x", r.Uint32())
		switch r.IntN(4) {
		case 0:
			b.Regions = []string{"NL", "EUROPE"}
		case 1:
			b.Regions = []string{"DE", "EUROPE"}
		case 2:
			b.Regions = []string{"US", "NORTH-AMERICA"}
		}
		if r.IntN(3) == 0 {
			b.Operator = fmt.Sprintf("operator %d", r.IntN(5))
		}
	})
}

// bucketsByID is who is where.
func bucketsByID(list []Backend) map[string]Bucket {
	m := make(map[string]Bucket, len(list))
	for i, b := range bucketsOf(list) {
		m[list[i].Name()] = b
	}
	return m
}

// TestBuckets_OrderDoesNotMatter: every replica finds the same parts, however its list is sorted.
func TestBuckets_OrderDoesNotMatter(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 300 {
		list := scene(r, r.IntN(60))
		want := bucketsByID(list)
		r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		for id, b := range bucketsByID(list) {
			if b != want[id] {
				t.Fatalf("%s went from %d to %d", id, want[id], b)
			}
		}
	}
}

// TestBuckets_Golden: the parts are the same in every version of the program, or replicas of two of them would give a user the
// same time source twice.
func TestBuckets_Golden(t *testing.T) {
	got := bucketsOf(members(12, in([]string{"NL", "EUROPE"}, []string{"NL", "EUROPE"}, []string{"NL", "EUROPE"}, []string{"NL", "EUROPE"})))
	if want := []Bucket{3, 4, 2, 1, 4, 1, 3, 4, 3, 2, 2, 1}; !slices.Equal(got, want) {
		t.Errorf("buckets %v, want %v", got, want)
	}
}

// TestBuckets_Even: all of the list, and of each region, is shared out about evenly: nobody is in two parts or none, none
// is empty where there are four, and none has more than its quarter, a quarter of that, and one time source more.
func TestBuckets_Even(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 1))
	for range 300 {
		list := scene(r, 1+r.IntN(80))
		type region struct {
			load  [5]uint64
			count [5]int
			total uint64
			heavy uint64
			n     int
		}
		regions := map[string]*region{}
		for i, k := range bucketsOf(list) {
			if k < 1 || k > bucketCount {
				t.Fatalf("time source %d is in bucket %d", i, k)
			}
			for _, name := range list[i].allRegions() {
				if regions[name] == nil {
					regions[name] = &region{}
				}
				s, w := regions[name], uint64(list[i].Weight)
				s.load[k], s.total, s.heavy, s.count[k], s.n = s.load[k]+w, s.total+w, max(s.heavy, w), s.count[k]+1, s.n+1
			}
		}
		for name, s := range regions {
			for k := 1; k <= bucketCount; k++ {
				if s.n >= bucketCount && s.count[k] == 0 {
					t.Fatalf("%s: bucket %d of %d time sources is empty: %+v", name, k, s.n, s)
				}
				// The country has the first say, so only it has the whole promise.
				if len(name) == 2 && s.load[k] > s.total*5/16+s.heavy {
					t.Fatalf("%s: bucket %d is too heavy: %+v", name, k, s)
				}
				if s.load[k] > s.total*5/16+2*s.heavy {
					t.Fatalf("%s: bucket %d is far too heavy: %+v", name, k, s)
				}
			}
		}
	}
}

// TestBuckets_Stable: of 100 equal time sources the coming or going of one moves fewer than two others on the average.
func TestBuckets_Stable(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 1))
	moved, most := 0, 0
	const trials = 300
	for range trials {
		list := members(100, func(_ int, b *Backend) {
			b.ID = fmt.Sprintf("%08x", r.Uint32())
			b.Domain = b.ID + ".example"
			b.Regions = [][]string{{"NL", "EUROPE"}, {"DE", "EUROPE"}, {"US", "NORTH-AMERICA"}, nil}[r.IntN(4)]
		})
		before, now := bucketsByID(list), 0
		for id, b := range bucketsByID(list[:99]) {
			if b != before[id] {
				now++
			}
		}
		moved, most = moved+now, max(most, now)
	}
	t.Logf("%.2f moved on the average, at most %d", float64(moved)/trials, most)
	if moved >= 2*trials || most > 15 {
		t.Errorf("%.2f of 99 moved on the average, at most %d", float64(moved)/trials, most)
	}
}

// TestBuckets_OperatorsTogether: the time sources of one operator are in one part while they are no more than that holds, so that
// four lines lead to four operators.
func TestBuckets_OperatorsTogether(t *testing.T) {
	list := members(40, func(i int, b *Backend) { b.Operator = fmt.Sprintf("operator %d", i/2) })
	split := 0
	all := bucketsOf(list)
	for i := 0; i < len(all); i += 2 {
		if all[i] != all[i+1] {
			split++
		}
	}
	if split > 6 {
		t.Errorf("%d of 20 operators are in two parts", split)
	}
	one := members(8, func(_ int, b *Backend) { b.Operator = "all of it" })
	counts := map[Bucket]int{}
	for _, b := range bucketsOf(one) {
		counts[b]++
	}
	if len(counts) != bucketCount || counts[1] != 2 || counts[2] != 2 {
		t.Errorf("a pool of one operator: %v", counts)
	}
}

// The four names lead to four different time sources, near ones as far as there are any, whatever the
// size of the user's country.
func TestD3_34_SmallRegions(t *testing.T) {
	nl, eu := []string{"NL", "EUROPE"}, []string{"EUROPE"}
	for _, tt := range []struct {
		story    string
		list     []Backend
		near     int // of the four, at least how many from the country
		distinct int
	}{
		{"a country of four", members(20, in(nl, nl, nl, nl)), 4, 4},
		{"of three", members(20, in(nl, nl, nl, eu, eu, eu, eu, eu, eu)), 3, 4},
		{"of one", members(20, in(nl, eu, eu, eu, eu, eu)), 1, 4},
		{"of none", members(20, nil), 0, 4},
		{"a pool of four", members(4, in(nl)), 1, 4},
		{"a pool of three", members(3, in(nl, nl, nl)), 3, 3},
		{"a pool of one", members(1, in(nl)), 4, 1},
	} {
		for _, mode := range []Mode{RoundRobin, Weighted, Geographic, Latency} {
			t.Run(fmt.Sprint(tt.story, "/", mode), func(t *testing.T) {
				d := mustDirectory(t, nil, tt.list...)
				draw := seeded(1)
				for turn := range uint64(200) {
					var first []int
					near := 0
					for bucket := Bucket(1); bucket <= bucketCount; bucket++ {
						c := d.Pick(Ask{Mode: mode, Turn: turn * 7, Draw: draw, Bucket: bucket, Place: Place{"NL", "EUROPE"}})
						first = append(first, c.Order[0])
						if slices.Contains(d.At(c.Order[0]).Regions, "NL") {
							near++
						}
					}
					slices.Sort(first)
					if n := len(slices.Compact(first)); n < tt.distinct {
						t.Fatalf("four names lead to %d time sources, want %d", n, tt.distinct)
					}
					if mode == Geographic && near < tt.near {
						t.Fatalf("%d of four are near, want %d", near, tt.near)
					}
				}
			})
		}
	}
}

// In turn, a part of the list is shared out evenly as well: the count of users goes round in it, not in the whole list.
func TestBuckets_InTurn(t *testing.T) {
	d := mustDirectory(t, nil, members(40, nil)...)
	for bucket := Bucket(1); bucket <= bucketCount; bucket++ {
		n := len(d.shares.of(Global, AnyFamily, bucket).members)
		for i, share := range firsts(d, 40*n*10, Ask{Bucket: bucket}) {
			if inside := d.shares.buckets[i] == bucket; inside && (share < 0.98/float64(n) || share > 1.02/float64(n)) || !inside && share != 0 {
				t.Errorf("bucket %d of %d: time source %d has %.3f", bucket, n, i, share)
			}
		}
	}
}

// A part whose time sources are all out of order, or denied, gives way to the others.
func TestBuckets_GiveWay(t *testing.T) {
	d := mustDirectory(t, nil, members(8, nil)...)
	var mine []string
	for i, b := range d.shares.buckets {
		if b == 2 {
			mine = append(mine, d.At(i).ID)
		}
	}
	for _, mode := range []Mode{RoundRobin, Weighted, Geographic, Latency} {
		for story, ask := range map[string]Ask{
			"unfit":   {Health: func(i int) Health { return map[bool]Health{true: Unfit}[d.shares.buckets[i] == 2] }},
			"resting": {Health: func(i int) Health { return map[bool]Health{true: Resting}[d.shares.buckets[i] == 2] }},
			"denied":  {Denial: d.Denial(NewDenied(mine), nil)},
		} {
			ask.Mode, ask.Draw, ask.Bucket = mode, seeded(2), 2
			c := d.Pick(ask)
			if d.shares.buckets[c.Order[0]] == 2 || c.DenyIgnored || c.HealthIgnored {
				t.Errorf("%v, %s: %+v", mode, story, c)
			}
		}
		c := d.Pick(Ask{Mode: mode, Draw: seeded(2), Bucket: 2})
		if n := len(mine); d.shares.buckets[c.Order[0]] != 2 || d.shares.buckets[c.Order[n-1]] != 2 || len(c.Order) != 8 {
			t.Errorf("%v: the part does not come first: %+v", mode, c)
		}
	}
}
