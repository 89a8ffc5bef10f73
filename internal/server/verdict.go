package server

import (
	"fmt"
	"sync/atomic"
	"time"

	"ntp-daemon/internal/ntp"
)

// Verdict is what became of one datagram. It is the metric label and the name of the test row at once.
type Verdict uint8

// The verdicts. The first group sends something, the others are silence.
const (
	Answered    Verdict = iota // time
	AnsweredNTS                // authenticated time
	Denied                     // DENY kiss
	DeniedNTS                  // authenticated DENY kiss
	KissedRate                 // RATE kiss
	AnsweredNAK                // NTSN kiss: cookie or authenticator did not open (RFC 8915 §5.7)

	RateLimited       // over the rate of its prefix
	TooShort          // less than a header
	TooLong           // more than ntp.MaxPacket
	WrongVersion      // not among the accepted versions
	WrongMode         // not a request, or a symmetric one with a MAC: answering others makes loops (CVE-2025-58066)
	ImpossibleAddress // source port 0, or a source or destination no reply may go to or come from
	OwnAddress        // our own address and port: a loop
	AccessIgnored     // access list with action ignore
	PlainIgnored      // not NTS where NTS is required
	BadTrailer        // what follows the header is neither extension fields nor a MAC
	BadNTS            // NTS fields that are damaged or incomplete (nts.Request.Open: Drop)
	NoRoom            // the reply would be longer than the request
	Panicked          // our bug, contained by the worker (L09)

	verdicts // how many
)

// verdictNames are the metric labels, in the order of the constants.
var verdictNames = [verdicts]string{
	"answered", "answered_nts", "denied", "denied_nts", "kissed_rate", "nak",
	"rate_limited", "too_short", "too_long", "wrong_version", "wrong_mode", "impossible_address", "own_address",
	"access_ignored", "plain_ignored", "bad_trailer", "bad_nts", "no_room", "panicked",
}

// String is the metric label.
func (v Verdict) String() string {
	if v < verdicts {
		return verdictNames[v]
	}
	return fmt.Sprintf("verdict(%d)", uint8(v))
}

// Verdicts lists all of them, for metrics and tests.
func Verdicts() []Verdict {
	list := make([]Verdict, verdicts)
	for i := range list {
		list[i] = Verdict(i)
	}
	return list
}

// cacheLine keeps the counters of different workers apart; two lines, because the next one is prefetched.
const cacheLine = 128

// Counters are one worker's. Only that worker counts, anybody may take a snapshot.
type Counters struct {
	_           [cacheLine]byte
	verdict     [verdicts]atomic.Uint64
	sendErrors  atomic.Uint64
	interleaved atomic.Uint64
	misses      Misses
	throughput  throughput
	_           [cacheLine]byte
}

// Count counts n datagrams with one verdict.
func (c *Counters) Count(v Verdict, n int) { c.verdict[v].Store(c.verdict[v].Load() + uint64(n)) }

// CountSendErrors counts n replies that the kernel refused to send (S20).
func (c *Counters) CountSendErrors(n int) { c.sendErrors.Store(c.sendErrors.Load() + uint64(n)) }

// CountMiss counts how much later than its transmit time an answer left, by the kernel's stamp.
func (c *Counters) CountMiss(d time.Duration) { c.misses.count(d) }

// CountAnswers counts n answers with time to requests that came at t, for AnsweredLately.
func (c *Counters) CountAnswers(at ntp.Timestamp, n int) { c.throughput.count(at, n) }

// AnsweredLately returns the answers with time of the whole second before now.
func (c *Counters) AnsweredLately(now ntp.Timestamp) uint64 { return c.throughput.during(now) }

// CountInterleaved counts an answer that was interleaved (RFC 9769), beside its verdict.
func (c *Counters) CountInterleaved() { c.interleaved.Store(c.interleaved.Load() + 1) }

// Totals are the counters of one listen address: the sum over its workers. The first eleven have the names and rules of
// ntpd-rs (docs/rules/server.md#verdicts): every datagram is received and exactly one of accepted, denied, ignored,
// rate limited and NAK.
type Totals struct {
	Received, Accepted, Denied, Ignored, RateLimited, ResponseSendErrors uint64
	NTSReceived, NTSAccepted, NTSDenied, NTSNAK                          uint64
	// Misses are the errors of the transmit times of late.
	Misses MissTotals
	// Interleaved is how many of the accepted ones had an interleaved answer (RFC 9769).
	Interleaved uint64
	// ByVerdict has the full detail, indexed by Verdict.
	ByVerdict [verdicts]uint64
}

// AddTo adds the counters to t.
func (c *Counters) AddTo(t *Totals) {
	for i := range c.verdict {
		n := c.verdict[i].Load()
		t.ByVerdict[i] += n
		t.Received += n
		switch Verdict(i) {
		case Answered:
			t.Accepted += n
		case AnsweredNTS:
			t.Accepted += n
			t.NTSReceived += n
			t.NTSAccepted += n
		case Denied:
			t.Denied += n
		case DeniedNTS:
			t.Denied += n
			t.NTSReceived += n
			t.NTSDenied += n
		case AnsweredNAK:
			t.NTSReceived += n
			t.NTSNAK += n
		case KissedRate, RateLimited:
			t.RateLimited += n
		default:
			t.Ignored += n
		}
	}
	t.ResponseSendErrors += c.sendErrors.Load()
	c.misses.addTo(&t.Misses)
	t.Interleaved += c.interleaved.Load()
}
