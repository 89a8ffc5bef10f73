package source

import (
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"time"

	"ntp-daemon/internal/ntp"
)

// Interleaving says when an association asks for interleaved answers (RFC 9769).
type Interleaving uint8

// The choices, InterleaveNever by default.
const (
	InterleaveNever  Interleaving = iota
	InterleaveAuto                // from servers whose time stamps look as those of one that can do it
	InterleaveAlways              // from the second request on
)

// String is the spelling of the configuration.
func (i Interleaving) String() string {
	switch i {
	case InterleaveNever:
		return "false"
	case InterleaveAuto:
		return "auto"
	case InterleaveAlways:
		return "true"
	}
	return fmt.Sprintf("interleaving(%d)", uint8(i))
}

const (
	// shownAfter is how many answers in a row must have an odd receive and an even transmit stamp, as those of chrony and of
	// ourselves, before InterleaveAuto asks such a server. By chance it is one row in 256, and then does no harm.
	shownAfter = 4
	// nearMost is the longest shortest round trip to a server that InterleaveAuto asks: over longer ways the rest of the path errs
	// by more than the server's sending does, and the samples would only come later (docs/rules/client.md#interleaved).
	nearMost = 2 * time.Millisecond
	// vainTries is how many interleaved requests in a row InterleaveAuto sends that get no interleaved answer, and restAfter
	// how many answers with such stamps must come after that, and after shownAfter, before it tries again.
	vainTries, restAfter = 8, 64
	// silentTries is how many interleaved requests in a row may go unanswered before the next one is basic (C23).
	silentTries = 4
)

// interleave is what an association keeps for interleaved mode (RFC 9769 §2). The answer to request n tells when the answer
// to request n-1 really left the server, which the server could not know when it wrote that answer:
//
//	             origin                        receive   transmit   of the answer: origin   transmit
//	basic        0                             0         random X   X                       the server's guess of T3
//	interleaved  T2 of the answer before it    random R  random X   R                       T3 of the answer before it
//	             (a server that has not kept that T3 answers X, as in basic mode)
//
// So the sample is that of the exchange before, with its T1, T2 and T4 and its root distance, and is complete one poll
// later. Each exchange gives one sample at most: the first interleaved answer after a basic one gives none. Which of the two an
// answer is, R and X of its own request tell alone (CVE-2016-1548); both are drawn anew for each.
type interleave struct {
	want   Interleaving
	before exchange   // the latest one that had a good reply
	from   netip.Addr // where requests left from: the server knows us by that
	active bool       // the latest good reply was an interleaved one
	count  uint64     // interleaved replies that were accepted

	nearest time.Duration // shortest round trip so far, 0: none yet
	epoch   uint64        // of the clock that measured it
	shown   int           // answers in a row with stamps as described at shownAfter; negative after tries in vain
	vain    int           // interleaved requests in a row without an interleaved answer
	silent  int           // of them, those in a row that went unanswered
}

// exchange is a request that had a good reply, kept for its exact T3. The zero value is none.
type exchange struct {
	measurement ntp.Measurement // without T3
	used        bool            // it was a sample already, with the T3 of a basic answer
}

// wanted reports whether the next request shall be interleaved.
func (i *interleave) wanted(version uint8) bool {
	able := version == defaultVersion && !i.before.measurement.T2.Time.IsZero() && i.silent < silentTries
	return able && (i.want == InterleaveAlways || i.want == InterleaveAuto && i.shown >= shownAfter && i.nearest > 0 && i.nearest <= nearMost)
}

// forget makes the next request a basic one.
func (i *interleave) forget() { i.before, i.silent, i.active = exchange{}, 0, false }

// draw draws the receive field R of an interleaved request, not zero and neither of its other two stamps.
func draw(rnd io.Reader, origin, transmit ntp.Timestamp) (ntp.Timestamp, error) {
	var b [8]byte
	if _, err := io.ReadFull(rnd, b[:]); err != nil {
		return 0, fmt.Errorf("draw request: %w", err)
	}
	r := ntp.Timestamp(binary.BigEndian.Uint64(b[:]))
	for r.IsZero() || r == origin || r == transmit {
		r++
	}
	return r, nil
}

// answered takes in a good reply with header h to request x; m is the exchange that it ended, sample the one that it tells of,
// which is another one if the reply is interleaved.
func (i *interleave) answered(x *sentRequest, m, sample *ntp.Measurement, h *ntp.Header, interleaved bool) {
	i.approach(sample, x.epoch)
	i.before = exchange{measurement: *m, used: !interleaved}
	i.active, i.silent = interleaved, 0
	switch {
	case interleaved:
		i.count++
		i.vain = 0
	case !x.receive.IsZero():
		i.tried()
	}
	if h.Receive&1 == 1 && h.Transmit&1 == 0 {
		i.shown++
	} else {
		i.shown = min(i.shown, 0)
	}
}

// approach takes in how far away the server was in the exchange of a sample, which the request of that epoch brought. A step of our
// clock between its T1 and T4 makes that look like anything, so no distance outlives the epoch in which it was measured.
func (i *interleave) approach(sample *ntp.Measurement, epoch uint64) {
	if epoch != i.epoch {
		i.epoch, i.nearest = epoch, 0
	}
	d := sample.Delay()
	if sample.Epoch == epoch && d > 0 && !sample.T4.Time.Before(sample.T1.Time) && (i.nearest == 0 || d < i.nearest) {
		i.nearest = d
	}
}

// unanswered takes in that a request had no good reply.
func (i *interleave) unanswered(x *sentRequest) {
	if x.receive.IsZero() {
		return
	}
	i.silent++
	i.tried()
	if i.silent >= silentTries {
		i.forget()
	}
}

// tried counts an interleaved request in vain.
func (i *interleave) tried() {
	if i.vain++; i.vain >= vainTries {
		i.vain, i.shown = 0, -restAfter
	}
}

// LeavesFrom tells from which of our addresses the next request leaves. From another one than before it begins anew with a
// basic request: the server knows its answers by the address, and nobody shall see that both addresses are one client's.
func (s *Source) LeavesFrom(a netip.Addr) {
	if a != s.inter.from {
		s.inter.from, s.inter.nearest = a, 0
		s.inter.forget()
	}
}

// Moved takes in that the network has changed, whatever our addresses are now: the same private one may be at another place,
// where nobody shall see what the server said at the last one, and from where the server is nearer or farther.
func (s *Source) Moved() {
	s.inter.from, s.inter.nearest = netip.Addr{}, 0
	s.inter.forget()
}

// earlier is the measurement of the exchange before the open request, completed by an interleaved reply to it.
func (s *Source) earlier(h *ntp.Header, authentic bool) ntp.Measurement {
	m := s.out.before.measurement
	m.T3 = ntp.Stamp{Time: h.Transmit}
	m.Stratum, m.Leap, m.RefID = h.Stratum, h.Leap, h.RefID // what the server is, is news
	m.Authenticated = m.Authenticated && authentic
	m.Interleaved = true
	return m
}
