package pool

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strings"
)

// Bucket is which part of the time sources a user asked for by the name that it used: a client that knows nothing of
// pools gets four different servers by four lines, one for each of 0.pool to 3.pool (docs/rules/pool.md#buckets).
type Bucket uint8

// Whole is no part but all. The buckets of the prefixes 0. to 3. are 1 to 4.
const Whole Bucket = 0

// bucketCount is the number of prefixes.
const bucketCount = 4

// Bucket is the part that belongs to the name by which a user came (SNI): that of its first label 0, 1, 2 or 3, if what
// follows is a name of the pool itself. Every other name, an address and no name mean the whole.
func (d *Directory) Bucket(reached string) Bucket {
	if len(reached) < 3 || reached[1] != '.' || reached[0] < '0' || reached[0] >= '0'+bucketCount || !d.isOwn(CanonicalName(reached[2:])) {
		return Whole
	}
	return Bucket(reached[0]-'0') + 1
}

// isOwn reports whether a canonical name is the pool's: its certificate has it, covers it by a wildcard or, as
// *.ke.example.org says of ke.example.org, is for the names below it.
func (d *Directory) isOwn(name string) bool {
	if slices.Contains(d.own, name) || slices.Contains(d.below, name) {
		return true
	}
	first, parent, _ := strings.Cut(name, ".")
	return first != "" && slices.Contains(d.below, parent)
}

// isOwnPart reports whether a canonical name is that of a part of the pool. What a wildcard covers is not counted here,
// because time sources may be of that domain as well.
func (d *Directory) isOwnPart(name string) bool {
	return d.Bucket(name) != Whole && slices.Contains(d.own, name[2:])
}

// slack is how much more than a quarter of the weight of a region a bucket may hold before it counts as full, as a
// fraction: a quarter more. Less of it would move more time sources at each change of the list.
const (
	slackNum = 5
	slackDen = 4
)

// quarter is what the buckets of one region hold while the time sources are shared out.
type quarter struct {
	members int // in the region
	left    int // of them not shared out yet
	weight  uint64
	count   [bucketCount]int
	load    [bucketCount]uint64
}

// bucketsOf shares the time sources out among the four buckets, by rendezvous hashing with bounded loads (Thaler and
// Ravishankar 1998; Mirrokni, Thorup and Zadimoghaddam 2018): each prefers the bucket for which the hash of its operator
// is highest, and goes to the next one where that is full. So the time sources of one operator are in one bucket as
// long as they fit, no bucket of a region with four members is empty, and weights are about equal. It depends on ids, operators,
// weights and regions only: every replica finds the same, whatever the order of its list, and a time source that comes
// or goes moves others only across a bound.
func bucketsOf(backends []Backend) []Bucket {
	all := make([]Bucket, len(backends))
	regions := make(map[string]*quarter)
	turns := make([]turn, 0, len(backends))
	for i := range backends {
		b := &backends[i]
		if b.Weight == 0 {
			continue
		}
		for _, r := range b.allRegions() {
			q := regions[r]
			if q == nil {
				q = new(quarter)
				regions[r] = q
			}
			q.members, q.left, q.weight = q.members+1, q.left+1, q.weight+uint64(b.Weight)
		}
		turns = append(turns, turn{index: i, weight: b.Weight, id: sha256.Sum256([]byte("turn " + strings.ToLower(b.Name())))})
	}
	// The heaviest first: what comes late finds less room.
	slices.SortStableFunc(turns, func(a, b turn) int {
		return cmp.Or(cmp.Compare(b.weight, a.weight), bytes.Compare(a.id[:], b.id[:]))
	})
	for _, t := range turns {
		all[t.index] = place(&backends[t.index], regions)
	}
	return all
}

// turn is when a time source is placed.
type turn struct {
	index  int
	weight uint32
	id     [sha256.Size]byte
}

// place finds the bucket of the next time source and enters it into its regions. The smallest region has the first
// say, and each narrows down what the smaller ones left.
func place(b *Backend, regions map[string]*quarter) Bucket {
	var mine []*quarter
	for _, r := range b.allRegions() {
		mine = append(mine, regions[r])
	}
	slices.SortStableFunc(mine, func(a, b *quarter) int { return cmp.Compare(a.members, b.members) })
	open := [bucketCount]bool{true, true, true, true}
	for _, q := range mine {
		open = q.narrow(open, uint64(b.Weight))
	}
	// Rendezvous: eight bytes of the operator's hash for each bucket.
	scores := sha256.Sum256([]byte("operator " + b.operator()))
	best, score := -1, uint64(0)
	for k := range bucketCount {
		if s := binary.BigEndian.Uint64(scores[8*k:]); open[k] && (best < 0 || s > score) {
			best, score = k, s
		}
	}
	for _, q := range mine {
		q.left--
		q.count[best]++
		q.load[best] += uint64(b.Weight)
	}
	return Bucket(best) + 1
}

// narrow leaves of the open buckets those that this region can bear: the empty ones, if just as many time sources are
// left as there are of those; else those that stay within their quarter and the slack; else the lightest.
func (q *quarter) narrow(open [bucketCount]bool, weight uint64) [bucketCount]bool {
	var empty, fits, lightest [bucketCount]bool
	empties, anyFits, least := 0, false, ^uint64(0)
	for k := range bucketCount {
		if q.count[k] == 0 {
			empties++
		}
		if open[k] {
			least = min(least, q.load[k])
		}
	}
	anyEmpty := false
	for k := range bucketCount {
		empty[k] = open[k] && q.count[k] == 0
		fits[k] = open[k] && bucketCount*slackDen*(q.load[k]+weight) <= slackNum*q.weight
		lightest[k] = open[k] && q.load[k] == least
		anyEmpty, anyFits = anyEmpty || empty[k], anyFits || fits[k]
	}
	switch {
	case q.left <= empties && anyEmpty:
		return empty
	case anyFits:
		return fits
	}
	return lightest
}
