package ke

import (
	"hash/maphash"
	"net/netip"
	"time"
)

const (
	// standingRows is how many prefixes can be told apart. With 250 that attack, one honest prefix in 65 shares a row.
	standingRows = 1 << 14
	// fullCredit is what one finished handshake gives, and one that was worked for in vain takes.
	fullCredit = 1 << 10
	// worstCredit bounds how long the past counts: after 16 in vain, and ten halvings, it is forgotten.
	worstCredit = -16 * fullCredit
	// openCharge is the loan on each handshake under way, so that many of one prefix go after the first ones of others
	// even before it shows that they are never finished.
	openCharge = fullCredit / 16
	// standingEpoch is the time in which the past loses half its weight: a flood is remembered from one attempt to the
	// next, an address that changes hands is not marked for ever.
	standingEpoch = time.Minute
)

// standings is what is known of prefixes from the handshakes that were computed for them. Computing one costs us a
// signature and a replayed ClientHello nothing; only who holds the other key can finish it. So a handshake in vain
// is debt, a finished one clears debt, and whoever has less goes first. It is a table of fixed size: strangers fill no memory,
// and two prefixes in one row share their lot. The hash has a seed of its own, so that nobody can choose with whom.
type standings struct {
	seed maphash.Seed
	rows [standingRows]standing
}

// standing is one row.
type standing struct {
	credit int32  // worstCredit to fullCredit, as of epoch
	open   int32  // handshakes under way
	epoch  uint32 // whole standingEpochs since the start
}

// of is the row of a prefix, brought up to date.
func (s *standings) of(prefix netip.Prefix, now time.Duration) *standing {
	row := &s.rows[maphash.Comparable(s.seed, prefix)%standingRows]
	epoch := uint32(now / standingEpoch)
	if past := epoch - row.epoch; past > 0 {
		row.credit /= 1 << min(past, 30) // towards zero from both sides
		row.epoch = epoch
	}
	return row
}

// value is what the row is worth, more is better: a finished handshake in good memory before strangers, those before
// whoever keeps us busy.
func (r *standing) value() int32 { return r.credit - r.open*openCharge }

// begin notes a handshake that is computed.
func (r *standing) begin() { r.open++ }

// cancel takes begin back.
func (r *standing) cancel() { r.open-- }

// end notes how it ended.
func (r *standing) end(finished bool) {
	r.open--
	if finished {
		r.credit = min(r.credit+fullCredit, fullCredit)
	} else {
		r.credit = max(r.credit-fullCredit, worstCredit)
	}
}
