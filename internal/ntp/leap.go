package ntp

import "fmt"

// LeapIndicator warns of a leap second at the end of the day, or says that the clock is not synchronised
// (RFC 5905 §7.3).
type LeapIndicator uint8

// The four values of the two bits.
const (
	LeapNone    LeapIndicator = 0 // no warning
	LeapInsert  LeapIndicator = 1 // last minute of the day has 61 seconds
	LeapDelete  LeapIndicator = 2 // last minute of the day has 59 seconds
	LeapUnknown LeapIndicator = 3 // clock not synchronised
)

// String names the value.
func (l LeapIndicator) String() string {
	switch l {
	case LeapNone:
		return "none"
	case LeapInsert:
		return "insert"
	case LeapDelete:
		return "delete"
	case LeapUnknown:
		return "unsynchronised"
	}
	return fmt.Sprintf("leap(%d)", uint8(l))
}

// Mode is the association mode of a packet (RFC 5905 §7.3).
type Mode uint8

// The modes that the suite speaks: it asks as a client only, and answers in server and symmetric passive mode.
const (
	ModeUnspecified      Mode = 0 // of NTPv1, which has no modes (RFC 1059): the ports tell who asks
	ModeSymmetricActive  Mode = 1
	ModeSymmetricPassive Mode = 2
	ModeClient           Mode = 3
	ModeServer           Mode = 4
)

// Stratum is the distance from a reference clock. On the wire 0 means "unspecified or kiss code".
type Stratum uint8

// MaxStratum is the stratum of an unsynchronised clock (RFC 5905 §7.2 MAXSTRAT).
const MaxStratum Stratum = 16
