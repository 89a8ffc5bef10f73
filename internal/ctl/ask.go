package ctl

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	beevik "github.com/beevik/ntp"

	"ntp-daemon/internal/locate"
	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/nts"
)

// uidSize is the length of a unique identifier in bytes (RFC 8915 §5.3).
const uidSize = 32

// A reference timestamp of zero says that the server's clock was never set (RFC 5905 §7.3: ntpd in orphan mode). The
// library takes it for the start of era 1, which is in the future; what it takes for unknown is the start of era 0.
var (
	eraZero = time.Date(1900, time.January, 1, 0, 0, 0, 0, time.UTC)
	eraOne  = time.Date(2036, time.February, 7, 6, 28, 16, 0, time.UTC)
)

// errNAK says that a server could not read our cookie, or that somebody on the path claims so.
var errNAK = errors.New("server answered with an NTS NAK")

// question is one query to one server.
type question struct {
	to      netip.AddrPort
	version int           // 3 or 4
	timeout time.Duration // for the answer
	session *nts.Session  // nil: without NTS
}

// candidate is a server that can be asked, found by name or by key exchange.
type candidate struct {
	name    string
	addrs   []netip.AddrPort // where it can be reached, most promising first; at least one
	session *nts.Session     // nil: without NTS
}

// maxAddresses is how many addresses of one server are asked before it counts as silent.
const maxAddresses = 3

// ask sends one query to the first address, and as long as nothing comes back to the next one, the families in turn: of two
// families that this host has routes for one may lead nowhere. The address that answered becomes the first.
func (c *candidate) ask(ctx context.Context, version int, timeout time.Duration) (r *beevik.Response, err error) {
	var first error
	c.addrs = locate.Alternate(c.addrs)
	for i, to := range c.addrs[:min(len(c.addrs), maxAddresses)] {
		r, err = ask(ctx, question{to: to, version: version, timeout: timeout, session: c.session})
		if !silent(err) {
			c.addrs[0], c.addrs[i] = c.addrs[i], c.addrs[0]
			return r, err
		}
		if first == nil {
			first = err
		}
	}
	return r, first
}

// silent reports whether err says that nothing came back, or that nothing could be sent.
func silent(err error) bool {
	_, ok := errors.AsType[net.Error](err)
	return ok
}

// ask sends one query through beevik/ntp and judges the answer. A usable answer has no error; an unusable one
// comes with both. With an AEAD 30 session whose server derives its keys the other way, a NAK is followed by one
// more query with those (docs/rules/key-exchange.md#aead-30).
func ask(ctx context.Context, q question) (*beevik.Response, error) {
	r, err := askOnce(ctx, q)
	if errors.Is(err, errNAK) && q.session.SwitchAlternate() {
		return askOnce(ctx, q)
	}
	return r, err
}

// askOnce contains a panic of the library: some malformed answers make its parser fail
// (docs/rules/control.md#query-panic).
func askOnce(ctx context.Context, q question) (r *beevik.Response, err error) {
	defer func() {
		if p := recover(); p != nil {
			r, err = nil, fmt.Errorf("malformed answer from %v", q.to)
		}
	}()
	release := func() {}
	defer func() { release() }()
	o := beevik.QueryOptions{
		Version: q.version, Timeout: q.timeout,
		Dialer: func(_, _ string) (net.Conn, error) {
			// A plain UDP connection: only with one does the library take the kernel's receive time.
			c, err := (&net.Dialer{}).DialContext(ctx, "udp", q.to.String())
			if err != nil {
				return nil, err
			}
			stop := context.AfterFunc(ctx, func() { _ = c.Close() })
			release = func() { stop() }
			return c, nil
		},
	}
	if q.session != nil {
		o.Extensions = []beevik.Extension{&protection{session: q.session}}
	}
	r, err = beevik.QueryWithOptions(q.to.String(), o)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, fmt.Errorf("ask %v: %w", q.to, err)
	}
	return r, usable(r)
}

// usable says why an answer must not set a clock.
func usable(r *beevik.Response) error {
	if r.IsKissOfDeath() {
		return fmt.Errorf("server refuses with the kiss %q", ntp.RefID(r.ReferenceID).Text())
	}
	if r.ReferenceTime.Equal(eraOne) {
		r.ReferenceTime = eraZero
	}
	if err := r.Validate(); err != nil {
		return fmt.Errorf("server is not usable: %w", err)
	}
	return nil
}

// protection is our NTS session as an extension of the library: it proves our client against a foreign core.
type protection struct {
	session  *nts.Session
	uid      [uidSize]byte
	transmit [8]byte // what the answer's origin must be
}

// ProcessQuery appends the NTS fields to the header.
func (p *protection) ProcessQuery(buf *bytes.Buffer) error {
	if buf.Len() != ntp.HeaderLen {
		return fmt.Errorf("request of %d bytes cannot be protected", buf.Len())
	}
	if _, err := rand.Read(p.uid[:]); err != nil {
		return fmt.Errorf("draw unique identifier: %w", err)
	}
	copy(p.transmit[:], buf.Bytes()[ntp.HeaderLen-len(p.transmit):])
	packet, err := p.session.AppendRequest(bytes.Clone(buf.Bytes()), p.uid[:], rand.Reader)
	if err != nil {
		return err
	}
	buf.Reset()
	buf.Write(packet)
	return nil
}

// ProcessResponse lets an authentic answer to this very request pass and no other.
func (p *protection) ProcessResponse(b []byte) error {
	h, err := ntp.ParseHeader(b)
	if err != nil {
		return err
	}
	if !bytes.Equal(b[24:32], p.transmit[:]) || h.Mode != ntp.ModeServer {
		return errors.New("answer to another request")
	}
	var f ntp.Fields
	if err := f.Trailer(b, h.Version); err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	switch v := p.session.OpenResponse(b, &f, p.uid[:]); v {
	case nts.Authentic:
		return nil
	case nts.NAK:
		return errNAK
	default:
		return fmt.Errorf("answer refused: %v", v)
	}
}
