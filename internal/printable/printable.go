// Package printable makes text that somebody else chose fit for a log or a terminal. That of a peer, such as an ALPN
// list or a name in a certificate, could steer the terminal or forge a line (CVE-2025-58189). It owns nothing and
// knows no message.
package printable

import (
	"strconv"
	"strings"
)

// maxText is how many bytes of one text a peer can make us log.
const maxText = 300

// Text returns s as it is if it is printable ASCII of at most 300 bytes, else its first 300 bytes as a quoted Go
// string.
func Text(s string) string {
	cut := s[:min(len(s), maxText)]
	if len(cut) == len(s) {
		plain := true
		for i := range len(s) {
			plain = plain && s[i] >= ' ' && s[i] <= '~'
		}
		if plain {
			return s
		}
	}
	return strconv.QuoteToASCII(cut)
}

// Line returns s, which may be in any language, with '?' for what could move a terminal's cursor or break a line.
func Line(s string) string {
	clean := func(r rune) rune {
		if r < 0x20 || r >= 0x7f && r < 0xa0 || r == '\u2028' || r == '\u2029' || r == '\ufffd' {
			return '?'
		}
		return r
	}
	return strings.Map(clean, s)
}

// quotedError is an error whose text is shown through Text.
type quotedError struct{ err error }

// Error makes the text of err printable and leaves matching with errors.Is and errors.As as it is. nil stays nil.
func Error(err error) error {
	if err == nil {
		return nil
	}
	return quotedError{err}
}

// Error is the text of the cause, escaped if need be.
func (q quotedError) Error() string { return Text(q.err.Error()) }

// Unwrap returns the cause.
func (q quotedError) Unwrap() error { return q.err }
