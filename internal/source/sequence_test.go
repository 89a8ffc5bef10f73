package source

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/nts"
)

// maxHistory is how many events one run of FuzzAssociation has at most.
const maxHistory = 80

// history is an association that a script happens to, and what must be true of it.
type history struct {
	*association
	t      *testing.T
	peer   *peer // nil: plain NTP
	script []byte
	seed   byte // of the next session's keys

	request  Request
	header   ntp.Header
	asked    bool            // request and header are of the last poll
	sealed   map[string]bool // what the server sealed, whole packets
	replies  [][]byte        // good and bad ones of the past, for replays
	cookies  map[string]bool // that left us
	latest   string          // the cookie of the latest request
	origins  map[ntp.Timestamp]bool
	answered bool // the last poll was
	polls    int
	accepted int
	denied   bool // a reply with DENY or RSTR was believed, if only for its origin
}

func (h *history) take() byte {
	if len(h.script) == 0 {
		return 0
	}
	b := h.script[0]
	h.script = h.script[1:]
	return b
}

// poll asks for the next request, when it is due or at once, and checks what goes out.
func (h *history) poll(soon bool) {
	if next := h.Next(); next.After(h.now) && !soon {
		h.now = next
	}
	held := h.Status().Cookies
	t1 := ntp.Stamp{Time: h.at()}
	r, err := h.Poll(h.now, t1, 7, h.rnd)
	h.polls++
	h.answered, h.asked = false, err == nil
	if err != nil {
		if h.peer == nil || held > 0 || h.Waiting() {
			h.t.Fatalf("poll with %d cookies: %v", held, err)
		}
		return
	}
	h.request = Request{ID: r.ID, Packet: bytes.Clone(r.Packet), Deadline: r.Deadline}
	q, err := ntp.ParseHeader(r.Packet)
	if err != nil || len(r.Packet) > nts.MaxRequest || q.Mode != ntp.ModeClient || q.Transmit.IsZero() || q.Transmit == t1.Time || h.origins[q.Transmit] {
		h.t.Fatalf("request %x: %v", r.Packet, err)
	}
	if q.Origin != 0 || q.Receive != 0 || q.Reference != 0 || q.RefID != 0 || q.Stratum != 0 {
		h.t.Fatalf("request tells about us: %x", r.Packet)
	}
	h.header, h.origins[q.Transmit] = q, true
	if h.peer == nil && len(r.Packet) != ntp.HeaderLen || h.peer != nil && h.Status().Cookies != held-1 {
		h.t.Fatalf("request of %d bytes, %d cookies left of %d", len(r.Packet), h.Status().Cookies, held)
	}
	h.spent(r.Packet)
}

// spent checks that no cookie leaves twice (N17).
func (h *history) spent(pkt []byte) {
	var f ntp.Fields
	if err := f.Trailer(pkt, 4); err != nil {
		h.t.Fatal(err)
	}
	for _, x := range f.All() {
		if x.Type != ntp.FieldCookie {
			continue
		}
		if h.cookies[string(x.Value)] {
			h.t.Fatalf("cookie sent twice: %x", x.Value)
		}
		h.latest = string(x.Value)
		h.cookies[h.latest] = true
	}
}

// answer makes the server's reply to the last request, in the mood of the script, and seals it if it can.
func (h *history) answer(mood byte) []byte {
	p := h.reply(h.header)
	p.Origin = h.header.Transmit
	switch mood & 15 {
	case 1:
		p.Stratum, p.RefID = 0, ntp.KissRATE
	case 2:
		p.Stratum, p.RefID = 0, ntp.KissDENY
	case 3:
		p.Stratum, p.RefID = 0, ntp.KissRSTR
	case 4:
		p.Stratum, p.RefID = 0, ntp.KissNTSN
	case 5:
		p.Leap = ntp.LeapUnknown
	case 6:
		p.Stratum = ntp.Stratum(h.take())
	case 7:
		p.Receive, p.Transmit = p.Receive.Add(time.Duration(int8(h.take()))*time.Second), p.Transmit.Add(time.Duration(int8(h.take()))*time.Second)
	case 8:
		p.Version, p.Mode = h.take()&7, ntp.Mode(h.take()&7)
	case 9:
		p.RootDelay, p.RootDispersion, p.Precision = ntp.Short(h.take())<<16, ntp.Short(h.take())<<16, int8(h.take())
	case 10:
		p.Origin = ntp.Timestamp(h.take())
	case 11:
		p.Poll = int8(h.take())
	}
	if h.peer == nil || !h.asked {
		return p.AppendTo(nil)
	}
	if mood&16 != 0 {
		return h.peer.nak(h.t, h.request.Packet, &h.header)
	}
	if mood&32 != 0 { // stripped: time without authentication
		return ntp.AppendField(p.AppendTo(nil), ntp.FieldUniqueID, h.request.Packet[ntp.HeaderLen+4:][:32])
	}
	pkt := h.peer.seal(h.t, h.request.Packet, p)
	h.sealed[string(pkt)] = true
	return pkt
}

