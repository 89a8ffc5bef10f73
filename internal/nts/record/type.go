package record

import "strconv"

// Type is a record type, the 15 bits below the critical bit (RFC 8915 §4).
type Type uint16

// The records of RFC 8915 §4.1.
const (
	TypeEnd          Type = 0
	TypeNextProtocol Type = 1
	TypeError        Type = 2
	TypeWarning      Type = 3
	TypeAEAD         Type = 4
	TypeCookie       Type = 5
	TypeServer       Type = 6
	TypePort         Type = 7
)

// The records of the NTS pool under their IANA numbers (draft-ietf-ntp-nts-keyexchange-pool).
const (
	TypeKeepAlive  Type = 8
	TypeProtocols  Type = 9  // Supported Next Protocol List
	TypeAlgorithms Type = 10 // Supported Algorithm List
	TypeListNames  Type = 11 // List Server Names
	TypeFixedKey   Type = 12 // Fixed Key Request: C2S then S2C
	TypeDeny       Type = 13 // NTP Server Deny
	TypeToken      Type = 14 // Authentication Token
)

// The same records under the numbers that were in use before June 2026. 0x4005 is List Server Names in
// draft -03 and the token in what was deployed: see meaning.
const (
	typeKeepAlive4000  Type = 0x4000
	typeAlgorithms4000 Type = 0x4001
	typeFixedKey4000   Type = 0x4002
	typeDeny4000       Type = 0x4003
	typeProtocols4000  Type = 0x4004
	typeToken4000      Type = 0x4005
	typeListNames4000  Type = 0x4006
)

// Records outside the registry.
const (
	// TypeCompliantExport is chrony's statement that AEAD 30 keys are exported with the context that RFC 8915
	// asks for (chrony 4.6.1, docs/rules/key-exchange.md#aead-30).
	TypeCompliantExport Type = 1024
	// TypeMonitorUUID is nts-pool's private request for one named time source; monitors only.
	TypeMonitorUUID Type = 0x4F01
)

// Protocol is a next protocol id (RFC 8915 §7.7).
type Protocol uint16

// NTPv4 is the one protocol that every participant knows.
const NTPv4 Protocol = 0

// String names the protocol for logs.
func (p Protocol) String() string {
	if p == NTPv4 {
		return "NTPv4"
	}
	return "protocol " + strconv.Itoa(int(p))
}

// ErrorCode is the body of an Error record (RFC 8915 §4.1.3).
type ErrorCode uint16

// The codes that RFC 8915 defines. Codes from 0x8000 are private.
const (
	CodeUnrecognizedCritical ErrorCode = 0
	CodeBadRequest           ErrorCode = 1
	CodeInternal             ErrorCode = 2
)

// The private codes of nts-pool, which a pool sends to monitors that have proved a key and to nobody else
// (docs/rules/pool.md#monitoring).
const (
	CodeUnknownServer ErrorCode = 0xf000 // no time source is called so
	CodeUnreachable   ErrorCode = 0xf001 // it could not be connected to
	CodeNoSupport     ErrorCode = 0xf002 // it did not say what it can do
	CodeKeysRefused   ErrorCode = 0xf003 // it answered the keys with error 0 or 1
)

// String names the code for logs and metrics.
func (c ErrorCode) String() string {
	switch c {
	case CodeUnrecognizedCritical:
		return "unrecognized critical record"
	case CodeBadRequest:
		return "bad request"
	case CodeInternal:
		return "internal server error"
	}
	return "code " + strconv.Itoa(int(c))
}
