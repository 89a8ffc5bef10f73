package pool

import (
	"slices"
	"strings"
)

// Global labels the set of all time sources, the widest region there is.
const Global = "@"

// set is the time sources that a draw is made from: those of one region, family and bucket whose weight is not 0, in the
// order of the list. It costs 12 bytes for each, made once per list, so that a user's draw is one number and one binary
// search however long the list is.
type set struct {
	region  string
	members []int32
	sums    []uint64 // sums[k] is the weight of members[0] to members[k] together
}

// total is the weight of the whole set, 0 if and only if it is empty.
func (s *set) total() uint64 {
	if len(s.sums) == 0 {
		return 0
	}
	return s.sums[len(s.sums)-1]
}

// at is the member in whose part of [0, total) x lies: the parts are as long as the weights.
func (s *set) at(x uint64) int {
	k, found := slices.BinarySearch(s.sums, x)
	if found {
		k++ // a part begins at the sum of those before it
	}
	return int(s.members[k])
}

// setKey names a set.
type setKey struct {
	region string
	family Family
	bucket Bucket
}

// shares is all that is worked out from a list so that a user's choice is cheap.
type shares struct {
	sets      map[setKey]*set
	empty     *set
	families  bool     // some time source serves one family only; else AnyFamily stands for all
	buckets   []Bucket // by index; Whole for weight 0
	operators []int32  // by index: the same number, the same operator
	named     bool     // an operator is written for some time source

	byName   map[string][]int32 // canonical domain, id, name or address → indices
	byTarget map[string][]int32 // Backend.String → indices
}

// newShares works out the sets of a list.
func newShares(backends []Backend) *shares {
	s := &shares{
		sets: make(map[setKey]*set), empty: &set{region: Global}, operators: make([]int32, len(backends)),
		byName: make(map[string][]int32, len(backends)), byTarget: make(map[string][]int32, len(backends)),
	}
	operators := make(map[string]int32)
	for i := range backends {
		b := &backends[i]
		s.families = s.families || b.NoIPv4 || b.NoIPv6
		s.named = s.named || b.Operator != ""
		name := b.operator()
		if _, known := operators[name]; !known {
			operators[name] = int32(len(operators))
		}
		s.operators[i] = operators[name]
		s.index(int32(i), b)
	}
	s.buckets = bucketsOf(backends)
	for i := range backends {
		s.enter(int32(i), &backends[i])
	}
	return s
}

// enter puts a time source into every set that it belongs to.
func (s *shares) enter(i int32, b *Backend) {
	if b.Weight == 0 {
		return
	}
	for family := range families {
		if family != AnyFamily && (!s.families || !b.serves(family)) {
			continue
		}
		for _, region := range b.allRegions() {
			for _, bucket := range [...]Bucket{Whole, s.buckets[i]} {
				key := setKey{region, family, bucket}
				in := s.sets[key]
				if in == nil {
					in = &set{region: region}
					s.sets[key] = in
				}
				in.members = append(in.members, i)
				in.sums = append(in.sums, in.total()+uint64(b.Weight))
			}
		}
	}
}

// index remembers by which names a time source can be denied.
func (s *shares) index(i int32, b *Backend) {
	enter := func(in map[string][]int32, name string) {
		if list := in[name]; len(list) == 0 || list[len(list)-1] != i {
			in[name] = append(list, i)
		}
	}
	enter(s.byTarget, b.String())
	enter(s.byName, CanonicalName(b.Domain))
	enter(s.byName, CanonicalName(b.Name()))
	for _, name := range b.Names {
		enter(s.byName, CanonicalName(name))
	}
	for _, addr := range b.Addresses {
		enter(s.byName, addr.Unmap().String())
	}
}

// of is the set of a region, for a family and bucket; never nil.
func (s *shares) of(region string, family Family, bucket Bucket) *set {
	if !s.families {
		family = AnyFamily
	}
	if found := s.sets[setKey{region, family, bucket}]; found != nil {
		return found
	}
	return s.empty
}

// operator is who runs the time source, in the form in which operators are compared.
func (b *Backend) operator() string {
	if b.Operator != "" {
		return strings.ToLower(strings.TrimSpace(b.Operator))
	}
	return CanonicalName(b.Domain)
}

// allRegions is Regions, each once, and Global.
func (b *Backend) allRegions() []string {
	list := append(slices.Clone(b.Regions), Global)
	slices.Sort(list)
	return slices.Compact(list)
}
