package ntp

// KissCode is the reference identifier of a stratum 0 packet (RFC 5905 §7.4).
type KissCode = RefID

// The kiss codes that the suite acts on; every other code is ignored (row C18).
var (
	KissRATE = RefIDFromString("RATE") // poll less often
	KissDENY = RefIDFromString("DENY") // access denied
	KissRSTR = RefIDFromString("RSTR") // access restricted
	KissNTSN = RefIDFromString("NTSN") // NTS negative acknowledgement (RFC 8915 §5.7)
)
