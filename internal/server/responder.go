package server

import (
	"io"
	"net/netip"

	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/nts"
)

// Datagram is one request as it arrived. Addresses are unmapped and without zone.
type Datagram struct {
	Data     []byte
	From, To netip.AddrPort // To is invalid or the wildcard address where the platform cannot tell
	Received ntp.Timestamp  // on the steered clock
	Epoch    Epoch          // of that clock, found out after the request had come. Interleaves needs it
}

// Epoch is the time of a clock between two of its steps. A step may come between the stamp of a request and the moment at which
// the epoch is found out, and so may another between Number and Since: they are asked for in this order.
type Epoch struct {
	Number uint64        // counts the steps
	Since  ntp.Timestamp // stamps up to this one may be of an earlier epoch; zero: there was none
}

// covers reports whether a stamp is of this epoch, if it is not in the future.
func (e Epoch) covers(t ntp.Timestamp) bool { return e.Since.IsZero() || e.Since.Before(t) }

// Config is what a Responder needs to know about its listen address.
type Config struct {
	Access     *Access      // nil lets everybody in; may be shared
	Limiter    *RateLimiter // nil limits nobody; shared by the workers of the listen address
	KissRate   *RateLimiter // made by NewKissLimiter: RATE kisses are sent at its rate; nil sends none
	RequireNTS Action       // what a request without NTS gets: Allow, Ignore or Deny
	Versions   Versions     // 0 means DefaultVersions
	Rand       io.Reader    // for nonces; of this worker alone
	Lead       *Lead        // how long after the clock reading answers leave; nil adds nothing; this worker's own
	Seed       uint64       // of the random choice which requests over the limit are answered (overLimit)
	// Interleaves gives interleaved answers to whoever asks for them; nil gives basic ones. Shared by all workers.
	Interleaves *Interleaves
}

// Responder turns requests into replies, for one worker of one listen address. It is not safe for concurrent use.
//
// Respond goes through these steps, from cheap to expensive, and the first that refuses ends it with its Verdict:
//
//	length, version, mode → addresses → access list → rate limit → extension fields → NTS: cookie, authenticator
//	→ NTS required? → reply: system variables, then the clock for T3, then the NTS seal → reply no longer than request
//
// Nothing about a client is kept between requests but its token bucket (RateLimiter) and, if it asks for interleaved
// answers, when the latest one left (Interleaves): the system variables come from the View, the client's keys from its
// cookie. So a forged source address gains at most one reply no longer than the
// request, sent to that address (RFC 8915 §5.7, §8.4). The memory is reused: a request allocates nothing.
type Responder struct {
	config  Config
	sealer  *nts.Sealer
	fields  ntp.Fields
	request nts.Request
	random  uint64       // state of overLimit's SplitMix64
	sending Sending      // about the latest answer
	system  systemHeader // of the latest answers with time
}

// NewResponder returns a Responder.
func NewResponder(c Config) *Responder {
	if c.Versions == 0 {
		c.Versions = DefaultVersions
	}
	return &Responder{config: c, sealer: nts.NewSealer(), random: c.Seed, system: newSystemHeader(nil, 0)}
}

// SetAccess replaces the access lists, nil lets everybody in; for a reload, between requests.
func (r *Responder) SetAccess(a *Access) { r.config.Access = a }

// Respond decides what becomes of d and builds the answer in the memory of dst, which should have room for
// ntp.MaxPacket bytes; it returns nil for silence. A nil v means that the clock was never synchronised, a nil
// ks that there are no cookie keys. readClock reads the steered clock; it is called at most once, as late as
// the protection of the reply allows.
func (r *Responder) Respond(dst []byte, v *ntp.View, ks *nts.KeySet, d *Datagram, readClock func() ntp.Timestamp) ([]byte, Verdict) {
	r.sending = Sending{}
	reply, verdict := r.answer(dst[:0], v, ks, d, readClock)
	if len(reply) > len(d.Data) { // no amplification (CVE-2013-5211); every answer passes here
		reply, verdict = nil, NoRoom
	}
	if reply == nil {
		r.sending = Sending{}
	}
	return reply, verdict
}

