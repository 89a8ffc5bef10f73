package faultnet

import (
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/suite"
)

// Query is a request that a scripted server got.
type Query struct {
	Header ntp.Header
	Raw    []byte
	From   netip.AddrPort
	N      int           // requests before this one
	Now    ntp.Timestamp // when it came, on the true clock
	Last   []byte        // the first answer to the request before, nil at first
}

// Answer is one datagram of a scripted server.
type Answer struct {
	Data  []byte
	After time.Duration
}

// Personality decides what a scripted server answers.
type Personality func(q *Query) []Answer

// NTP is a scripted NTP server.
type NTP struct {
	Addr netip.AddrPort

	mu      sync.Mutex
	queries []Query
}

// FakeNTP runs a scripted server at address, port 123, inside the namespace until the test ends.
func FakeNTP(t testing.TB, n *suite.Namespace, address string, p Personality) *NTP {
	t.Helper()
	s := &NTP{Addr: netip.AddrPortFrom(netip.MustParseAddr(address), ntpPort)}
	conn := ListenUDP(t, n, s.Addr)
	var wg sync.WaitGroup
	wg.Go(func() { s.serve(conn, p, &wg) })
	t.Cleanup(func() { _ = conn.Close(); wg.Wait() })
	return s
}

// Queries are the requests so far.
func (s *NTP) Queries() []Query {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Query(nil), s.queries...)
}

func (s *NTP) serve(conn *net.UDPConn, p Personality, wg *sync.WaitGroup) {
	buf := make([]byte, 2048)
	var last []byte
	for i := 0; ; i++ {
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		q := Query{Raw: append([]byte(nil), buf[:n]...), From: from, N: i, Now: ntp.FromTime(time.Now()), Last: last}
		q.Header, _ = ntp.ParseHeader(q.Raw)
		s.mu.Lock()
		s.queries = append(s.queries, q)
		s.mu.Unlock()
		for j, a := range p(&q) {
			if j == 0 {
				last = a.Data
			}
			if a.After == 0 {
				_, _ = conn.WriteToUDPAddrPort(a.Data, from)
				continue
			}
			wg.Add(1)
			time.AfterFunc(a.After, func() { defer wg.Done(); _, _ = conn.WriteToUDPAddrPort(a.Data, from) })
		}
	}
}

// Reply is the header of an honest stratum 1 server.
func (q *Query) Reply() ntp.Header {
	return ntp.Header{
		Version: q.Header.Version, Mode: ntp.ModeServer, Stratum: 1, Poll: q.Header.Poll, Precision: -20,
		RootDispersion: ntp.ShortFrom(time.Millisecond), RefID: ntp.RefIDFromString("FAKE"),
		Reference: q.Now.Add(-10 * time.Second), Origin: q.Header.Transmit, Receive: q.Now, Transmit: ntp.FromTime(time.Now()),
	}
}

// one is a single answer at once.
func one(h ntp.Header) []Answer { return []Answer{{Data: h.AppendTo(nil)}} }

// Honest tells the true time.
func Honest(q *Query) []Answer { return one(q.Reply()) }

// Silent never answers.
func Silent(*Query) []Answer { return nil }

// Edited is honest but for an edit of each answer.
func Edited(edit func(q *Query, h *ntp.Header)) Personality {
	return func(q *Query) []Answer {
		h := q.Reply()
		edit(q, &h)
		return one(h)
	}
}

// Liar is off by a constant, and consistent.
func Liar(by time.Duration) Personality {
	return Edited(func(_ *Query, h *ntp.Header) { shift(h, by) })
}

// Drifter begins honest and moves away at a rate in s/s.
func Drifter(rate float64) Personality {
	var begin ntp.Timestamp
	return Edited(func(q *Query, h *ntp.Header) {
		if begin.IsZero() {
			begin = q.Now
		}
		shift(h, time.Duration(rate*float64(q.Now.Sub(begin))))
	})
}

// Turncoat is honest for a number of answers and then off by a constant.
func Turncoat(honest int, by time.Duration) Personality {
	return Edited(func(q *Query, h *ntp.Header) {
		if q.N >= honest {
			shift(h, by)
		}
	})
}

// Era1 lives after 7 February 2036: its timestamps have wrapped.
func Era1(q *Query) []Answer {
	h := q.Reply()
	shift(&h, time.Until(time.Date(2036, 2, 8, 0, 0, 0, 0, time.UTC)))
	return one(h)
}

// shift moves the server's clock.
func shift(h *ntp.Header, by time.Duration) {
	h.Reference, h.Receive, h.Transmit = h.Reference.Add(by), h.Receive.Add(by), h.Transmit.Add(by)
}

// Kisser answers with a kiss code and nothing else.
func Kisser(code string) Personality {
	return Edited(func(_ *Query, h *ntp.Header) { Kiss(code)(h) })
}

