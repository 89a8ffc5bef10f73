package nts

import (
	"bytes"
	"fmt"
	"io"
	"time"

	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/nts/aead"
)

const (
	// minUID is the shortest unique identifier in bytes (RFC 8915 §5.3).
	minUID = 32
	// MaxRequest bounds a request in bytes: the smallest IPv6 MTU less IP and UDP headers, so that no packet is
	// ever fragmented (row N18). It leaves room for eight cookies of 104 bytes or six of 168.
	MaxRequest = 1232
)

// SessionParams is what a key exchange yields.
type SessionParams struct {
	Keys Keys
	// Alternate is the other key pair of an AEAD 30 exchange whose server did not say which exporter context
	// it uses (docs/rules/key-exchange.md#aead-30), nil otherwise.
	Alternate *Keys
	Cookies   [][]byte
	// Stock is how many cookies the session keeps at hand, 1 to 8, and so how many its requests ask for; 0: 8.
	Stock int
	// NotBefore and NotAfter are the validity of the certificate that the keys came under; zero: not known.
	NotBefore, NotAfter time.Time
}

// Format hides keys and cookies from every verb.
func (SessionParams) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

// MarshalText hides keys and cookies from encoders.
func (SessionParams) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// Session is the client side of NTS for one association (RFC 8915 §5.7): the two keys of a key exchange and the cookies
// that a server needs to find those keys again. It is not safe for concurrent use.
//
//	AppendRequest  | unique identifier (32) | one cookie | placeholder × (8 - cookies held) | authenticator by C2S |
//	OpenResponse   | unique identifier, the same | authenticator by S2C: encrypted cookie × (1 + placeholders) |
//
// Every request spends one cookie and asks for as many as bring the jar back to eight, so that a lost packet costs one
// cookie and the next reply makes up for it; a cookie is never sent twice (RFC 8915 §9.1). When the jar is empty,
// AppendRequest fails with ErrNoCookies and a new key exchange, thus a new Session, is needed. Only a response whose
// authenticator opens with S2C changes a Session; a NAK changes nothing here, the caller decides (source.Source).
//
// A Session from a server that does not say how it derived the keys of AEAD 30 has a second pair, which replaces the
// first after a NAK (SwitchAlternate).
type Session struct {
	algorithm aead.Algorithm
	c2s, s2c  aead.Cipher
	alternate *Keys // nil without one, or once it is in use
	jar       jar
	spent     [maxCookie]byte // the cookie of the latest request, for Unspend
	spentLen  int             // of it; 0 when it was taken back
	stock     int             // cookies wanted in the jar
	asked     int             // placeholders in the latest request
	most      int             // placeholders that a request may carry; fewer once one did not fit the path
	from, to  time.Time       // validity of the certificate, zero if not known
	plain     []byte          // decrypted fields of a reply, reused
	inner     ntp.Fields      // what they are
}

// NewSession checks the keys and fills the jar: cookies of 4 to 350 bytes, a multiple of 4, the first 8 of
// them; the rest is skipped (KC10). Nothing of p is kept. Errors: ErrKeys, ErrNoCookies.
func NewSession(p SessionParams) (*Session, error) {
	if p.Alternate != nil && !p.Alternate.Valid() {
		return nil, ErrKeys
	}
	s := &Session{from: p.NotBefore, to: p.NotAfter, stock: jarSize, most: jarSize}
	if p.Stock > 0 {
		s.stock = min(p.Stock, jarSize)
	}
	if err := s.rekey(&p.Keys); err != nil {
		return nil, err
	}
	if p.Alternate != nil {
		alternate := p.Alternate.clone()
		s.alternate = &alternate
	}
	for _, cookie := range p.Cookies {
		if s.jar.count == s.stock {
			break
		}
		s.jar.put(cookie)
	}
	if s.jar.count == 0 {
		return nil, ErrNoCookies
	}
	return s, nil
}

// rekey sets both ciphers.
func (s *Session) rekey(k *Keys) error {
	if !k.Valid() {
		return ErrKeys
	}
	if err := s.c2s.Rekey(k.Algorithm, k.C2S); err != nil {
		return err
	}
	s.algorithm = k.Algorithm
	return s.s2c.Rekey(k.Algorithm, k.S2C)
}

// Format hides keys and cookies from every verb.
func (s *Session) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

// Cookies returns how many cookies are in the jar, 0 to 8.
func (s *Session) Cookies() int { return s.jar.count }

// Algorithm returns the negotiated algorithm.
func (s *Session) Algorithm() aead.Algorithm { return s.algorithm }

// Covers reports whether t is inside the validity of the certificate that the keys came under. A client checks the
// time of the first response by it: if that time is outside, either the certificate was accepted by a wrong clock of
// ours, or the server's clock is wrong (RFC 8915 §8.5, row N25).
func (s *Session) Covers(t ntp.Timestamp) bool {
	if s.from.IsZero() || s.to.IsZero() {
		return true
	}
	at := t.Time(s.from)
	return !at.Before(s.from) && !at.After(s.to)
}

// SwitchAlternate changes to the alternate key pair after a NAK, once; false if there is none or it is used up.
// The cookies stay: they hold whatever keys the server derived.
func (s *Session) SwitchAlternate() bool {
	if s.alternate == nil {
		return false
	}
	err := s.rekey(s.alternate)
	s.alternate.Wipe()
	s.alternate = nil
	return err == nil
}

