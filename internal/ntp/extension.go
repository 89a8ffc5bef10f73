package ntp

import (
	"encoding/binary"
	"errors"
)

// FieldType is the type of an extension field (RFC 7822, RFC 8915 §7.5).
type FieldType uint16

// The fields of NTS (RFC 8915 §5).
const (
	FieldUniqueID          FieldType = 0x0104
	FieldCookie            FieldType = 0x0204
	FieldCookiePlaceholder FieldType = 0x0304
	FieldAuthenticator     FieldType = 0x0404
)

// Limits on what a stranger may append to a packet.
const (
	// MaxFields bounds the work per packet; an NTS request has at most 11 fields (facebook/time 8c6958f: a
	// parser quadratic in the field count took 15 s for one 256 kB input).
	MaxFields = 16
	// minField is the shortest field outside an encrypted one (RFC 7822 §7.5).
	minField = 16
	// minInnerField is the shortest field inside the encrypted part (RFC 8915 §5.6).
	minInnerField = 4
	fieldHeader   = 4
	// macShort and macLong are the trailers that are a MAC: key identifier and 16 or 20 byte digest.
	macShort, macLong = 20, 24
)

// Errors of Trailer and InnerFields.
var (
	ErrField  = errors.New("malformed extension field")
	ErrFields = errors.New("more than 16 extension fields")
)

// Field is one extension field. Value aliases the packet, padding included. Offset is where the field starts
// in the packet, so that an authenticator knows what precedes it.
type Field struct {
	Type   FieldType
	Value  []byte
	Offset int
}

// Fields is the parsed trailer of a packet, without allocation.
type Fields struct {
	list [MaxFields]Field
	n    int
	// MAC is the key identifier and digest of a symmetric-key packet, nil without one. It is never checked
	// and never trusted by the suite today.
	MAC []byte
}

// All returns the fields in their order; the slice is valid as long as f.
func (f *Fields) All() []Field { return f.list[:f.n] }

// Trailer splits what follows the header of packet b. One table decides what a trailer is, because the RFCs
// leave 4 to 24 bytes ambiguous and implementations disagree (RFC 7822 §7.5.1.4, row S10):
//
//	bytes left     version 4                              version 3
//	0              end                                    end
//	20, 24         MAC                                    MAC
//	16 and more    extension field of a fitting length    malformed
//	other          malformed                              malformed
func (f *Fields) Trailer(b []byte, version uint8) error {
	f.n, f.MAC = 0, nil
	if len(b) < HeaderLen {
		return ErrShort
	}
	for at := HeaderLen; at < len(b); {
		left := len(b) - at
		if left == macShort || left == macLong {
			f.MAC = b[at:]
			return nil
		}
		if version < 4 {
			return ErrField
		}
		var err error
		if at, err = f.add(b, at, minField); err != nil {
			return err
		}
	}
	return nil
}

// Inner splits the decrypted content of an authenticator (RFC 8915 §5.6), where fields may be as short as
// four bytes and no MAC can follow.
func (f *Fields) Inner(b []byte) error {
	f.n, f.MAC = 0, nil
	for at := 0; at < len(b); {
		var err error
		if at, err = f.add(b, at, minInnerField); err != nil {
			return err
		}
	}
	return nil
}

// add reads the field at b[at] and returns where the next one begins; every length is checked against what is left
// before it is used.
func (f *Fields) add(b []byte, at, minLen int) (next int, err error) {
	if len(b)-at < fieldHeader {
		return 0, ErrField
	}
	n := int(binary.BigEndian.Uint16(b[at+2:]))
	if n < minLen || n%4 != 0 || n > len(b)-at {
		return 0, ErrField
	}
	if f.n == MaxFields {
		return 0, ErrFields
	}
	f.list[f.n] = Field{Type: FieldType(binary.BigEndian.Uint16(b[at:])), Value: b[at+fieldHeader : at+n], Offset: at}
	f.n++
	return at + n, nil
}

// AppendField appends one field, padding value with zeros to a multiple of four and to the minimum length.
func AppendField(dst []byte, t FieldType, value []byte) []byte {
	return appendField(dst, t, value, minField)
}

// appendField is AppendField with another minimum: inside the encrypted part it is four bytes.
func appendField(dst []byte, t FieldType, value []byte, minLen int) []byte {
	n := max((fieldHeader+len(value)+3)&^3, minLen)
	dst = binary.BigEndian.AppendUint16(dst, uint16(t))
	dst = binary.BigEndian.AppendUint16(dst, uint16(n))
	dst = append(dst, value...)
	for i := fieldHeader + len(value); i < n; i++ {
		dst = append(dst, 0)
	}
	return dst
}
