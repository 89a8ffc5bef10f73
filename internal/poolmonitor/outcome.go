package poolmonitor

import (
	"fmt"
	"net/netip"
)

// Family is an address family: the users of each are told apart, because a time source may work over one of them only.
type Family uint8

// The families; Families is their number.
const (
	IPv4 Family = iota
	IPv6
	Families
)

// FamilyOf returns the family of a user by the address that it connected from; IPv4-mapped addresses are IPv4.
func FamilyOf(a netip.Addr) Family {
	if a.Unmap().Is4() {
		return IPv4
	}
	return IPv6
}

// String is the label of the family.
func (f Family) String() string {
	if f == IPv4 {
		return "ipv4"
	}
	return "ipv6"
}

// Outcome names what a probe of one time source over one family came to. The names are words of status, log and metrics.
type Outcome uint8

// The outcomes.
const (
	NotProbed      Outcome = iota // our own side was in the way, such as no route: says nothing about the time source
	Good                          // keys, and twice the time with cookies of theirs
	NoAddress                     // the name of its NTP server has no address in the family
	NoName                        // the look-up of that name failed
	NoKeys                        // the key exchange failed
	NotValid                      // the same, because its certificate is not valid by our clock
	Loop                          // it is a pool, maybe this one: it refuses our requests and gives users time sources
	BadAnswer                     // its answer holds nothing that a user may be given
	Silent                        // no NTP reply in time
	Denied                        // kiss code DENY or RSTR
	Limited                       // kiss code RATE
	NAK                           // it does not know its own cookie
	Unsynchronised                // leap indicator 3, or stratum 0
	HighStratum                   // stratum 8 or more
	Distant                       // root distance of a second or more: MAXDIST of RFC 5905
	BadPacket                     // any other reply that a client refuses
	outcomes
)

// outcomeNames are the words.
var outcomeNames = [outcomes]string{
	"not probed", "good", "no address", "no name", "no keys", "certificate not valid now", "is a pool", "unusable answer", "no reply",
	"denied", "rate limited", "nts nak", "not synchronised", "stratum of 8 or more", "root distance of 1 s or more", "bad packet",
}

// String is the word.
func (o Outcome) String() string {
	if o < outcomes {
		return outcomeNames[o]
	}
	return fmt.Sprintf("outcome(%d)", uint8(o))
}

// failed reports an outcome that counts against the time source.
func (o Outcome) failed() bool { return o > NoAddress }
