package pool

import (
	"slices"
	"testing"
)

// Who asks for a time source by name gets it first, in every mode, unless it could not have been offered.
func TestPick_Again(t *testing.T) {
	d, err := NewDirectory([]Backend{
		{Domain: "a.example", Port: 4460, Weight: 1}, {Domain: "b.example", Port: 4460, Weight: 1, ID: "id-of-b", Names: []string{"ntp.b.example"}},
		{Domain: "c.example", Port: 4460, Weight: 1000}, {Domain: "d.example", Port: 4460, Weight: 1, NoIPv4: true}, {Domain: "e.example", Port: 4460},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var aliases Aliases
	aliases.Learn(d.At(1), "Alias.Example")
	for _, tt := range []struct {
		name   string
		denied []string
		health Health // of b
		want   bool   // b comes first, and only then always
	}{
		{"b.example", nil, Fit, true}, {"B.Example.", nil, Fit, true}, {"ntp.b.example", nil, Fit, true}, {"alias.example", nil, Fit, true},
		{"b.example", []string{"a.example"}, Fit, true}, {"b.example", []string{"b.example"}, Fit, false},
		{"b.example", nil, Resting, false}, {"b.example", nil, Unfit, false}, {"z.example", nil, Fit, false},
	} {
		for _, mode := range []Mode{RoundRobin, Weighted, Geographic, Latency} {
			first := 0
			draw := seeded(3)
			for turn := range uint64(50) {
				c := d.Pick(Ask{
					Mode: mode, Turn: turn, Draw: draw, Denial: d.Denial(NewDenied(tt.denied), &aliases), Again: d.Bearing(tt.name, &aliases),
					Health: func(i int) Health {
						if i == 1 {
							return tt.health
						}
						return Fit
					},
				})
				if c.Order[0] == 1 {
					first++
				}
				if sorted := slices.Sorted(slices.Values(c.Order)); len(slices.Compact(sorted)) != len(c.Order) {
					t.Fatalf("%v holds somebody twice", c.Order)
				}
			}
			if (first == 50) != tt.want {
				t.Errorf("%s in %v with %v denied and health %v: first %d times of 50", tt.name, mode, tt.denied, tt.health, first)
			}
		}
	}
	for name, family := range map[string]Family{"d.example": IPv4, "e.example": IPv4} { // another family; without a weight, for monitors only
		for turn := range uint64(20) {
			again := d.Bearing(name, nil)
			if c := d.Pick(Ask{Turn: turn, Family: family, Again: again}); len(again) != 1 || slices.Contains(c.Order, int(again[0])) {
				t.Errorf("%s is offered: %v", name, c.Order)
			}
		}
	}
}
