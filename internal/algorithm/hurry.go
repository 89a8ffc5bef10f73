package algorithm

import "ntp-daemon/internal/ntp"

const (
	// hasteMost is how many samples may be wanted at once in a row.
	hasteMost = 4
	// hasteEarned is after how many that were not one more may be: who has reasons all the time gets 6 % more packets by them.
	hasteEarned = 16
)

// haste asks for a further sample at once where one tells what the latest meant: whether the source's time has changed, or the route to it.
type haste struct {
	wanted bool // by the latest sample
	spent  int  // of hasteMost
	earned int  // samples towards one less
}

// begin is called with each sample.
func (h *haste) begin() {
	h.wanted = false
	if h.earned++; h.earned >= hasteEarned {
		h.spent, h.earned = max(h.spent-1, 0), 0
	}
}

// want asks for the next sample as soon as the rate rules allow.
func (h *haste) want() {
	if !h.wanted && h.spent < hasteMost {
		h.wanted = true
		h.spent++
	}
}

// Hurry reports whether a further sample of a source at once would tell what the latest one meant. To be asked after Absorb.
func (d *Discipline) Hurry(id ntp.SourceID) bool {
	i, known := d.find(id)
	return known && d.trackers[i].haste.wanted
}
