package nts

import (
	"io"

	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/nts/aead"
)

// SessionParams is what a key exchange yields.
type SessionParams struct {
	Keys Keys
	// Alternate is the other key pair of an AEAD 30 exchange whose server did not say which exporter context
	// it uses (reliability 4.6), nil otherwise.
	Alternate *Keys
	Cookies   [][]byte
}

// Session is the client side of one association: keys and cookies. It is not safe for concurrent use.
type Session struct {
	algorithm aead.Algorithm
}

// NewSession checks the keys and fills the jar: cookies of 4 to 350 bytes, a multiple of 4, the first 8 of
// them; the rest is skipped (KC10). Errors: ErrKeys, ErrNoCookies.
func NewSession(p SessionParams) (*Session, error) { return nil, ErrNoCookies }

// Cookies returns how many cookies are in the jar.
func (s *Session) Cookies() int { return 0 }

// Algorithm returns the negotiated algorithm.
func (s *Session) Algorithm() aead.Algorithm { return s.algorithm }

// Verdict says what a reply is to an NTS client.
type Verdict uint8

// The verdicts of OpenResponse. Only Authentic changes the session.
const (
	Authentic   Verdict = iota // sealed with our S2C key for this request
	NAK                        // NTSN kiss with our unique identifier: a hint, not proof
	Unauthentic                // no authenticator, or one that does not verify
	Malformed                  // fields that do not parse
	WrongUID                   // answers another request
)

// AppendRequest appends the NTS fields to dst, which holds the packet from its first byte.
func (s *Session) AppendRequest(dst []byte, uid []byte, rnd io.Reader) ([]byte, error) {
	return dst, ErrNoCookies
}

// OpenResponse judges the reply pkt, whose trailer f holds, to the request that carried uid.
func (s *Session) OpenResponse(pkt []byte, f *ntp.Fields, uid []byte) Verdict { return Unauthentic }

// SwitchAlternate changes to the alternate key pair after a NAK; false if there is none or it is used up.
func (s *Session) SwitchAlternate() bool { return false }
