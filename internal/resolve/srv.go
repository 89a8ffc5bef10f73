package resolve

import (
	"cmp"
	"encoding/binary"
	"io"
	"slices"
	"strings"
	"time"
)

// maxServices bounds how many servers one name stands for: those that RFC 2782 puts first.
const maxServices = 64

// How long SRV records are believed, whatever their TTL says: not so short that each of several sources of one pool asks
// again, not so long that a member that left is still asked the next day.
const (
	leastTTL = time.Minute
	mostTTL  = time.Hour
)

// Service is one server that an SRV record names (RFC 2782).
type Service struct {
	Target   string // host name without the final dot; the certificate must be for it
	Port     uint16 // TCP, never 0
	Priority uint16 // lower ones are asked first
	Weight   uint16 // share of the clients among those of one priority; 0: only after the others
}

// distinct leaves one record for each target, the one that would be asked first, and none of those that lead nowhere.
func distinct(list []Service) []Service {
	slices.SortStableFunc(list, func(a, b Service) int {
		return cmp.Or(cmp.Compare(a.Priority, b.Priority), cmp.Compare(b.Weight, a.Weight))
	})
	seen := map[string]bool{}
	return slices.DeleteFunc(list, func(s Service) bool {
		name := strings.ToLower(s.Target)
		twice := seen[name]
		seen[name] = true
		return twice || s.Port == 0 || s.Target == ""
	})
}

// order puts servers in the order in which one client asks them (RFC 2782): priorities ascending, and within one priority
// drawn one by one without putting back, each with the chance of its weight among those left. Those without weight come
// last, in an order by chance: a pool whose records all have weight 0 spreads its clients evenly. Each call draws anew. rnd
// that fails gives an order that is legal and the same for all.
func order(list []Service, rnd io.Reader) []Service {
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b Service) int { return cmp.Compare(a.Priority, b.Priority) })
	for from := 0; from < len(list); {
		to := from + 1
		for to < len(list) && list[to].Priority == list[from].Priority {
			to++
		}
		draw(list[from:to], rnd)
		from = to
	}
	return list
}

// draw orders the servers of one priority.
func draw(list []Service, rnd io.Reader) {
	for n := range list {
		left := list[n:]
		sum := uint64(0)
		for _, s := range left {
			sum += uint64(s.Weight)
		}
		chosen := 0
		if sum == 0 {
			chosen = int(below(rnd, uint64(len(left))))
		} else {
			for at := below(rnd, sum); at >= uint64(left[chosen].Weight); chosen++ {
				at -= uint64(left[chosen].Weight)
			}
		}
		left[0], left[chosen] = left[chosen], left[0]
	}
}

// below draws a number from 0 to n-1, n > 0. With n below 2^32 no number is likelier than another by more than 2^-32.
func below(rnd io.Reader, n uint64) uint64 {
	var b [8]byte
	if _, err := io.ReadFull(rnd, b[:]); err != nil {
		return 0
	}
	return binary.BigEndian.Uint64(b[:]) % n
}