// AppendRequest appends the NTS fields of a request to dst, which holds the packet from its first byte: the
// unique identifier uid (32 bytes or more, fresh for every request), one cookie, which is spent, a placeholder
// for each cookie that the jar lacked before, as far as 1232 bytes allow, and the authenticator over all of it
// with a nonce from rnd. Errors: ErrNoCookies, ErrUniqueID, those of rnd; then dst is returned as it was and no
// cookie is spent.
func (s *Session) AppendRequest(dst []byte, uid []byte, rnd io.Reader) ([]byte, error) {
	if len(uid) < minUID {
		return dst, ErrUniqueID
	}
	if s.jar.count == 0 {
		return dst, ErrNoCookies
	}
	var nonce [maxNonce]byte
	n := s.algorithm.NonceSize()
	if _, err := io.ReadFull(rnd, nonce[:n]); err != nil {
		return dst, fmt.Errorf("draw NTS nonce: %w", err)
	}
	placeholders := min(s.stock-s.jar.count, s.most)
	cookie := s.jar.at(0)
	s.spentLen = copy(s.spent[:], cookie)
	packet := ntp.AppendField(dst, ntp.FieldUniqueID, uid)
	packet = ntp.AppendField(packet, ntp.FieldCookie, cookie)
	room := MaxRequest - len(packet) - authenticatorSize(s.algorithm, 0)
	clear(cookie) // its bytes are in the packet; what follows are the zeros of the placeholders
	s.asked = min(max(placeholders, 0), room/(fieldHeader+len(cookie)))
	for range s.asked {
		packet = ntp.AppendField(packet, ntp.FieldCookiePlaceholder, cookie)
	}
	s.jar.drop()
	return appendAuthenticator(packet, &s.c2s, nonce[:n], nil), nil
}

// Unspend takes back the cookie of the latest request, which never left this host, so that nobody can have seen it: an outage of
// the network shall not cost the cookies, and with them a key exchange when it is over. A second call does nothing.
func (s *Session) Unspend() {
	s.jar.putBack(s.spent[:s.spentLen])
	s.spentLen = 0
}

// TooLong says that the latest request did not leave this host because the path takes no datagram of its length. The next ones
// ask for half as many cookies at most, and the cookie is taken back. A request that asked for none cannot be shortened: its
// cookie stays spent, so that in the end a new key exchange is made, which may find shorter ones.
func (s *Session) TooLong() {
	if s.asked == 0 {
		return
	}
	s.most = s.asked / 2
	s.Unspend()
}

// ResponseVerdict says what OpenResponse found a reply to be.
type ResponseVerdict uint8

// The verdicts of OpenResponse. Only Authentic changes the session.
const (
	Authentic   ResponseVerdict = iota // sealed with our S2C key for this request
	NAK                                // NTSN kiss with our unique identifier; not authenticated (RFC 8915 §5.7)
	Unauthentic                        // no authenticator, or one that does not verify
	Malformed                          // fields that do not parse
	WrongUID                           // answers another request
)

// String names the verdict for logs and metrics.
func (v ResponseVerdict) String() string {
	switch v {
	case Authentic:
		return "authentic"
	case NAK:
		return "NTS NAK"
	case Unauthentic:
		return "not authentic"
	case Malformed:
		return "malformed NTS fields"
	case WrongUID:
		return "wrong unique identifier"
	}
	return "unknown"
}

// OpenResponse judges the reply pkt, whose trailer f holds, to the request that carried uid. Authentic puts the
// fresh cookies into the jar, at most 8 and only those usable; cookies outside the encrypted part are ignored
// (row N16). The caller checks header and origin timestamp, for a NAK too, which anyone on the path can forge.
func (s *Session) OpenResponse(pkt []byte, f *ntp.Fields, uid []byte) ResponseVerdict {
	outer, at, ok := splitFields(f)
	ids, id := count(outer, ntp.FieldUniqueID)
	switch {
	case len(pkt) < ntp.HeaderLen || ids > 1:
		return Malformed
	case ids == 0:
		return Unauthentic
	case !bytes.Equal(id, uid):
		return WrongUID
	case !ok && isNAK(pkt):
		return NAK
	case !ok:
		return Unauthentic
	}
	auth, ok := parseAuthenticator(at.Value)
	if !ok {
		return Malformed
	}
	plain, err := s.s2c.Open(s.plain[:0], auth.nonce, auth.sealed, pkt[:at.Offset])
	if err != nil {
		return Unauthentic
	}
	s.plain = plain
	if s.inner.Inner(plain) != nil {
		return Malformed
	}
	if nested, _ := count(s.inner.All(), ntp.FieldAuthenticator); nested > 0 {
		return Malformed
	}
	left := jarSize
	for _, field := range s.inner.All() {
		if field.Type == ntp.FieldCookie && left > 0 {
			s.jar.put(field.Value)
			left--
		}
	}
	return Authentic
}

// isNAK reports whether the header is a kiss with code NTSN (RFC 8915 §5.7).
func isNAK(pkt []byte) bool {
	h, err := ntp.ParseHeader(pkt)
	return err == nil && h.IsKiss() && h.RefID == ntp.KissNTSN
}