// Late answers honestly, but only after a while.
func Late(after time.Duration) Personality {
	return func(q *Query) []Answer { return []Answer{{Data: headerBytes(q.Reply()), After: after}} }
}

func headerBytes(h ntp.Header) []byte { return h.AppendTo(nil) }

// Rate answers honestly with a RATE first on every n-th request.
func Rate(every int) Personality {
	return func(q *Query) []Answer {
		if q.N%every != every-1 {
			return Honest(q)
		}
		return Kisser("RATE")(q)
	}
}

// Noisy sends everything that noise makes of the request and then, a moment later, the honest answer: whoever is
// misled by noise loses its time.
func Noisy(noise func(q *Query) [][]byte) Personality {
	return func(q *Query) []Answer {
		var out []Answer
		for _, b := range noise(q) {
			out = append(out, Answer{Data: b})
		}
		return append(out, Answer{Data: headerBytes(q.Reply()), After: 5 * time.Millisecond})
	}
}

// Misfits are answers that a client must refuse, one for each rule of docs/rules/client.md#acceptance, all ten seconds
// wrong so that believing one of them shows.
func Misfits(q *Query) [][]byte {
	lie := q.Reply()
	shift(&lie, 10*time.Second)
	edited := func(edit func(h *ntp.Header)) []byte {
		h := lie
		edit(&h)
		return h.AppendTo(nil)
	}
	var out [][]byte
	add := func(edit func(h *ntp.Header)) { out = append(out, edited(edit)) }
	add(func(h *ntp.Header) { h.Origin++ })           // C04
	add(func(h *ntp.Header) { h.Origin = 0 })         // C05
	add(func(h *ntp.Header) { h.Origin = h.Receive }) // C22
	for _, m := range []ntp.Mode{0, 1, 2, 3, 5, 6, 7} {
		add(func(h *ntp.Header) { h.Mode = m }) // C08
	}
	for _, v := range []uint8{0, 1, 2, 5, 6, 7} {
		add(func(h *ntp.Header) { h.Version = v }) // C09
	}
	add(func(h *ntp.Header) { h.Leap = ntp.LeapUnknown }) // C10
	for _, s := range []ntp.Stratum{16, 17, 255} {
		add(func(h *ntp.Header) { h.Stratum = s })
	}
	add(func(h *ntp.Header) { h.RootDispersion = 0x00100000 }) // C11
	add(func(h *ntp.Header) { h.RootDispersion = 0xffffffff })
	add(func(h *ntp.Header) { h.RootDelay = 0xffffffff; h.RootDispersion = 0xffffffff })
	add(func(h *ntp.Header) { h.Receive = 0 }) // C13
	add(func(h *ntp.Header) { h.Transmit = 0 })
	add(func(h *ntp.Header) { h.Transmit = h.Receive.Add(-time.Millisecond) })
	add(func(h *ntp.Header) { h.Transmit = h.Receive.Add(5 * time.Second) })
	for _, code := range []string{"XFUN", "AAAA", "INIT", "\x00\x00\x00\x00", "NTSN"} {
		add(Kiss(code)) // C18
	}
	add(func(h *ntp.Header) { Kiss("DENY")(h); h.Origin++ }) // C15
	add(func(h *ntp.Header) { Kiss("RSTR")(h); h.Origin = 0 })
	add(func(h *ntp.Header) { Kiss("RATE")(h); h.Origin++ })
	whole := lie.AppendTo(nil)
	out = append(out, append(append([]byte(nil), whole...), 0, 0, 0, 0)) // C19
	for _, n := range []int{0, 1, 47} {
		out = append(out, whole[:n]) // C20
	}
	for _, n := range []int{1, 3, 4, 8, 19, 20, 24, 60, 2001, 60000} { // C20, C21
		out = append(out, append(append([]byte(nil), whole...), make([]byte, n)...))
	}
	if q.Last != nil {
		out = append(out, q.Last) // C03
	}
	return out
}

// Extremes are honest answers with hostile poll and precision (C12); q.N picks one.
func Extremes(q *Query) []Answer {
	h := q.Reply()
	v := [...]int8{127, -128, 0, 17, -1}
	h.Poll, h.Precision = v[q.N%len(v)], v[q.N/len(v)%len(v)]
	return one(h)
}

// Twice sends every honest answer twice (C03).
func Twice(q *Query) []Answer {
	a := Honest(q)
	return append(a, Answer{Data: a[0].Data, After: time.Millisecond})
}

// Leaps changes its mind about leap seconds with every answer (K09).
func Leaps(q *Query) []Answer {
	h := q.Reply()
	h.Leap = ntp.LeapIndicator(q.N % 3)
	return one(h)
}

// Strata claims another stratum with every answer, the impossible ones included.
func Strata(q *Query) []Answer {
	h := q.Reply()
	h.Stratum = ntp.Stratum([...]int{1, 15, 2, 16, 7, 255}[q.N%6])
	return one(h)
}
