package nts

import "ntp-daemon/internal/nts/aead"

// ExporterLabel is the TLS exporter label of NTS (RFC 8915 §4.2).
const ExporterLabel = "EXPORTER-network-time-security"

// ProtocolNTPv4 is the only next protocol we speak (RFC 8915 §7.7).
const ProtocolNTPv4 uint16 = 0

// ExporterContext returns the context of the TLS exporter for one key (RFC 8915 §5.1).
func ExporterContext(protocol uint16, a aead.Algorithm, s2c bool) [5]byte {
	c := [5]byte{byte(protocol >> 8), byte(protocol), byte(a >> 8), byte(a)}
	if s2c {
		c[4] = 1
	}
	return c
}

// Offer is what one side of a negotiation lists.
type Offer struct {
	Protocols  []uint16         // in order of preference
	Algorithms []aead.Algorithm // in order of preference
	// CompliantGCMSIV: the client sent the empty record 1024, so it knows the right exporter context of AEAD 30.
	CompliantGCMSIV bool
}

// Choice is what both sides use from now on.
type Choice struct {
	Protocol  uint16
	Algorithm aead.Algorithm
	// EchoCompliant: answer with an empty, non-critical record 1024 after the AEAD record.
	EchoCompliant bool
}

// Agreement says how a negotiation ended.
type Agreement uint8

// The agreements of Negotiate.
const (
	Agreed      Agreement = iota
	NoProtocol            // answer with an empty Next Protocol record, no cookies, no error (KS02)
	NoAlgorithm           // answer with the protocol and an empty AEAD record (KS03)
)

// Negotiate picks the first protocol and algorithm in the client's order that accept also has.
func Negotiate(client, accept Offer) (Choice, Agreement) { return Choice{}, NoProtocol }

// ClientContexts returns which algorithm ids a client puts into the exporter context: the one to try first and,
// for AEAD 30 without an echo of record 1024, the one for SessionParams.Alternate (reliability 4.6).
func ClientContexts(a aead.Algorithm, echoed bool) (first, alternate aead.Algorithm, hasAlternate bool) {
	return a, a, false
}
