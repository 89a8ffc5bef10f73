package faultnet

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"

	"ntp-daemon/internal/ntp"
)

// Chain calls hooks in their order until one drops the packet.
func Chain(hooks ...Hook) Hook {
	return func(r *Router, p *Packet) Verdict {
		for _, h := range hooks {
			if h(r, p) == Drop {
				return Drop
			}
		}
		return Pass
	}
}

// Request returns the header of an NTP request from the near side.
func (p *Packet) Request() (ntp.Header, bool) {
	b := p.NTP()
	h, err := ntp.ParseHeader(b)
	return h, p.Dir == Out && err == nil && h.Mode == ntp.ModeClient
}

// Answer builds what the server would send in answer to a request: addresses turned round, payload as given.
func (p *Packet) Answer(payload []byte) []byte {
	src, dst := p.Ends()
	return UDP(dst, src, payload)
}

// Forged is an answer to a request by somebody who sees it: a header with the right origin, then what edit makes of
// it, then the fields.
func (p *Packet) Forged(edit func(h *ntp.Header), fields ...ntp.Field) []byte {
	q, _ := p.Request()
	now := ntp.FromTime(time.Now())
	h := ntp.Header{
		Version: q.Version, Mode: ntp.ModeServer, Stratum: 1, Poll: q.Poll, Precision: -20,
		RefID: ntp.RefIDFromString("EVIL"), Reference: now, Origin: q.Transmit, Receive: now, Transmit: now.Add(time.Microsecond),
	}
	edit(&h)
	b := h.AppendTo(nil)
	for _, f := range fields {
		b = ntp.AppendField(b, f.Type, f.Value)
	}
	return p.Answer(b)
}

// Kiss makes a header a kiss-o'-death packet.
func Kiss(code string) func(*ntp.Header) {
	return func(h *ntp.Header) {
		h.Leap, h.Stratum, h.RefID, h.Poll = ntp.LeapUnknown, 0, ntp.RefIDFromString(code), 10
	}
}

// Field returns the first extension field of a type in an NTP packet.
func (p *Packet) Field(t ntp.FieldType) (ntp.Field, bool) {
	var f ntp.Fields
	if f.Trailer(p.NTP(), 4) != nil {
		return ntp.Field{}, false
	}
	for _, x := range f.All() {
		if x.Type == t {
			return x, true
		}
	}
	return ntp.Field{}, false
}

// Secured reports whether an NTP packet carries an NTS authenticator.
func (p *Packet) Secured() bool {
	_, ok := p.Field(ntp.FieldAuthenticator)
	return ok
}

// StripNTS cuts everything behind the header off NTP packets of both directions, as a downgrade attack does.
func StripNTS(_ *Router, p *Packet) Verdict {
	if b := p.NTP(); len(b) > ntp.HeaderLen {
		p.SetUDP(b[:ntp.HeaderLen])
	}
	return Pass
}

// Capture remembers NTP packets, and secrets that must not turn up in a log.
type Capture struct {
	mu      sync.Mutex
	packets []Packet
}

// Hook remembers and passes.
func (c *Capture) Hook(_ *Router, p *Packet) Verdict {
	if p.NTP() != nil {
		c.mu.Lock()
		c.packets = append(c.packets, p.Clone())
		c.mu.Unlock()
	}
	return Pass
}

// Packets returns the NTP packets of one direction so far, to or from one far address unless that is empty.
func (c *Capture) Packets(d Direction, far string) []Packet {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []Packet
	for _, p := range c.packets {
		if p.Dir == d && (far == "" || p.Far() == netip.MustParseAddr(far)) {
			out = append(out, p)
		}
	}
	return out
}

// Leaks looks for the cookies of the captured requests in a text, in every form a careless programmer prints bytes
// in, and returns what it found.
func (c *Capture) Leaks(text string) []string {
	var found []string
	for _, p := range c.Packets(Out, "") {
		if f, ok := p.Field(ntp.FieldCookie); ok {
			found = append(found, Leaks(text, f.Value)...)
		}
	}
	return found
}

// leakLen is how many bytes of a secret must turn up in a row to count.
const leakLen = 8

// Leaks looks for a secret in a text: raw, hex, base64 in its three alignments, decimal.
func Leaks(text string, secret []byte) []string {
	var found []string
	lower := strings.ToLower(text)
	for at := 0; at+3*leakLen <= len(secret); at += leakLen {
		s := secret[at : at+leakLen]
		if bytes.Count(s, s[:1]) == len(s) {
			continue // padding
		}
		plain := strings.Trim(fmt.Sprint(s), "[]")
		for form, hit := range map[string]bool{
			"raw":     strings.Contains(text, string(s)),
			"hex":     strings.Contains(lower, hex.EncodeToString(s)),
			"decimal": strings.Contains(text, plain) || strings.Contains(text, strings.ReplaceAll(plain, " ", ", ")),
			"base64":  hasBase64(text, secret[at:at+3*leakLen]),
		} {
			if hit {
				found = append(found, fmt.Sprintf("%s at %d", form, at))
			}
		}
	}
	return found
}

// hasBase64 looks for b in a text wherever it starts within the encoded bytes.
func hasBase64(text string, b []byte) bool {
	for shift := range 3 {
		whole := (len(b) - shift) / 3 * 3
		s := b[shift : shift+whole]
		if strings.Contains(text, base64.RawStdEncoding.EncodeToString(s)) || strings.Contains(text, base64.RawURLEncoding.EncodeToString(s)) {
			return true
		}
	}
	return false
}
