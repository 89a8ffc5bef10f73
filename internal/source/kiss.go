package source

import (
	"time"

	"ntp-daemon/internal/ntp"
)

// denyPatience is how many further polls without a good reply it takes to believe a DENY that anyone on the path
// may have written (C17; CVE-2015-7704).
const denyPatience = 3

// Codes of servers that have no time yet, or not again (RFC 5905 §7.4); chrony sends zero.
var (
	kissInit = ntp.RefIDFromString("INIT")
	kissStep = ntp.RefIDFromString("STEP")
	kissNone = ntp.RefIDFromString("XNON") // ntpd-rs, and ourselves
)

// kissMemory holds kiss codes that need confirmation by silence. A good reply clears it.
type kissMemory struct {
	denied   bool // a DENY or RSTR was received
	patience int  // unanswered polls since then, the denied one not counted
	stop     bool // the denial is certain
	outside  bool // the first reply of a session was outside its certificate's validity
	naked    bool // a request ended with nothing but a NAK (N14)
	rekey    bool // so did a later one, or it was lost: the server has forgotten our keys
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
		if !s.out.rated {
			s.out.rated = true
			s.rate.rated(s.out.poll)
			s.next = s.rate.last.Add(s.rate.interval(s.reach.silent()))
		}
	case ntp.KissDENY, ntp.KissRSTR:
		o.Verdict = KissDeny
		s.out.denied = true
		s.kiss.stop = s.kiss.stop || authentic
	}
	if authentic {
		s.end(now, o.Verdict)
	}
	return o
}

// lost draws the conclusions when request x ended without a good reply.
func (k *kissMemory) lost(x *exchange) {
	if k.denied {
		k.patience++
		k.stop = k.stop || k.patience >= denyPatience
	}
	k.denied = k.denied || x.denied
	if k.naked {
		k.rekey = true
	}
	if x.naked && !x.session.SwitchAlternate() {
		k.naked = true
	}
}
