package ke

import "strconv"

// maxQuoted cuts what a peer can make us log.
const maxQuoted = 300

// quotedError is an error whose text may hold bytes of a peer, such as an ALPN list or a name in a
// certificate.
type quotedError struct{ err error }

// quoted makes the text of err safe to print and leaves matching as it is. nil stays nil.
func quoted(err error) error {
	if err == nil {
		return nil
	}
	return quotedError{err}
}

// Error is the text of the cause, escaped if need be.
func (q quotedError) Error() string { return printable(q.err.Error()) }

// Unwrap returns the cause.
func (q quotedError) Unwrap() error { return q.err }

// printable returns s if it is short printable ASCII, else a cut and quoted form (CVE-2025-58189).
func printable(s string) string {
	cut := s[:min(len(s), maxQuoted)]
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
