//go:build linux && !race

package serverbench_test

import (
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// cpuPair is the processor of the servers and that of the generator, as taskset names them.
type cpuPair struct{ server, generator string }

func (p cpuPair) both() string { return p.server + "," + p.generator }

// firstPair is the first two processors of a set; false: it has fewer.
func firstPair(set *unix.CPUSet) (p cpuPair, ok bool) {
	var found []string
	for i := range len(set) * strconv.IntSize {
		if set.IsSet(i) {
			found = append(found, strconv.Itoa(i))
		}
		if len(found) == 2 {
			return cpuPair{found[0], found[1]}, true
		}
	}
	return p, false
}

// allowedPair is two processors that we may use: under taskset or in a container they need not be the machine's first.
func allowedPair(t *testing.T) cpuPair {
	t.Helper()
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		t.Fatal("read which processors are allowed: ", err)
	}
	p, ok := firstPair(&set)
	if !ok {
		t.Skip("needs two processors: one for the servers, one for the generator")
	}
	return p
}

func TestFirstPair(t *testing.T) {
	for _, tt := range []struct {
		allowed []int
		want    cpuPair
		both    string
		ok      bool
	}{
		{[]int{0, 1, 2, 3}, cpuPair{"0", "1"}, "0,1", true},
		{[]int{3, 70, 71}, cpuPair{"3", "70"}, "3,70", true},
		{[]int{5}, cpuPair{}, "", false},
		{nil, cpuPair{}, "", false},
	} {
		var set unix.CPUSet
		for _, i := range tt.allowed {
			set.Set(i)
		}
		p, ok := firstPair(&set)
		if p != tt.want || ok != tt.ok || ok && p.both() != tt.both {
			t.Errorf("%v: %+v, %v", tt.allowed, p, ok)
		}
	}
}
