package pool

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestPick_Properties: whatever the list, the user and the state of the time sources are, the candidates are different,
// in range, of the user's family, of weight; denied ones only if nobody else could be offered, and then nobody else; and
// there is one whenever there can be.
func TestPick_Properties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.OneOf(rapid.IntRange(0, 12), rapid.IntRange(0, 200)).Draw(t, "n")
		zero := rapid.IntRange(0, 4).Draw(t, "zero")
		list := members(n, func(i int, b *Backend) {
			switch rapid.IntRange(0, 6).Draw(t, "weight") {
			case 0:
				b.Weight = uint32(zero)
			case 1:
				b.Weight = MaxWeight
			default:
				b.Weight = uint32(1 + i%3)
			}
			b.Regions = [][]string{nil, {"NL"}, {"NL", "EUROPE"}, {"EUROPE", "EUROPE"}, {"US"}}[rapid.IntRange(0, 4).Draw(t, "regions")]
			b.Operator = []string{"", "", "a", "b"}[rapid.IntRange(0, 3).Draw(t, "operator")]
			family := rapid.IntRange(0, 9).Draw(t, "family")
			b.NoIPv4, b.NoIPv6 = family == 0 || family == 2, family == 1 || family == 2
		})
		d, err := NewDirectory(list, []string{"pool.example"})
		if err != nil {
			t.Fatal(err)
		}
		health := make([]Health, n)
		for i := range health {
			health[i] = Health(rapid.IntRange(0, 3).Draw(t, "health"))
		}
		var deny []string
		for range rapid.IntRange(0, 70).Draw(t, "denied") {
			deny = append(deny, fmt.Sprintf("s%d.example", rapid.IntRange(0, max(n, 1)).Draw(t, "name")))
		}
		draw := seeded(rapid.Uint64().Draw(t, "seed"))
		if rapid.IntRange(0, 9).Draw(t, "stuck") == 0 {
			stuck := rapid.Uint64().Draw(t, "value")
			draw = func() uint64 { return stuck }
		}
		ask := Ask{
			Mode: Mode(rapid.IntRange(0, len(modes)-1).Draw(t, "mode")), Turn: rapid.Uint64().Draw(t, "turn"), Draw: draw,
			Place:  []Place{{}, {"NL", "EUROPE"}, {"SE", "EUROPE"}, {"US", ""}, {"", "ASIA"}}[rapid.IntRange(0, 4).Draw(t, "place")],
			Family: Family(rapid.IntRange(0, 2).Draw(t, "of")), Bucket: Bucket(rapid.IntRange(0, bucketCount).Draw(t, "bucket")),
			Denial: d.Denial(NewDenied(deny), nil),
		}
		if rapid.Bool().Draw(t, "monitored") {
			ask.Health = func(i int) Health { return health[i] }
		}
		c := d.Pick(ask)

		possible, wanted := 0, 0
		for i := range n {
			if d.At(i).Weight == 0 || !d.At(i).serves(ask.Family) {
				continue
			}
			possible++
			if fit := ask.Health == nil || health[i] <= Resting; fit && !ask.Denial.has(i) {
				wanted++
			}
		}
		switch {
		case (possible == 0) != (len(c.Order) == 0):
			t.Fatalf("%d of %d could be offered: %+v", possible, n, c)
		case possible == 0:
			return
		case wanted > 0 && (c.DenyIgnored || c.HealthIgnored):
			t.Fatalf("%d could be offered without ignoring anything: %+v", wanted, c)
		case len(c.Order) > maxInTurn:
			t.Fatalf("%d candidates", len(c.Order))
		}
		for _, i := range c.Order {
			switch b := d.At(i); {
			case i < 0 || i >= n, b.Weight == 0, !b.serves(ask.Family):
				t.Fatalf("time source %d cannot be offered: %+v", i, b)
			case ask.Denial.has(i) != c.DenyIgnored:
				t.Fatalf("time source %d, denied: %v, in %+v", i, ask.Denial.has(i), c)
			case ask.Health != nil && health[i] > Resting && !c.HealthIgnored:
				t.Fatalf("time source %d is unfit: %+v", i, c)
			case c.Region != Global && i == c.Order[0] && !slices.Contains(b.Regions, c.Region):
				t.Fatalf("time source %d is not of %s", i, c.Region)
			}
		}
		sorted := slices.Clone(c.Order)
		slices.Sort(sorted)
		if len(slices.Compact(sorted)) != len(c.Order) {
			t.Fatalf("twice: %v", c.Order)
		}
	})
}

// FuzzBucket: no name of a user is trouble.
func FuzzBucket(f *testing.F) {
	for _, s := range []string{"", "0.", "0.pool.example", "3.POOL.example.", "1.2.3.4", "0.::1", "0.\x00", "2..", "2.*.pool.example"} {
		f.Add(s)
	}
	d, err := NewDirectory(nil, []string{"pool.example", "*.pool.example"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if b := d.Bucket(name); b > bucketCount || b != Whole && (name[1] != '.' || !d.isOwn(CanonicalName(name[2:]))) {
			t.Errorf("%q: %d", name, b)
		}
	})
}