func (r *Responder) answer(dst []byte, v *ntp.View, ks *nts.KeySet, d *Datagram, readClock func() ntp.Timestamp) ([]byte, Verdict) {
	if verdict := admit(d.Data, d.From.Port(), r.config.Versions); verdict != Answered {
		return nil, verdict
	}
	if verdict := admitAddresses(d.From, d.To); verdict != Answered {
		return nil, verdict
	}
	action := r.config.Access.Check(d.From.Addr())
	if action == Ignore {
		return nil, AccessIgnored
	}
	var h ntp.Header
	if h.Parse(d.Data) != nil {
		return nil, TooShort
	}
	h.Poll = clampPoll(h.Poll) // copied into every kind of answer
	if r.config.Limiter.Limited(d.From.Addr(), d.Received) && (action == Deny || !r.overLimit()) {
		return r.limited(dst, &h, d)
	}
	if r.fields.Trailer(d.Data, h.Version) != nil {
		return nil, BadTrailer
	}
	if h.Mode == ntp.ModeSymmetricActive {
		if verdict := admitPeer(&r.fields); verdict != Answered {
			return nil, verdict
		}
	}
	switch r.request.Open(d.Data, &r.fields, ks, r.sealer) {
	case nts.Valid:
		return r.authenticated(dst, v, ks, action, &timeRequest{&h, d, readClock, r.config.Lead, leadKindOf(r.request.Keys.Algorithm)})
	case nts.SendNAK:
		if action == Deny {
			return appendKiss(dst, &h, ntp.KissDENY, h.Poll), Denied
		}
		return r.request.AppendNAK(dst, &h), AnsweredNAK
	case nts.NotNTS:
		return r.plain(dst, v, action, &timeRequest{&h, d, readClock, r.config.Lead, leadPlain})
	}
	return nil, BadNTS
}

// timeRequest is a request that passed the checks so far, with what its reply needs.
type timeRequest struct {
	header   *ntp.Header
	datagram *Datagram
	now      func() ntp.Timestamp
	lead     *Lead
	kind     leadKind
}

// readClock returns the transmit time of the reply: the clock's reading, and how long after it the reply is likely to
// leave.
func (x *timeRequest) readClock() ntp.Timestamp { return x.lead.ahead(x.kind, x.now()) }

// plain answers a request without NTS.
func (r *Responder) plain(dst []byte, v *ntp.View, action Action, x *timeRequest) ([]byte, Verdict) {
	if action == Allow {
		action = r.config.RequireNTS
		if action == Ignore {
			return nil, PlainIgnored
		}
	}
	if action == Deny {
		return r.request.AppendUID(appendKiss(dst, x.header, ntp.KissDENY, x.header.Poll)), Denied
	}
	return r.request.AppendUID(r.appendTime(dst, v, x)), Answered
}

// authenticated answers a request whose authenticator opened. The transmit stamp is under the seal; the Lead knows how
// long that takes.
func (r *Responder) authenticated(dst []byte, v *ntp.View, ks *nts.KeySet, action Action, x *timeRequest) ([]byte, Verdict) {
	verdict := AnsweredNTS
	if action == Deny {
		verdict = DeniedNTS
		dst = appendKiss(dst, x.header, ntp.KissDENY, x.header.Poll)
	} else {
		dst = r.appendTime(dst, v, x)
	}
	reply, fits := r.request.AppendResponse(dst, ks, r.sealer, r.config.Rand, len(x.datagram.Data))
	if !fits {
		return nil, NoRoom
	}
	return reply, verdict
}

// limited answers a request over its rate: a RATE kiss now and then where that is wanted, else silence. Every
// kiss would keep the traffic of a flood alive, so they have a limiter of their own.
func (r *Responder) limited(dst []byte, h *ntp.Header, d *Datagram) ([]byte, Verdict) {
	if r.config.KissRate == nil || r.config.KissRate.Limited(d.From.Addr(), d.Received) {
		return nil, RateLimited
	}
	return appendKiss(dst, h, ntp.KissRATE, max(h.Poll, r.config.Limiter.poll())), KissedRate
}

// overLimit reports whether a request over the rate is answered all the same: one in four at random (SplitMix64), as
// chrony's "leak". Otherwise forged requests could use up a client's budget and deny it service (CVE-2015-7705).
func (r *Responder) overLimit() bool {
	r.random += 0x9e3779b97f4a7c15
	z := r.random
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return (z^z>>31)>>62 == 0
}
