package record

import "encoding/binary"

// Limits caps one message. Both numbers count everything up to and including the End of Message record.
type Limits struct{ Bytes, Records int }

// The caps of docs/rules/key-exchange.md#message-caps and row KC13. RFC 8915 §4 asks servers to take requests of at
// least 1024 bytes and clients responses of 65536.
var (
	// RequestLimits is for what a server or the pool's front end reads from strangers.
	RequestLimits = Limits{Bytes: 16 << 10, Records: 256}
	// ResponseLimits is for what a client reads. As many records as fit are fine: they cost 4 bytes each and
	// are looked at once.
	ResponseLimits = Limits{Bytes: 128 << 10, Records: 32 << 10}
	// UpstreamLimits is for what a pool reads from a time source.
	UpstreamLimits = Limits{Bytes: 64 << 10, Records: 256}
)

// Framer finds the end of the first message in a growing buffer. It remembers how far it looked, so that a
// peer that sends byte by byte costs no more than one that sends at once. The zero value with Limits set is
// ready; use a new one per message.
type Framer struct {
	Limits  Limits
	at      int
	records int
}

// Scan looks at the buffer, which must begin with the bytes of the earlier calls. It returns the length of
// the message and None once the End of Message record is complete; Truncated while more bytes are needed
// (also the right answer if the stream ended here); TooLong or TooMany as soon as the announced lengths
// exceed the limits, without waiting for the bytes.
func (f *Framer) Scan(b []byte) (n int, fault Fault) {
	for {
		if f.at+headerLen > f.Limits.Bytes {
			return 0, TooLong
		}
		if len(b) < f.at+headerLen {
			return 0, Truncated
		}
		v := binary.BigEndian.Uint16(b[f.at:])
		end := f.at + headerLen + int(binary.BigEndian.Uint16(b[f.at+2:]))
		if end > f.Limits.Bytes {
			return 0, TooLong
		}
		if f.records >= f.Limits.Records {
			return 0, TooMany
		}
		if len(b) < end {
			return 0, Truncated
		}
		f.at = end
		f.records++
		if Type(v&^criticalBit) == TypeEnd {
			return end, None
		}
	}
}
