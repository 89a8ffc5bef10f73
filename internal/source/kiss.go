package source

import (
	"time"

	"ntp-daemon/internal/ntp"
)

// denyConfirmations is how many further polls without a good reply confirm a DENY, which anyone on the path may have
// written (C17; CVE-2015-7704).
const denyConfirmations = 3

// Codes of servers that are not synchronised (RFC 5905 §7.4); chrony sends zero.
var (
	kissInit = ntp.RefIDFromString("INIT")
	kissStep = ntp.RefIDFromString("STEP")
	kissNone = ntp.RefIDFromString("XNON") // ntpd-rs, and ourselves
)

// kissState holds the kiss codes of unauthenticated packets, which take effect only when later polls stay without a
// good reply: after denyConfirmations polls a DENY or RSTR makes the supervisor look for another server, while this one is
// still asked, if seldom; after one poll a NAK asks for new keys. A good reply clears it.
type kissState struct {
	denied    bool // a DENY or RSTR was received
	confirmed int  // unanswered polls since then, the denied one not counted
	stop      bool // a denial was authenticated
	outside   bool // the first reply of a session was outside its certificate's validity
	nak       bool // a request ended with nothing but a NAK (N14)
	rekey     bool // so did a later one, or it was lost: the server has forgotten our keys
}

// kissed takes a kiss code in a reply that matched the open request. A plain one leaves the request open, since a
// good reply may still follow, and counts once per request; an authentic one ends it.
func (s *Source) kissed(now time.Time, code ntp.KissCode, authentic bool) Outcome {
	o := Outcome{Verdict: KissUnknown, Kiss: code}
	switch code {
	case 0, kissInit, kissStep, kissNone:
		o.Verdict = Unsynchronized // how servers without time say so: stratum 16 travels as 0
	case ntp.KissRATE:
		o.Verdict = KissRate
		s.inter.forget()
		if !s.out.rated {
			s.out.rated = true
			s.rate.rated(now, s.out.poll)
			s.next = s.rate.last.Add(s.rate.interval(s.reach.unansweredSent()))
		}
	case ntp.KissDENY, ntp.KissRSTR:
		o.Verdict = KissDeny
		s.inter.forget()
		s.out.denied = true
		s.kiss.stop = s.kiss.stop || authentic
	}
	if authentic {
		s.end(now, o.Verdict)
	}
	return o
}

// refused reports whether a plain denial is confirmed.
func (k *kissState) refused() bool { return k.confirmed >= denyConfirmations }

// unanswered updates the state when request x ended without a good reply.
func (k *kissState) unanswered(x *sentRequest) {
	if k.denied {
		k.confirmed++
	}
	k.denied = k.denied || x.denied
	if k.nak {
		k.rekey = true
	}
	if x.nak && !x.session.SwitchAlternate() {
		k.nak = true
	}
}
