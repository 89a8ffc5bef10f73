package faultnet

import (
	"bytes"
	"crypto/tls"
	"encoding/hex"
	"sync"
	"testing"

	"ntp-daemon/internal/nts/aead"
	"ntp-daemon/internal/nts/ke"
	"ntp-daemon/internal/nts/record"
	"ntp-daemon/internal/suite"
)

// Reply is what a scripted pool member says to one request.
type Reply struct {
	Bytes []byte
	Hang  bool // say nothing more, but stay connected
	Keep  bool // wait for another request; otherwise the connection ends
}

// MemberScript is a personality of a pool member: an honest one but for what is set.
type MemberScript struct {
	Support func(r *record.Request) Reply // to questions of what it can do
	Fixed   func(r *record.Request) Reply // to keys of a user
	Edit    func(*tls.Config)
}

// Member is a scripted member of a pool.
type Member struct {
	*KE

	mu       sync.Mutex
	requests int
	keys     []string
	tokens   int
}

// FakeMember runs a scripted member at address, port 4460, until the test ends.
func FakeMember(t testing.TB, n *suite.Namespace, address string, cert tls.Certificate, s MemberScript) *Member {
	m := &Member{}
	m.KE = FakeKE(t, n, address, cert, func(c *KEConn) { m.serve(c, s) }, s.Edit)
	return m
}

// Keys are the users' keys that the member was given, in hex.
func (m *Member) Keys() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]string(nil), m.keys...)
}

// Requests counts the requests, and those that came with a token.
func (m *Member) Requests() (all, tokens int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.requests, m.tokens
}

func (m *Member) serve(c *KEConn, s MemberScript) {
	reader := ke.NewReader(c.Conn, record.RequestLimits)
	for {
		msg, err := reader.Next()
		if err != nil {
			return
		}
		req, fault := record.ParseRequest(bytes.Clone(msg), record.Rules{})
		m.mu.Lock()
		m.requests++
		if len(req.Token) > 0 {
			m.tokens++
		}
		if req.Kind == record.FixedKey {
			m.keys = append(m.keys, hex.EncodeToString(req.Keys))
		}
		m.mu.Unlock()
		if fault != record.None {
			_, _ = c.Write(record.AppendError(nil, fault.Code()))
			return
		}
		reply := m.answer(s, &req)
		if _, err := c.Write(reply.Bytes); err != nil {
			return
		}
		if reply.Hang {
			c.Drain()
			return
		}
		if !reply.Keep {
			return
		}
	}
}

func (m *Member) answer(s MemberScript, req *record.Request) Reply {
	switch {
	case req.Kind == record.Support && s.Support != nil:
		return s.Support(req)
	case req.Kind == record.FixedKey && s.Fixed != nil:
		return s.Fixed(req)
	case req.Kind == record.Support:
		return Lists(aead.SIVCMAC256)(req)
	}
	return Reply{Bytes: MemberCookies(req, nil), Keep: true}
}

// Lists answers honestly which algorithms there are, for NTPv4.
func Lists(algorithms ...aead.Algorithm) func(*record.Request) Reply {
	return func(r *record.Request) Reply {
		s := record.SupportResponse{Algorithms: algorithms, Protocols: []record.Protocol{record.NTPv4}, KeepAlive: true, Dialect: r.Dialect}
		if r.Dialect == record.Cert4000 {
			s.Protocols = nil
		}
		return Reply{Bytes: s.Append(nil), Keep: true}
	}
}

// MemberCookies is an honest answer to a user's keys, but for what edit does to it. The cookies are worthless.
func MemberCookies(req *record.Request, edit func(*record.Response)) []byte {
	r := record.Response{Algorithm: req.Algorithms[0], KeepAlive: true, Dialect: req.Dialect}
	for i := range 8 {
		r.Cookies = append(r.Cookies, bytes.Repeat([]byte{0xc0 + byte(i)}, 104))
	}
	if edit != nil {
		edit(&r)
	}
	return r.Append(nil)
}
