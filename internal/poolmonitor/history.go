package poolmonitor

import (
	"math"
	"time"
)

const (
	// SlotTime is the length of one slot of the history.
	SlotTime = 15 * time.Minute
	// slots is how many there are: two days.
	slots = 192
	// mostHistories is how many time sources have a history; in a pool that is larger nobody looks at each.
	mostHistories = 2000
)

// Slot is what a time source did in one quarter of an hour.
type Slot struct {
	Score    int8          // the lowest, rounded
	Offset   time.Duration // the farthest from zero
	Probes   int           // 0: nothing is known, and the others have no meaning
	Failures int           // of them, those that failed
}

// history is a ring of slots, aligned to the hours of the clock. The zero value is empty.
type history struct {
	ring []Slot
	last int64 // number of the latest slot, from 1970
}

// at returns the slot of now, with those that were passed over since the last one emptied. A clock that goes
// back stays in the latest slot, and one that was two days ahead begins anew.
func (h *history) at(now time.Time) *Slot {
	n := now.Unix() / int64(SlotTime/time.Second)
	if h.ring == nil {
		h.ring, h.last = make([]Slot, slots), n
	}
	if n-h.last >= slots || h.last-n >= slots {
		clear(h.ring)
		h.last = n
	}
	for h.last < n {
		h.last++
		h.ring[h.last%slots] = Slot{}
	}
	return &h.ring[h.last%slots]
}

// add notes one probe and the score after it.
func (h *history) add(now time.Time, score float64, failed bool) *Slot {
	s := h.at(now)
	rounded := int8(math.Round(score))
	if s.Probes == 0 || rounded < s.Score {
		s.Score = rounded
	}
	s.Probes++
	if failed {
		s.Failures++
	}
	return s
}

// list returns the slots from oldest to latest, and how long the latest goes on; nil if there is nothing.
func (h *history) list(now time.Time) (list []Slot, left time.Duration) {
	if h.ring == nil {
		return nil, 0
	}
	h.at(now)
	list = make([]Slot, 0, slots)
	for i := h.last + 1; i <= h.last+slots; i++ {
		list = append(list, h.ring[i%slots])
	}
	return list, time.Unix((h.last+1)*int64(SlotTime/time.Second), 0).Sub(now)
}

// Merge is what a time source did in several slots that follow each other.
func Merge(list []Slot) (all Slot) {
	for _, s := range list {
		if s.Probes == 0 {
			continue
		}
		if all.Probes == 0 || s.Score < all.Score {
			all.Score = s.Score
		}
		if s.Offset.Abs() > all.Offset.Abs() {
			all.Offset = s.Offset
		}
		all.Probes += s.Probes
		all.Failures += s.Failures
	}
	return all
}
