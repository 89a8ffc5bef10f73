package resolve

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// chance is reproducible randomness.
func chance(seed byte) *rand.ChaCha8 { return rand.NewChaCha8([32]byte{seed}) }

// RFC 2782: priorities ascending, within each drawn by weight, weight 0 last.
func TestOrder_Priorities(t *testing.T) {
	list := []Service{
		{"spare2", 1, 20, 0}, {"first2", 1, 10, 5}, {"none1", 1, 10, 0}, {"spare1", 1, 20, 9}, {"first1", 1, 10, 60000}, {"last", 1, 65535, 1}, {"none2", 1, 10, 0},
	}
	rnd := chance(1)
	for range 1000 {
		got := order(list, rnd)
		var names []string
		for _, s := range got {
			names = append(names, s.Target[:len(s.Target)-1])
		}
		if want := []string{"first", "first", "none", "none", "spare", "spare", "las"}; !slices.Equal(names, want) {
			t.Fatalf("order %v", got)
		}
		if got[4].Target != "spare1" {
			t.Fatalf("weight 0 before another weight: %v", got)
		}
	}
	if list[0].Target != "spare2" {
		t.Error("the argument was changed")
	}
}

// Over 1e5 orders each place in the order has the shares that drawing without putting back gives: the first by weight, the
// second by weight among those left. Six standard deviations are allowed.
func TestOrder_Shares(t *testing.T) {
	const n = 100_000
	for _, weights := range [][]uint16{{1, 2, 7}, {10, 10, 10, 10}, {0, 0, 0, 0, 0}, {65535, 1, 65534}, {3}, {0, 5}} {
		var list []Service
		var sum float64
		for i, w := range weights {
			list = append(list, Service{Target: string(rune('a' + i)), Port: 1, Weight: w})
			sum += float64(w)
		}
		share := func(i int, left float64, among int) float64 {
			if left == 0 {
				return 1 / float64(among)
			}
			return float64(weights[i]) / left
		}
		first, pairs := make([]int, len(list)), map[[2]int]int{}
		rnd := chance(2)
		for range n {
			got := order(list, rnd)
			a := int(got[0].Target[0] - 'a')
			first[a]++
			if len(got) > 1 {
				pairs[[2]int{a, int(got[1].Target[0] - 'a')}]++
			}
		}
		check := func(what string, count int, p float64) {
			t.Helper()
			if sigma := math.Sqrt(n * p * (1 - p)); math.Abs(float64(count)-n*p) > 6*sigma+1e-6 {
				t.Errorf("weights %v: %s %d times, want %.0f ± %.0f", weights, what, count, n*p, 6*sigma)
			}
		}
		for a := range list {
			pa := share(a, sum, len(list))
			check(fmt.Sprintf("%d first", a), first[a], pa)
			for b := range list {
				if a == b {
					continue
				}
				check(fmt.Sprintf("%d then %d", a, b), pairs[[2]int{a, b}], pa*share(b, sum-float64(weights[a]), len(list)-1))
			}
		}
	}
}

// Randomness that fails costs the chance, nothing else.
func TestOrder_BrokenRandomness(t *testing.T) {
	got := order([]Service{{"a", 1, 1, 0}, {"b", 1, 1, 2}, {"c", 1, 0, 0}}, bytes.NewReader(nil))
	if len(got) != 3 || got[0].Target != "c" || got[1].Target != "b" {
		t.Errorf("%v", got)
	}
}

func TestDistinct(t *testing.T) {
	got := distinct([]Service{
		{"a.test", 4460, 20, 5}, {"A.Test", 4461, 10, 1}, {"b.test", 0, 1, 1}, {"a.test", 4462, 10, 7}, {"", 1, 0, 0}, {"c.test", 1, 30, 0},
	})
	if want := []Service{{"a.test", 4462, 10, 7}, {"c.test", 1, 30, 0}}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestServiceError(t *testing.T) {
	err := error(&ServiceError{"_ntske._tcp.pool.test", fmt.Errorf("%w: why", ErrNotValidated)})
	if !errors.Is(err, ErrNotValidated) || err.Error() != `SRV records of "_ntske._tcp.pool.test": not validated by DNSSEC: why` {
		t.Error(err)
	}
}
