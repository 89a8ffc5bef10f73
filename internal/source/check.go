package source

import (
	"fmt"
	"net/netip"
	"time"

	"ntp-daemon/internal/ntp"
)

// Verdict names what became of a received datagram, or how a request ended. Every refusal has its own name, which is
// also its metric label and its test row.
type Verdict uint8

// The verdicts. After the first five, which are not refusals, they stand in the order of the checks.
const (
	None     Verdict = iota // no request has ended yet
	Accepted                // a measurement
	KissRate                // RATE: poll less often
	KissDeny                // DENY or RSTR: send no more requests
	KissNAK                 // NTSN: our cookie was not understood

	NoReply         // nothing valid came inside the window
	NoRequest       // nothing is outstanding: unsolicited, duplicate or replayed (C03)
	WrongAddress    // not from the server's address and port (C06)
	Late            // after the window (C07)
	Short           // less than a header (C20)
	Long            // more than 2048 bytes (C21)
	WrongOrigin     // origin is not what we sent; zero never is (C04, C05, C22)
	WrongVersion    // neither version 3 nor that of the request (C09)
	WrongMode       // not a server's reply (C08)
	MalformedFields // trailer that is neither fields nor MAC (C19, C20)
	UnexpectedMAC   // authenticated by a key we do not have, or a crypto-NAK (CVE-2016-1547)
	WrongUID        // NTS: unique identifier missing or not ours (N13, N15)
	Unauthentic     // NTS: not sealed with the server's key (N15)
	KissUnknown     // a kiss code we do not act on (C18)
	Unsynchronized  // leap indicator 3 (C10; RFC 5905 TEST6)
	BadStratum      // above 15 (C10)
	BadDistance     // root delay/2 + root dispersion of 16 s or more (C11; RFC 5905 TEST7)
	NoTimestamps    // receive or transmit time zero (C13; RFC 5905 TEST3)
	Backward        // transmitted before received (C13)
	OffCertificate  // first NTS reply's time is outside the validity of the server's certificate (N25; RFC 8915 §8.5)
	Sluggish        // more than 4 s between the server's receive and transmit times (C13)
	Impossible      // held for longer than the request was away: a round trip below zero (C13)

	verdicts // count
)

// verdictNames are in the order of the constants.
var verdictNames = [verdicts]string{
	"none", "accepted", "rate kiss", "deny kiss", "nts nak",
	"no reply", "no request outstanding", "wrong address", "late", "short", "long", "wrong origin",
	"wrong version", "wrong mode", "malformed fields", "unexpected mac", "wrong unique identifier",
	"unauthentic", "unknown kiss code", "the server is not synchronised", "bad stratum", "root distance of 16 s or more",
	"no timestamps", "backward timestamps", "outside certificate validity", "request held for more than 4 s",
	"impossible round trip",
}

// String names the verdict in lower case.
func (v Verdict) String() string {
	if v < verdicts {
		return verdictNames[v]
	}
	return fmt.Sprintf("verdict(%d)", uint8(v))
}

// Refused reports whether the verdict is a refusal of a datagram.
func (v Verdict) Refused() bool { return v > NoReply }

// Content reports whether the verdict is about what a reply to our own request says, not about whether it is one.
func (v Verdict) Content() bool { return v >= KissUnknown && v < verdicts }

const (
	// maxDistance is MAXDISP of RFC 5905 §7.2.
	maxDistance = 16 * time.Second
	// maxServerTime bounds what the server may need for a reply (chrony MAX_SERVER_INTERVAL): a longer hold
	// means stamps that do not belong together.
	maxServerTime = 4 * time.Second
	// minVersion is the oldest reply that is understood: some servers answer version 4 with 3.
	minVersion = 3
)

// match decides whether a datagram answers the open request. These checks come before everything else, kiss codes
// included, so that a sender who does not see our requests cannot change any state (CVE-2015-7704, CVE-2015-8138).
func (s *Source) match(now time.Time, pkt []byte, from netip.AddrPort) (ntp.Header, Verdict) {
	if !s.out.open {
		return ntp.Header{}, NoRequest
	}
	if from.Port() != s.cfg.Server.Port() || from.Addr().Unmap() != s.cfg.Server.Addr() {
		return ntp.Header{}, WrongAddress
	}
	if now.After(s.out.deadline) {
		return ntp.Header{}, Late
	}
	h, err := ntp.ParseHeader(pkt)
	switch {
	case len(pkt) < ntp.HeaderLen:
		return h, Short
	case err != nil:
		return h, Long
	case h.Origin.IsZero() || h.Origin != s.out.origin && h.Origin != s.out.receive:
		return h, WrongOrigin
	}
	return h, Accepted
}

// inspect looks at what kind of packet it is, before any cryptography.
func (s *Source) inspect(h *ntp.Header, f *ntp.Fields, pkt []byte) Verdict {
	switch {
	case h.Version < minVersion || h.Version > defaultVersion:
		return WrongVersion
	case h.Mode != ntp.ModeServer:
		return WrongMode
	case f.Trailer(pkt, h.Version) != nil:
		return MalformedFields
	case f.MAC != nil:
		return UnexpectedMAC
	}
	return Accepted
}

// sanity refuses genuine replies whose time must not be used (RFC 5905 §A.5.1.1, tests 3, 6 and 7).
// Poll and precision need no check: they are clamped where they are used (C12). m has the server's two stamps of one exchange,
// which in interleaved mode is not the one of h.
func sanity(h *ntp.Header, m *ntp.Measurement) Verdict {
	held := m.Held()
	switch {
	case h.Leap == ntp.LeapUnknown:
		return Unsynchronized
	case h.Stratum == 0 || h.Stratum >= ntp.MaxStratum:
		return BadStratum
	case h.RootDelay.Duration()/2+h.RootDispersion.Duration() >= maxDistance:
		return BadDistance
	case h.Receive.IsZero() || h.Transmit.IsZero():
		return NoTimestamps
	case held < 0:
		return Backward
	case held > maxServerTime:
		return Sluggish
	}
	return Accepted
}

// impossible reports whether the reply claims to have been held for longer than its request was away. A reply that came
// before its request tells of a step of our own clock, which is the timekeeper's business (Measurement.Epoch).
func impossible(m *ntp.Measurement) bool {
	return m.T4.Time.Sub(m.T1.Time) >= 0 && ntp.ImpossibleDelay(m.Delay(), m.Held(), m.Precision)
}
