package record

import (
	"encoding/binary"
	"errors"
)

const (
	headerLen   = 4      // type and critical bit, body length
	criticalBit = 0x8000 // a receiver that does not know the type must fail (RFC 8915 §4)
	// MaxBody is what the 16-bit length can announce.
	MaxBody = 0xffff
)

// ErrShort says that the bytes end before the record does.
var ErrShort = errors.New("record is truncated")

// Record is one record. Body aliases what it was read from.
type Record struct {
	Type     Type
	Critical bool
	Body     []byte
}

// Append writes the record behind dst. A body beyond MaxBody is a bug of the caller: its length cannot be
// expressed, so it panics.
func Append(dst []byte, r Record) []byte {
	if len(r.Body) > MaxBody {
		panic("record: body longer than 65535 bytes")
	}
	return append(appendHeader(dst, r.Type, r.Critical, len(r.Body)), r.Body...)
}

// appendHeader writes type, critical bit and body length.
func appendHeader(dst []byte, t Type, critical bool, n int) []byte {
	v := uint16(t) &^ criticalBit
	if critical {
		v |= criticalBit
	}
	dst = binary.BigEndian.AppendUint16(dst, v)
	return binary.BigEndian.AppendUint16(dst, uint16(n))
}

// Consume reads the first record of b and returns what follows it. The only error is ErrShort.
func Consume(b []byte) (r Record, rest []byte, err error) {
	if len(b) < headerLen {
		return Record{}, b, ErrShort
	}
	v := binary.BigEndian.Uint16(b)
	end := headerLen + int(binary.BigEndian.Uint16(b[2:]))
	if len(b) < end {
		return Record{}, b, ErrShort
	}
	r = Record{Type: Type(v &^ criticalBit), Critical: v&criticalBit != 0, Body: b[headerLen:end:end]}
	return r, b[end:], nil
}

// appendUint16s writes one record whose body is a list of 16-bit numbers.
func appendUint16s[T ~uint16](dst []byte, t Type, critical bool, list ...T) []byte {
	dst = appendHeader(dst, t, critical, 2*len(list))
	for _, v := range list {
		dst = binary.BigEndian.AppendUint16(dst, uint16(v))
	}
	return dst
}

// uint16s reads a body that is a list of 16-bit numbers; false if its length is odd. The list is never nil.
func uint16s[T ~uint16](body []byte) ([]T, bool) {
	if len(body)%2 != 0 {
		return nil, false
	}
	list := make([]T, 0, len(body)/2)
	for ; len(body) > 0; body = body[2:] {
		list = append(list, T(binary.BigEndian.Uint16(body)))
	}
	return list, true
}

// appendText writes one record whose body is text, cut at MaxBody.
func appendText(dst []byte, t Type, critical bool, text string) []byte {
	text = text[:min(len(text), MaxBody)]
	return append(appendHeader(dst, t, critical, len(text)), text...)
}

// appendEnd writes the record that ends every message (RFC 8915 §4.1.1).
func appendEnd(dst []byte) []byte { return appendHeader(dst, TypeEnd, true, 0) }

// AppendError writes the whole message that reports an error and nothing else. Era-A software puts a Next
// Protocol record into such messages as well; it may be absent (RFC 8915 §4.1.3).
func AppendError(dst []byte, code ErrorCode) []byte {
	return appendEnd(appendUint16s(dst, TypeError, true, code))
}
