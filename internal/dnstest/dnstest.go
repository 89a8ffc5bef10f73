// Package dnstest is a name server for tests, on a loopback port over UDP and TCP, that answers as the test says.
//
// It knows what a stub resolver sees of a recursive name server: answers with CNAME chains, the AD bit, the truncation of
// what does not fit, failures with their extended errors. It resolves and validates nothing itself.
package dnstest

import (
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// Answer is what a question gets.
type Answer struct {
	RCode   dnsmessage.RCode
	AD      bool                  // DNSSEC vouches for it, says the server
	Records []dnsmessage.Resource // of the answer section
	EDE     uint16                // code of an Extended DNS Error; 0: none
	Cut     bool                  // over UDP only the TC bit comes, whatever the size
	Silent  bool                  // nothing comes

	// Bytes, if not nil, is the whole message but for its number, and takes the place of everything above.
	Bytes []byte
	// Before are datagrams that arrive in front of the answer, each as it is.
	Before func(query []byte) [][]byte
}

// Asked is one question that came.
type Asked struct {
	Name   string // absolute, in lower case
	Type   dnsmessage.Type
	TCP    bool
	Header dnsmessage.Header
	DO     bool // the question had an OPT record with DNSSEC OK
}

// Server is a running name server.
type Server struct {
	Addr netip.AddrPort // UDP and TCP

	mu     sync.Mutex
	answer map[key]Answer // guarded by mu
	asked  []Asked        // guarded by mu
}

type key struct {
	name string
	of   dnsmessage.Type
}

// Start runs a server on 127.0.0.1 until the test ends. What it has no answer for does not exist.
func Start(t testing.TB) *Server {
	t.Helper()
	for {
		tcp, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addr := tcp.Addr().(*net.TCPAddr).AddrPort()
		udp, err := net.ListenPacket("udp", addr.String())
		if err != nil { // somebody else has that port
			_ = tcp.Close()
			continue
		}
		s := &Server{Addr: addr, answer: map[key]Answer{}}
		var running sync.WaitGroup
		running.Go(func() { s.serveUDP(udp) })
		running.Go(func() { s.serveTCP(tcp) })
		t.Cleanup(func() { _, _ = udp.Close(), tcp.Close(); running.Wait() })
		return s
	}
}

// Set says what a question gets from now on. name has no final dot.
func (s *Server) Set(name string, of dnsmessage.Type, a Answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer[key{strings.ToLower(name) + ".", of}] = a
}

// Questions lists what was asked so far.
func (s *Server) Questions() []Asked {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked)
}

// Addresses gives a name its addresses.
func (s *Server) Addresses(name string, addrs ...string) {
	var a4, a6 Answer
	for _, text := range addrs {
		if a := netip.MustParseAddr(text); a.Is4() {
			a4.Records = append(a4.Records, record(name, 60, &dnsmessage.AResource{A: a.As4()}))
		} else {
			a6.Records = append(a6.Records, record(name, 60, &dnsmessage.AAAAResource{AAAA: a.As16()}))
		}
	}
	s.Set(name, dnsmessage.TypeA, a4)
	s.Set(name, dnsmessage.TypeAAAA, a6)
}

// SRV is an SRV record; names have no final dot, and the target "" is the root, which stands for no service at all.
func SRV(name string, ttl uint32, priority, weight, port uint16, target string) dnsmessage.Resource {
	return record(name, ttl, &dnsmessage.SRVResource{Priority: priority, Weight: weight, Port: port, Target: absolute(target)})
}

// CNAME is a CNAME record.
func CNAME(name string, ttl uint32, target string) dnsmessage.Resource {
	return record(name, ttl, &dnsmessage.CNAMEResource{CNAME: absolute(target)})
}

// Signature is something that looks like an RRSIG record, as it stands between others in a validated answer.
func Signature(name string, ttl uint32) dnsmessage.Resource {
	return record(name, ttl, &dnsmessage.UnknownResource{Type: 46, Data: make([]byte, 90)})
}

func record(name string, ttl uint32, body dnsmessage.ResourceBody) dnsmessage.Resource {
	return dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: absolute(name), Class: dnsmessage.ClassINET, TTL: ttl}, Body: body}
}

func absolute(name string) dnsmessage.Name { return dnsmessage.MustNewName(name + ".") }

func (s *Server) serveUDP(conn net.PacketConn) {
	buf := make([]byte, 4096)
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			return
		}
		query := slices.Clone(buf[:n])
		a, reply := s.reply(query, false)
		if a.Before != nil {
			for _, b := range a.Before(query) {
				_, _ = conn.WriteTo(b, from)
			}
		}
		if reply != nil {
			_, _ = conn.WriteTo(reply, from)
		}
	}
}

func (s *Server) serveTCP(ln net.Listener) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		var size [2]byte
		if _, err := io.ReadFull(c, size[:]); err == nil {
			query := make([]byte, binary.BigEndian.Uint16(size[:]))
			if _, err := io.ReadFull(c, query); err == nil {
				if _, reply := s.reply(query, true); reply != nil {
					_, _ = c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...))
				}
			}
		}
		_ = c.Close()
	}
}

// reply is what a question gets: nil for silence.
func (s *Server) reply(query []byte, tcp bool) (Answer, []byte) {
	var m dnsmessage.Message
	if m.Unpack(query) != nil || len(m.Questions) != 1 {
		return Answer{}, nil
	}
	q, size := m.Questions[0], 512
	asked := Asked{Name: strings.ToLower(q.Name.String()), Type: q.Type, TCP: tcp, Header: m.Header}
	for _, r := range m.Additionals {
		if r.Header.Type == dnsmessage.TypeOPT {
			asked.DO, size = r.Header.DNSSECAllowed(), int(r.Header.Class)
		}
	}
	s.mu.Lock()
	s.asked = append(s.asked, asked)
	a, known := s.answer[key{asked.Name, q.Type}]
	s.mu.Unlock()
	switch {
	case !known:
		a.RCode = dnsmessage.RCodeNameError
	case a.Silent:
		return a, nil
	case a.Bytes != nil:
		return a, append(slices.Clone(query[:2]), a.Bytes[2:]...)
	}
	if tcp {
		size = 1 << 16
	}
	return a, pack(&m.Header, q, a, size, a.Cut && !tcp)
}

// pack writes the message, without its records if they do not fit.
func pack(h *dnsmessage.Header, q dnsmessage.Question, a Answer, size int, cut bool) []byte {
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: h.ID, Response: true, RecursionDesired: true, RecursionAvailable: true, RCode: a.RCode, AuthenticData: a.AD, Truncated: cut},
		Questions: []dnsmessage.Question{q},
	}
	if !cut {
		m.Answers = slices.Clone(a.Records) // packing writes to their headers
	}
	opt := dnsmessage.Resource{Body: &dnsmessage.OPTResource{}}
	if a.EDE != 0 {
		opt.Body = &dnsmessage.OPTResource{Options: []dnsmessage.Option{{Code: 15, Data: binary.BigEndian.AppendUint16(nil, a.EDE)}}}
	}
	if err := opt.Header.SetEDNS0(1232, a.RCode, true); err != nil {
		return nil
	}
	m.Additionals = []dnsmessage.Resource{opt}
	b, err := m.Pack()
	if err != nil {
		return nil
	}
	if len(b) > size && !cut {
		return pack(h, q, a, size, true)
	}
	return b
}