// deliver hands in a datagram and checks what it may have done.
func (h *history) deliver(pkt []byte, from netip.AddrPort) {
	open, before, held := h.Waiting(), *h.Source, h.Status().Cookies
	o := h.Receive(h.now, pkt, from, ntp.Stamp{Time: h.at()})
	p, err := ntp.ParseHeader(pkt)
	ours := err == nil && open && p.Origin == before.out.origin && from == server && !h.now.After(before.out.deadline)
	if !ours && (!o.Verdict.Refused() || o.Verdict.Content()) {
		h.t.Fatalf("%s for a datagram from %v without our origin", o.Verdict, from)
	}
	secret := before.out.session != nil
	authentic := ours && secret && h.sealed[string(pkt)]
	if secret && !authentic && (o.Verdict == Accepted || o.Verdict == KissRate || o.Verdict == KissDeny || h.Status().Cookies != held) {
		h.t.Fatalf("%s without authentication", o.Verdict)
	}
	if o.Verdict.Refused() && !authentic && changed(&before, h.Source) {
		h.t.Fatalf("a refused datagram (%s) changed the state:\n%+v\n%+v", o.Verdict, before, *h.Source)
	}
	if o.Verdict == KissDeny {
		h.denied = true
	}
	if (o.Verdict == Accepted) != (o.Measurement != ntp.Measurement{}) {
		h.t.Fatalf("%s with %+v", o.Verdict, o.Measurement)
	}
	if o.Verdict == Accepted {
		h.measured(o.Measurement, secret)
	}
}

// changed compares two states of an association without what lies behind its session.
func changed(a, b *Source) bool {
	return a.out != b.out || a.session != b.session || a.proven != b.proven || !bytes.Equal(a.packet, b.packet) || a.next != b.next ||
		a.rate != b.rate || a.reach != b.reach || a.kiss != b.kiss || a.last != b.last
}

// measured checks an accepted reply: one per request, and sane.
func (h *history) measured(m ntp.Measurement, secret bool) {
	if h.accepted++; h.answered || h.accepted > h.polls || h.Waiting() {
		h.t.Fatalf("%d replies accepted for %d requests", h.accepted, h.polls)
	}
	h.answered = true
	if m.Authenticated != secret || m.Stratum < 1 || m.Stratum > 15 || m.Leap == ntp.LeapUnknown || m.Precision <= 0 || m.Epoch != 7 ||
		m.RootDelay/2+m.RootDispersion >= maxDistance || m.T1.Time.IsZero() || m.T3.Time.Sub(m.T2.Time) < 0 {
		h.t.Fatalf("accepted %+v", m)
	}
}

// event is one step of the script.
func (h *history) event() {
	what := h.take()
	switch what & 15 {
	case 0, 1:
		h.poll(what&16 != 0)
	case 2, 3, 4:
		pkt := h.answer(h.take())
		if len(h.replies) < 16 {
			h.replies = append(h.replies, pkt)
		}
		h.now = h.now.Add(10 * time.Millisecond)
		h.deliver(pkt, server)
	case 5:
		if len(h.replies) > 0 {
			h.deliver(h.replies[int(h.take())%len(h.replies)], server)
		}
	case 6: // damaged on the way
		pkt := bytes.Clone(h.answer(0))
		pkt[int(h.take())%len(pkt)] ^= h.take()
		h.deliver(pkt, server)
	case 7:
		n := min(int(h.take()), len(h.script))
		pkt := h.script[:n]
		h.script = h.script[n:]
		h.deliver(pkt, server)
	case 8:
		h.deliver(h.answer(0), netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), uint16(h.take())))
	case 9:
		h.lapse()
	case 10:
		held := h.Status().Cookies
		h.Unsent(h.now, what&16 != 0)
		if h.Status().Cookies > held { // it was never seen, and may leave with the next
			delete(h.cookies, h.latest)
		}
	case 11:
		h.Advise(h.now, ntp.Advice{Poll: ntp.PollExp(int8(h.take())), PollNow: what&16 != 0})
	case 12:
		if h.peer != nil {
			h.seed += 2
			h.SwapSession(h.peer.session(h.t, 1+int(what>>4)%8, h.seed))
		}
	case 13:
		h.Sent(h.request.ID+uint64(h.take()&1), ntp.Stamp{Time: h.at().Add(time.Millisecond)})
	case 14:
		h.now = h.now.Add(time.Duration(h.take()) * time.Second)
	case 15:
		h.PollSoon(h.now)
	}
	h.invariants()
}

