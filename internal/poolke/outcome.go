package poolke

import (
	"slices"
	"sync/atomic"
)

// Outcome names how a user's exchange ended. The names are metric labels and words of the log
// (docs/rules/pool.md#errors).
type Outcome uint8

// The outcomes.
const (
	Served          Outcome = iota // cookies delivered
	NoProtocol                     // empty Next Protocol record: no time source has one of the user's
	NoAlgorithm                    // empty AEAD record: no time source has one of the user's
	TLSFailed                      // handshake failed or was not finished in time
	CrowdedOut                     // made room for others during TLS, or left before its turn to compute came
	NoALPN                         // handshake without ntske/1: closed without a byte
	Incomplete                     // the request never became complete: closed without record
	BadRequest                     // error 1
	UnknownCritical                // error 0
	BadKey                         // error 1: who named a time source showed no key of monitors
	NoServer                       // error 2: no time source was usable; nobody saw the keys
	ServerFailed                   // error 2: the one time source that got the keys did not deliver
	TimedOut                       // error 2: the time for one user was over before keys were sent
	UserGone                       // the user reset the connection meanwhile, or the answer could not be written
	ProxyRefused                   // closed before TLS: not a balancer that is trusted, or no good PROXY header
	HealthCheck                    // a trusted balancer looked whether we are there, and asked for nothing
	OverLimit                      // closed before TLS: too many users from the network behind the balancer
	outcomes
)

// outcomeNames are the labels.
var outcomeNames = [outcomes]string{
	Served: "served", NoProtocol: "no_protocol", NoAlgorithm: "no_algorithm", TLSFailed: "tls_failed", CrowdedOut: "crowded_out", NoALPN: "no_alpn",
	Incomplete: "incomplete_request", BadRequest: "bad_request", UnknownCritical: "unknown_critical",
	BadKey:   "bad_key",
	NoServer: "no_server", ServerFailed: "server_failed", TimedOut: "timed_out", UserGone: "user_gone",
	ProxyRefused: "proxy_refused", OverLimit: "over_limit", HealthCheck: "health_check",
}

// String is the label.
func (o Outcome) String() string {
	if o >= outcomes {
		return "unknown"
	}
	return outcomeNames[o]
}

// tally counts outcomes.
type tally [outcomes]atomic.Uint64

// read is the counts by label; of all outcomes, or of those named.
func (t *tally) read(only ...Outcome) map[string]uint64 {
	m := make(map[string]uint64, outcomes)
	for i := range t {
		if o := Outcome(i); len(only) == 0 || slices.Contains(only, o) {
			m[o.String()] = t[i].Load()
		}
	}
	return m
}
