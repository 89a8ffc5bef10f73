package source

import (
	"fmt"

	"ntp-daemon/internal/ntp"
)

// fewCookies is the stock at which a new key exchange starts while polling goes on.
const fewCookies = 2

// Need is what the association wants from its supervisor.
type Need uint8

// The needs.
const (
	NeedNothing     Need = iota
	NeedReplace          // unreachable, or denied without proof: look for another address, with fresh keys if it takes keys
	NeedKeyExchange      // few cookies left while replies are missing, or the server forgot our keys
	NeedStop             // the server denied us, authenticated: no more requests for hours
	NeedReject           // the server's time contradicts its certificate: the same (N25)
)

// String names the need as a reason in a log line.
func (n Need) String() string {
	switch n {
	case NeedNothing:
		return "none"
	case NeedReplace:
		return "unreachable"
	case NeedKeyExchange:
		return "key exchange needed"
	case NeedStop:
		return "access denied"
	case NeedReject:
		return "time outside the validity of the server's certificate"
	}
	return fmt.Sprintf("need(%d)", uint8(n))
}

// Final reports whether the association is over: its supervisor must end it.
func (n Need) Final() bool { return n == NeedStop || n == NeedReject }

// Status is the state of an association: what operators and the supervisor see of it.
type Status struct {
	Reach       uint8       // latest poll in the lowest bit
	Unanswered  int         // polls since the last good reply
	Poll        ntp.PollExp // interval in force
	NTS         bool
	Cookies     int // in the jar, 0…8; 0 without NTS
	Need        Need
	LastVerdict Verdict // how the latest finished request ended: Accepted, NoReply, …

	Interleaved        bool   // the latest good reply was an interleaved one (RFC 9769)
	InterleavedReplies uint64 // good replies that were
}

// Stuck reports whether no request can leave: the server ended the association, or the last cookie is gone.
func (s *Status) Stuck() bool { return s.Need.Final() || s.NTS && s.Cookies == 0 }

// Reachable reports whether one of the last eight polls had a good reply.
func (s *Status) Reachable() bool { return s.Reach != 0 }

// Status returns the present state.
func (s *Source) Status() Status {
	st := Status{
		Reach: s.reach.register, Unanswered: s.reach.unanswered,
		Poll: s.rate.exp(s.reach.unansweredSent()), NTS: s.session != nil, Need: s.need(), LastVerdict: s.last,
		Interleaved: s.inter.active, InterleavedReplies: s.inter.count,
	}
	if s.session != nil {
		st.Cookies = s.session.Cookies()
	}
	return st
}

func (s *Source) need() Need {
	switch {
	case s.kiss.outside:
		return NeedReject
	case s.kiss.stop:
		return NeedStop
	case s.kiss.rekey:
		return NeedKeyExchange
	case s.reach.unreachable() || s.kiss.refused():
		return NeedReplace
	case s.session != nil && s.reach.misses > 0 && s.session.Cookies() <= fewCookies:
		return NeedKeyExchange
	}
	return NeedNothing
}
