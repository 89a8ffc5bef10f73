package record

// Fault says what is wrong with a message. The zero value None means that nothing is. It is an error so that
// it can be wrapped and matched; functions return it as Fault, because a Fault of None in an error variable
// would not be nil.
type Fault uint8

// The faults. Code says what a server answers.
const (
	None              Fault = iota
	Truncated               // the stream ends inside a message
	TooLong                 // more bytes than the limit, announced or sent
	TooMany                 // more records than the limit
	Trailing                // bytes behind End of Message
	BadEnd                  // End of Message without critical bit or with a body
	UnknownCritical         // critical record of a type that has no meaning here
	Malformed               // length or content does not fit the record type
	NotCritical             // Next Protocol without the critical bit
	Duplicate               // a record that may appear once appears again
	Forbidden               // a known record that this side must not send
	Missing                 // a record that the message needs is absent
	Mixed                   // records that exclude each other: two pool requests, list and negotiation, two dialects
	Order                   // token behind the record that it is to protect
	KeySize                 // fixed keys whose size is not that of the algorithm, or an algorithm without known size
	ListSize                // more than one protocol or algorithm where one is required
	NotOffered              // the answer names a protocol or algorithm that was not asked for
	NoCommonProtocol        // the peer shares no protocol with us
	NoCommonAlgorithm       // the peer shares no AEAD with us
	NoCookies               // no usable cookie
	BadCookie               // a pool member's cookie is empty or too long
	BadServer               // server name is neither an address nor a host name
	BadPort                 // port 0 or not two bytes
	PeerError               // the peer sent an Error record
	PeerWarning             // the peer sent a Warning record; none is defined, so it is an error
	faults
)

// faultNames are log texts and metric labels.
var faultNames = [faults]string{
	None: "none", Truncated: "truncated message", TooLong: "message too long", TooMany: "too many records",
	Trailing: "bytes behind end of message", BadEnd: "bad end of message", UnknownCritical: "unknown critical record",
	Malformed: "malformed record", NotCritical: "critical bit missing", Duplicate: "duplicate record",
	Forbidden: "record not allowed here", Missing: "required record missing", Mixed: "records exclude each other",
	Order: "token after the record it protects", KeySize: "fixed key of wrong size", ListSize: "more than one id",
	NotOffered: "answer was not offered", NoCommonProtocol: "no common protocol",
	NoCommonAlgorithm: "no common AEAD algorithm", NoCookies: "no usable cookie", BadCookie: "cookie of bad size",
	BadServer: "bad server name", BadPort: "bad port", PeerError: "error record from peer",
	PeerWarning: "warning record from peer",
}

// String names the fault.
func (f Fault) String() string {
	if f < faults {
		return faultNames[f]
	}
	return "unknown fault"
}

// Error is String.
func (f Fault) Error() string { return f.String() }

// Err is nil for None and f otherwise.
func (f Fault) Err() error {
	if f == None {
		return nil
	}
	return f
}

// Code is what a server answers a request with this fault (RFC 8915 §4.1.3): 0 for an unknown critical
// record, 1 for everything else that is wrong with it. A truncated message gets 1 as well if there is still
// somebody to tell (row KS16).
func (f Fault) Code() ErrorCode {
	if f == UnknownCritical {
		return CodeUnrecognizedCritical
	}
	return CodeBadRequest
}
