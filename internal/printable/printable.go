// Package printable makes what a stranger chose fit for a log: text of a peer, such as an ALPN list or a name in a
// certificate, can steer a terminal or forge a line (CVE-2025-58189). It owns nothing and knows no message.
package printable

import "strconv"

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
