package nts

import (
	"slices"

	"ntp-daemon/internal/nts/aead"
)

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

// Negotiate picks the first protocol and the first algorithm, in the client's order, that accept also has. One
// exception: AEAD 30 comes last for a client that did not send record 1024. chrony 4.4 to 4.6 is such a client, it
// always offers 15 besides and would derive keys of AEAD 30 with the wrong context
// (docs/rules/key-exchange.md#aead-30). Where nothing but 30 is common, it is used as RFC 8915 demands, without an
// echo.
func Negotiate(client, accept Offer) (Choice, Agreement) {
	at := slices.IndexFunc(client.Protocols, func(p uint16) bool { return slices.Contains(accept.Protocols, p) })
	if at < 0 {
		return Choice{}, NoProtocol
	}
	choice := Choice{Protocol: client.Protocols[at]}
	late := false
	for _, a := range client.Algorithms {
		if _, known := a.KeySize(); !known || !slices.Contains(accept.Algorithms, a) {
			continue
		}
		if a == aead.GCMSIV128 && !client.CompliantGCMSIV {
			late = true
			continue
		}
		choice.Algorithm = a
		choice.EchoCompliant = a == aead.GCMSIV128
		return choice, Agreed
	}
	if late {
		choice.Algorithm = aead.GCMSIV128
		return choice, Agreed
	}
	return choice, NoAlgorithm
}

// ClientContexts returns which algorithm ids a client puts into the exporter context: the one to try first and,
// for AEAD 30 without an echo of record 1024, the one for SessionParams.Alternate. A server that knows the record
// and sent no echo is a chrony that derives with id 15; one that never heard of it follows the RFC
// (docs/rules/key-exchange.md#aead-30).
func ClientContexts(a aead.Algorithm, echoed bool) (first, alternate aead.Algorithm, hasAlternate bool) {
	if a == aead.GCMSIV128 && !echoed {
		return aead.SIVCMAC256, aead.GCMSIV128, true
	}
	return a, 0, false
}
