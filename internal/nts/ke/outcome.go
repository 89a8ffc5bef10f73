package ke

import (
	"sync/atomic"
	"time"

	"ntp-daemon/internal/accept"
	"ntp-daemon/internal/nts/record"
)

// Outcome is how the server was done with a handshake or a request. The name is the metric label.
type Outcome uint8

// The outcomes. Those from Served to FixedServed are answers to valid requests.
const (
	Served           Outcome = iota // cookies for a client
	NoProtocol                      // valid, but no protocol in common
	NoAlgorithm                     // valid, but no AEAD in common
	SupportServed                   // lists for a pool
	FixedServed                     // cookies for a pool's user
	HandshakeFailed                 // TLS: version, ALPN, certificate, garbage, closed
	HandshakeTimeout                // TLS not finished in time
	CrowdedOut                      // made room for others during TLS, or left before its turn to compute came
	OverBudget                      // waited too long for the budget of handshakes, closed
	NoALPN                          // TLS fine, but no ntske/1 and no listed certificate
	ClosedEarly                     // the peer closed or reset before a whole request
	TimedOut                        // no whole request in time: code 1
	TooLarge                        // request over the cap: code 1
	BadRequest                      // code 1
	UnknownCritical                 // code 0
	Unprivileged                    // pool request without right: code 1 or 0
	PlainOnKept                     // client request on a pool's kept connection: code 1
	Internal                        // our fault: code 2
	WriteFailed                     // the peer did not take the answer
	KeptClosed                      // kept connection ended by the peer
	KeptExpired                     // kept connection ended by idle time, age or our shutdown
	outcomes
)

var outcomeNames = [outcomes]string{
	Served: "served", NoProtocol: "no_protocol", NoAlgorithm: "no_algorithm", SupportServed: "support_served",
	FixedServed: "fixed_key_served", HandshakeFailed: "handshake_failed", HandshakeTimeout: "handshake_timeout", CrowdedOut: "crowded_out",
	OverBudget: "over_budget", NoALPN: "no_alpn", ClosedEarly: "closed_early", TimedOut: "timed_out", TooLarge: "too_large",
	BadRequest: "bad_request", UnknownCritical: "unknown_critical", Unprivileged: "unprivileged",
	PlainOnKept: "plain_on_kept", Internal: "internal", WriteFailed: "write_failed", KeptClosed: "kept_closed",
	KeptExpired: "kept_expired",
}

// String is the metric label.
func (o Outcome) String() string {
	if o < outcomes {
		return outcomeNames[o]
	}
	return "unknown"
}

// AllOutcomes lists the outcomes in their order, for whoever exports them.
func AllOutcomes() []Outcome {
	all := make([]Outcome, outcomes)
	for i := range all {
		all[i] = Outcome(i)
	}
	return all
}

// faultOutcome sorts the faults of a request.
func faultOutcome(f record.Fault) Outcome {
	switch f {
	case record.UnknownCritical:
		return UnknownCritical
	case record.TooLong, record.TooMany:
		return TooLarge
	case record.Truncated:
		return ClosedEarly
	}
	return BadRequest
}

// Counters is what a Server did so far.
type Counters struct {
	Outcomes [outcomes]uint64 // indexed by Outcome
	Exports  uint64           // TLS sessions that keys were exported from
	Kept     int              // connections kept for pools now
	Spent    time.Duration    // processor time of the threads; 0 without any
	Held     uint64           // times that the budget was used up while handshakes waited
	Accept   accept.Counters
}

// Of is how often the outcome happened.
func (c *Counters) Of(o Outcome) uint64 {
	if o < outcomes {
		return c.Outcomes[o]
	}
	return 0
}

// counts is the writable side of Counters.
type counts struct {
	outcomes [outcomes]atomic.Uint64
	exports  atomic.Uint64
	kept     atomic.Int64
	spent    atomic.Int64 // nanoseconds
	held     atomic.Uint64
}

// read copies the counters.
func (c *counts) read() Counters {
	out := Counters{Exports: c.exports.Load(), Kept: int(c.kept.Load()), Spent: time.Duration(c.spent.Load()), Held: c.held.Load()}
	for i := range out.Outcomes {
		out.Outcomes[i] = c.outcomes[i].Load()
	}
	return out
}
