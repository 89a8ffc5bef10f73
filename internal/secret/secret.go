// Package secret holds the one type for key material, cookies and tokens: bytes that no formatter,
// encoder or logger can print.
//
// It must not learn what the bytes mean.
package secret

import (
	"crypto/subtle"
	"fmt"
)

// redacted stands for a secret wherever text is made of one.
const redacted = "[secret]"

// Bytes is key material, a cookie or a token. Every textual form of it is "[secret]".
//
// fmt calls no methods of unexported fields: a struct that keeps a secret in one, and that might ever be
// printed, needs a Format method of its own.
type Bytes []byte

// String hides the value from %s, %v and Println.
func (Bytes) String() string { return redacted }

// GoString hides the value from %#v.
func (Bytes) GoString() string { return redacted }

// Format hides the value from every verb, %x and %q included.
func (Bytes) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// MarshalText hides the value from JSON, TOML and other text encoders.
func (Bytes) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// UnmarshalText takes the text as the secret, so that a configuration can carry tokens.
func (b *Bytes) UnmarshalText(text []byte) error {
	*b = append(Bytes(nil), text...)
	return nil
}

// Equal compares in constant time for equal lengths; the length itself is no secret.
func (b Bytes) Equal(other []byte) bool { return subtle.ConstantTimeCompare(b, other) == 1 }

// Wipe overwrites the bytes with zeros; copies made earlier are not reached.
func (b Bytes) Wipe() { clear(b) }