// invariants hold after every event.
func (h *history) invariants() {
	st := h.Status()
	low, high := h.cfg.PollMin, h.cfg.PollMax
	if h.rate.denials > 0 {
		high = max(high, denyMost)
	}
	wait := h.Next().Sub(max64(h.now, h.rate.last))
	switch {
	case st.Poll < low || st.Poll > high:
		h.t.Fatalf("interval 2^%d s outside 2^%d to 2^%d", st.Poll, low, high)
	case h.Next().Before(h.rate.last), wait > high.Duration()*21/20+h.cfg.Delay:
		h.t.Fatalf("next poll in %v", wait)
	case h.polls > 0 && st.Reach&1 != 0 != h.answered, st.Unanswered > h.polls, st.Unanswered == 0 && h.polls > 1 && st.Reach == 0:
		h.t.Fatalf("reach %08b, %d unanswered of %d", st.Reach, st.Unanswered, h.polls)
	case st.Cookies > 8, st.NTS != (h.peer != nil):
		h.t.Fatalf("%+v", st)
	case st.Need == NeedStop && !h.denied:
		h.t.Fatal("gave up a server that denied nothing")
	}
}

// max64 is the later time.
func max64(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// FuzzAssociation lets a script happen to an association: polls, good, bad, damaged, replayed and late replies, kisses,
// advice, swaps of the session, leaps of time. Whatever the order: one measurement per request at most, none without
// authentication where keys are agreed on, no change by a refused datagram, no cookie twice, intervals within limits.
func FuzzAssociation(f *testing.F) {
	good := []byte{0, 2, 0}
	for _, script := range [][]byte{
		bytes.Repeat(good, 5), {0, 2, 1, 0, 2, 0, 0, 2, 2, 9, 0, 9, 0, 9, 0, 9}, {0, 2, 4, 9, 0, 9, 0, 2, 0}, {0, 2, 16, 9, 0, 2, 16, 9, 0, 2, 0}, {0, 2, 32, 2, 0},
		{0, 2, 0, 5, 0, 0, 5, 0, 5, 1}, {0, 6, 50, 1, 6, 30, 255, 2, 0}, {0, 8, 123, 9, 2, 0}, {0, 12, 2, 0, 0, 2, 0, 0x2c, 0, 12, 0}, {0, 10, 0, 10, 0, 2, 0}, {0, 13, 0, 13, 1, 2, 0},
		{0, 2, 0, 11, 3, 0, 27, 200, 16, 2, 0, 15, 0, 2, 0}, {0, 14, 255, 2, 0, 0, 2, 5, 0, 2, 7, 200, 1}, {0, 2, 8, 1, 4, 2, 9, 200, 1, 1, 2, 10, 0, 2, 11, 100}, {0, 9, 0, 9, 0, 9, 0, 9, 0, 9, 0, 9, 0, 9, 0, 9, 0, 9, 0},
		bytes.Repeat([]byte{0, 2, 1, 9}, 9), append([]byte{0, 7, 48}, make([]byte, 48)...), append(append([]byte{0, 2, 1}, bytes.Repeat(good, 35)...), 0),
	} {
		for _, mode := range []uint8{0, 1, 2 | 4, 3 | 8, 3 | 16} {
			f.Add(script, mode)
		}
	}
	f.Fuzz(func(t *testing.T, script []byte, mode uint8) {
		h := &history{t: t, script: script, sealed: map[string]bool{}, cookies: map[string]bool{}, origins: map[ntp.Timestamp]bool{}, seed: 1}
		c := Config{PollMin: 4, PollMax: 10, PollInitial: ntp.PollExp(mode>>4) % 12, Burst: int(mode>>1&3) * 3}
		if mode&8 != 0 {
			c.PollMin, c.PollMax, c.Delay = 0, 4, time.Minute
		}
		if mode&1 != 0 {
			h.peer = newPeer(t)
			c.Session = h.peer.session(t, 8, h.seed)
		}
		h.association = plain(c)
		for n := 0; n < maxHistory && (n == 0 || len(h.script) > 0); n++ {
			h.event()
		}
	})
}
