package pool

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
)

func four(t *testing.T) *Directory {
	return mustDirectory(t, nil,
		Backend{Domain: "a.example", Port: 4460, Weight: 1},
		Backend{Domain: "b.example", Port: 4460, Weight: 1, Names: []string{"ntp.b.example"}},
		Backend{Domain: "c.example", Port: 4460, Weight: 1, Addresses: []netip.Addr{netip.MustParseAddr("2001:db8::c")}},
		Backend{Domain: "a.example", Port: 8080, Weight: 1})
}

func TestPick(t *testing.T) {
	d := four(t)
	var aliases Aliases
	aliases.Learn(d.At(2), "Anycast.Example.")
	for _, tt := range []struct {
		story   string
		turn    uint64
		denied  []string
		want    []int
		ignored bool
	}{
		{"the first user begins with the first entry, as in the seed", 0, nil, []int{0, 1, 2, 3}, false},
		{"the next one with the second", 1, nil, []int{1, 2, 3, 0}, false},
		{"and so round", 7, nil, []int{3, 0, 1, 2}, false},
		{"the counter wraps", ^uint64(0), nil, []int{3, 0, 1, 2}, false},
		{"P10 x0: an empty deny name means nothing", 0, []string{""}, []int{0, 1, 2, 3}, false},
		{"P10 x1: both ports of a denied host go", 0, []string{"a.example"}, []int{1, 2}, false},
		{"case and trailing dot do not matter", 1, []string{"B.EXAMPLE."}, []int{2, 3, 0}, false},
		{"configured name", 0, []string{"NTP.b.example"}, []int{0, 2, 3}, false},
		{"learned alias", 0, []string{"anycast.example"}, []int{0, 1, 3}, false},
		{"id, which is domain and port by default", 0, []string{"A.example:8080"}, []int{0, 1, 2}, false},
		{"address in another spelling", 0, []string{"2001:0DB8:0:0::C"}, []int{0, 1, 3}, false},
		{"P10: unknown names", 2, []string{"x.example", "1.2.3.4"}, []int{2, 3, 0, 1}, false},
		{"P10: all members", 1, []string{"a.example", "b.example", "c.example"}, []int{1, 2, 3, 0}, true},
	} {
		t.Run(tt.story, func(t *testing.T) {
			got := d.Pick(Ask{Turn: tt.turn, Denial: d.Denial(NewDenied(tt.denied), &aliases)})
			if !slices.Equal(got.Order, tt.want) || got.DenyIgnored != tt.ignored || got.HealthIgnored || got.Region != Global {
				t.Errorf("got %+v, want %v %v", got, tt.want, tt.ignored)
			}
		})
	}
}

func TestPick_EmptyDirectory(t *testing.T) {
	d := mustDirectory(t, nil)
	if got := d.Pick(Ask{Turn: 3, Denial: d.Denial(NewDenied([]string{"a"}), nil)}); len(got.Order) != 0 || got.DenyIgnored || got.Region != "" {
		t.Errorf("got %+v", got)
	}
}

// P10: 200 names; those after the 64th are ignored, doubles count once.
func TestP10_DenyNamesAfterThe64thAreIgnored(t *testing.T) {
	d := four(t)
	var names []string
	for i := range 199 {
		names = append(names, fmt.Sprintf("n%d.example", i))
	}
	late := NewDenied(append(slices.Clone(names), "a.example"))
	if late.Len() != maxDenied || len(d.Pick(Ask{Denial: d.Denial(late, nil)}).Order) != 4 {
		t.Errorf("%d names count and the last one had an effect", late.Len())
	}
	var doubled []string
	for i := range 63 {
		doubled = append(doubled, names[i], names[i]+".")
	}
	if got := d.Pick(Ask{Denial: d.Denial(NewDenied(append(doubled, "a.example")), nil)}); !slices.Equal(got.Order, []int{1, 2}) {
		t.Errorf("the 64th different name had no effect: %v", got.Order)
	}
}

func TestAliases_Bounded(t *testing.T) {
	d := four(t)
	var a Aliases
	for i := range 1000 {
		a.Learn(d.At(0), fmt.Sprintf("alias%d.example", i))
		a.Learn(d.At(0), "A.example.") // the domain itself needs no memory
	}
	if n, m := len(a.learned[d.At(0).String()]), len(a.holders); n != maxAliases || m != maxAliases {
		t.Errorf("%d aliases kept, %d found", n, m)
	}
	denial := d.Denial(NewDenied([]string{"alias999.example", "alias0.example"}), &a)
	if !denial.has(0) || denial.has(1) || denial.Known != 1 || denial.Unknown != 1 {
		t.Errorf("the latest aliases are not the ones kept: %+v", denial)
	}
	a.Learn(d.At(1), "alias999.example") // an address that two share
	if denial := d.Denial(NewDenied([]string{"alias999.example"}), &a); !denial.has(0) || !denial.has(1) {
		t.Errorf("a name of two: %+v", denial)
	}
	a.Keep(mustDirectory(t, nil, *d.At(1)))
	if len(a.learned) != 1 || len(a.holders) != 1 || len(a.learned[d.At(1).String()]) != 1 {
		t.Errorf("after the list lost one: %v, %v", a.learned, a.holders)
	}
}

// TestP15_SharesInTurn: over 1e5 users every backend that nobody denied gets its share, the denied ones nothing. There are no
// weights: the seed turns the list by one for each user.
func TestP15_SharesInTurn(t *testing.T) {
	var backends []Backend
	for i := range 7 {
		backends = append(backends, Backend{Domain: fmt.Sprintf("s%d.example", i), Port: 4460, Weight: 1})
	}
	d := mustDirectory(t, nil, backends...)
	const users = 100000
	first := func(denied ...string) (count [7]int) {
		who := d.Denial(NewDenied(denied), nil)
		for turn := range uint64(users) {
			count[d.Pick(Ask{Turn: turn, Denial: who}).Order[0]]++
		}
		return count
	}
	for i, n := range first() {
		if share := float64(n) / users; share < 1./7-0.02 || share > 1./7+0.02 {
			t.Errorf("backend %d has a share of %.3f", i, share)
		}
	}
	got := first("s1.example", "s3.example", "s5.example")
	for i, n := range got {
		if denied := i%2 == 1; denied != (n == 0) {
			t.Errorf("backend %d got %d users", i, n)
		}
	}
}

// TestAliases_Stated: what a backend says of itself is denied by until it says something else; whom others deny does not
// matter.
func TestAliases_Stated(t *testing.T) {
	d := four(t)
	var a Aliases
	a.State(d.At(0), []string{"NTP.a.example.", "10.0.0.1"})
	denies := func(i int, name string) bool { n := d.Denial(NewDenied([]string{name}), &a); return n.has(i) }
	if !denies(0, "ntp.A.example") || !denies(0, "::ffff:10.0.0.1") || denies(2, "ntp.a.example") {
		t.Error("the names of a list are not those that are denied")
	}
	a.State(d.At(0), []string{"other.example"})
	if denies(0, "ntp.a.example") || !denies(0, "other.example") {
		t.Error("an older list is still in use")
	}
	a.State(d.At(2), []string{"other.example"}) // an address that two share
	if a.State(d.At(0), nil); denies(0, "other.example") || !denies(2, "other.example") {
		t.Error("a list is still in use that was taken back, or another one is not")
	}
	if a.Keep(mustDirectory(t, nil, *d.At(1))); len(a.stated) != 0 || len(a.staters) != 0 {
		t.Errorf("after the list lost it: %v, %v", a.stated, a.staters)
	}
}
