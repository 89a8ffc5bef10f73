package loadgen

import (
	"encoding/binary"
	"time"
)

// Offsets of the header (RFC 5905 §7.3) that are looked at here, in bytes.
const (
	headerSize   = 48
	atStratum    = 1
	atReference  = 12
	atOrigin     = 24
	atReceive    = 32
	atTransmit   = 40
	modeServer   = 4
	leapUnknown  = 3
	requestFlags = 4<<3 | 3 // version 4, client
)

// Counts are what became of the requests.
type Counts struct {
	Sent        uint64 `json:"sent"`
	Valid       uint64 `json:"valid"`        // one answer each, authentic with NTS
	Interleaved uint64 `json:"interleaved"`  // of the valid: with the transmit stamp of the answer before
	Early       uint64 `json:"early"`        // answers to requests of the warm-up
	Repeated    uint64 `json:"repeated"`     // a second answer
	Unmatched   uint64 `json:"unmatched"`    // to nothing that we asked
	Malformed   uint64 `json:"malformed"`    // too short, or no answer of a server
	Kiss        uint64 `json:"kiss"`         // refusals
	Unsynced    uint64 `json:"unsynced"`     // of the valid: by a server that says it has no time
	Forged      uint64 `json:"forged"`       // with NTS: not authentic, or another identifier
	Opened      uint64 `json:"opened"`       // with NTS, of the valid: the authenticator was checked
	Unsent      uint64 `json:"unsent"`       // the kernel refused to send
	Late        uint64 `json:"late"`         // not sent, because this side could not keep the rate
	Renewed     uint64 `json:"renewed"`      // how often the closed loop took everything under way for lost
	AnswerBytes int    `json:"answer_bytes"` // length of the last valid answer
}

// minus is what happened since before.
func (c Counts) minus(before Counts) Counts {
	c.Sent -= before.Sent
	c.Valid -= before.Valid
	c.Interleaved -= before.Interleaved
	c.Early -= before.Early
	c.Repeated -= before.Repeated
	c.Unmatched -= before.Unmatched
	c.Malformed -= before.Malformed
	c.Kiss -= before.Kiss
	c.Unsynced -= before.Unsynced
	c.Forged -= before.Forged
	c.Opened -= before.Opened
	c.Unsent -= before.Unsent
	c.Late -= before.Late
	c.Renewed -= before.Renewed
	return c
}

// judge counts answers.
type judge struct {
	Counts
	places *places
	nts    *association // nil: plain
	took   histogram
	since  time.Duration // requests sent before that belong to the warm-up
}

// kiss reports whether an answer of stratum 0 is a refusal.
func kiss(b []byte) bool {
	if b[atStratum] != 0 {
		return false
	}
	switch string(b[atReference : atReference+4]) {
	case "RATE", "DENY", "RSTR", "NTSN":
		return true
	}
	return false
}

// answer counts one datagram that came at now.
func (j *judge) answer(b []byte, now time.Duration) {
	if len(b) < headerSize || b[0]&7 != modeServer {
		j.Malformed++
		return
	}
	pl, m := j.places.find(binary.BigEndian.Uint64(b[atOrigin:]))
	switch {
	case m == unmatched:
		j.Unmatched++
		return
	case m == repeated:
		j.Repeated++
		return
	case kiss(b):
		j.Kiss++
		pl.open = false
		return
	}
	if j.nts != nil && !j.authentic(b, pl) {
		j.Forged++
		return
	}
	pl.open = false
	pl.server = binary.BigEndian.Uint64(b[atReceive:])
	if pl.sent < j.since {
		j.Early++
		return
	}
	j.Valid++
	if m == interleaved {
		j.Interleaved++
	}
	if b[0]>>6 == leapUnknown || b[atStratum] == 0 {
		j.Unsynced++
	}
	j.AnswerBytes = len(b)
	j.took.add(now - pl.sent)
}

// openEvery is how many answers share one whose authenticator is checked: the generator must not become the limit.
const openEvery = 64

// authentic looks at the NTS fields of an answer.
func (j *judge) authentic(b []byte, pl *place) bool {
	whole := (j.Valid+j.Early)%openEvery == 0
	if !j.nts.check(b, pl.transmit, whole) {
		return false
	}
	if whole && pl.sent >= j.since {
		j.Opened++
	}
	return true
}
