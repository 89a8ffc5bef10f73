package source

import (
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"time"

	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/nts"
)

const (
	// replyWindow is how long a reply counts (C07; ntpd-rs POLL_WINDOW).
	replyWindow = 5 * time.Second
	// uidLen is the length of the unique identifier we send (RFC 8915 §5.3: at least 32 random octets).
	uidLen = 32
	// minimalPrecision is what the data minimisation draft puts into every request, so that ours look alike (C01).
	minimalPrecision = 0x20
	// defaultVersion is the protocol version of a Config that names none.
	defaultVersion = 4
)

// Config describes an association; it does not change during its life, the session excepted.
type Config struct {
	ID      ntp.SourceID
	Server  netip.AddrPort // the only address whose replies count (C06)
	Version uint8          // of our requests: 3 or 4; 0 means 4
	// PollMin and PollMax bound the interval, whoever asks for another; PollInitial is in force after the start
	// burst until the first Advice.
	PollMin, PollMax, PollInitial ntp.PollExp
	Session                       *nts.Session  // nil: plain NTP
	Burst                         int           // good replies wanted quickly at the start; 0: none, at most 8
	Delay                         time.Duration // before the first poll, ≥ 0; drawn at random by the caller (C36)
	Interleaved                   Interleaving  // asks for interleaved answers; only version 4 can
}

// Source is one client association (RFC 5905 §9, §13): it decides when to send a request, builds it, and finds among the
// datagrams that arrive the reply that belongs to it. It does no I/O; its task (internal/assoc) owns it, sends what
// Poll returns and hands over what arrives. It is not safe for concurrent use.
//
// One request is outstanding at a time, in this order of states:
//
//	Poll       a request with 64 random bits as transmit timestamp is open until its deadline, 5 s later
//	Sent       t1 becomes the transmit stamp of the kernel, if there is one
//	Receive    address → deadline → origin timestamp (basic, or interleaved if that was asked for: interleave.go) → header → NTS → kiss code → sanity (RFC 5905 §8; RFC 8915 §5.7)
//	           a good reply closes the request and gives a Measurement; an authenticated refusal closes it as unanswered;
//	           after any other refusal it stays open, because whoever sent that datagram proved nothing
//	Lapse      the deadline passed, or the next Poll came: unanswered
//
// Each end updates reach (the eight-bit register), rate (the next poll's time) and kiss. Status().Need says what the
// supervisor must do then: a key exchange when cookies run out or a NAK was confirmed, another address after eight
// unanswered polls or a confirmed plain DENY, an end after an authenticated DENY.
type Source struct {
	cfg     Config
	session *nts.Session // seals the next request; nil: plain NTP
	proven  *nts.Session // the session that had a good reply: certificate validity is checked before that only (Receive)
	out     sentRequest  // the latest request
	packet  []byte       // bytes of the latest request
	next    time.Time    // of the next poll
	rate    pollRate
	reach   reach
	kiss    kissState
	inter   interleave
	last    Verdict // how the latest finished request ended
}

// sentRequest is the one request that may be answered; a later request replaces it.
type sentRequest struct {
	id       uint64
	open     bool          // a reply still counts
	origin   ntp.Timestamp // 64 random bits in the transmit field, never zero: the origin of a basic reply
	receive  ntp.Timestamp // the same in the receive field: the origin of an interleaved reply; zero: none was asked for
	before   exchange      // whose exact T3 that reply brings
	uid      [uidLen]byte  // with a session only
	session  *nts.Session  // that sealed the request: it opens the reply, too, even after a SwapSession
	t1       ntp.Stamp     // when the request really left; never on the wire (CVE-2020-13817)
	epoch    uint64        // of the clock at t1
	sent     time.Time
	deadline time.Time
	poll     ntp.PollExp // interval in force when it was sent

	rated, denied, nak bool // RATE, DENY or RSTR, NTSN were received for this request; each counts once
}

// Request is a packet to be sent.
type Request struct {
	ID       uint64    // for Sent
	Packet   []byte    // valid until the next Poll
	Deadline time.Time // when a reply ceases to count; then call Lapse
}

// Outcome tells what became of one received datagram. Bad input is never an error.
type Outcome struct {
	Verdict     Verdict
	Measurement ntp.Measurement // set when Sample is
	Sample      bool            // a good reply brought a measurement; each does but some interleaved ones
	Kiss        ntp.KissCode    // set when the Verdict is one of the kiss verdicts
}

// New returns an association that wants its first poll at now+c.Delay.
func New(c Config, now time.Time) *Source {
	if c.Version == 0 {
		c.Version = defaultVersion
	}
	c.PollMin = c.PollMin.Clamp()
	c.PollMax = max(c.PollMax.Clamp(), c.PollMin)
	c.Server = netip.AddrPortFrom(c.Server.Addr().Unmap(), c.Server.Port())
	return &Source{
		cfg:     c,
		session: c.Session,
		rate:    newPollRate(c),
		reach:   newReach(c.Burst),
		inter:   interleave{want: c.Interleaved},
		next:    now.Add(max(c.Delay, 0)),
	}
}

// Poll builds the next request and sets the time of the one after it. t1 is the clock read just before sending,
// used when no better transmit stamp arrives by Sent; epoch counts the steps of that clock. An unanswered
// earlier request lapses. Errors are those of rnd, and nts.ErrNoCookies when the session has none left: then
// nothing is sent, the poll counts as unanswered, and the Status asks for a key exchange.
func (s *Source) Poll(now time.Time, t1 ntp.Stamp, epoch uint64, rnd io.Reader) (Request, error) {
	s.Lapse(now)
	var random [8 + 4 + uidLen]byte
	if _, err := io.ReadFull(rnd, random[:]); err != nil {
		s.next = now.Add(s.rate.interval(s.reach.unansweredSent()))
		return Request{}, fmt.Errorf("draw request: %w", err)
	}
	s.rate.jitter = binary.BigEndian.Uint32(random[8:])
	s.rate.polled(now)
	s.reach.polled()
	s.next = now.Add(s.rate.interval(s.reach.unansweredSent()))

	x := sentRequest{
		id: s.out.id + 1, open: true, session: s.session, t1: t1, epoch: epoch,
		origin: ntp.Timestamp(binary.BigEndian.Uint64(random[:])), uid: [uidLen]byte(random[12:]),
		sent: now, deadline: now.Add(replyWindow), poll: s.rate.exp(s.reach.unansweredSent()),
	}
	if x.origin.IsZero() {
		x.origin = 1 // a zero origin must never match (CVE-2015-8138)
	}
	if err := s.build(&x, rnd); err != nil {
		s.out = sentRequest{id: x.id}
		s.reach.missed()
		return Request{}, err
	}
	s.out = x
	return Request{ID: x.id, Packet: s.packet, Deadline: x.deadline}, nil
}

// build writes the request: every field is zero that does not have to be otherwise (C01). An interleaved one shows the server's
// own time stamp and one more random number.
func (s *Source) build(x *sentRequest, rnd io.Reader) error {
	h := ntp.Header{
		Version: s.cfg.Version, Mode: ntp.ModeClient,
		Poll: int8(x.poll), Precision: minimalPrecision, Transmit: x.origin,
	}
	if s.inter.wanted(s.cfg.Version) {
		r, err := draw(rnd, s.inter.before.measurement.T2.Time, x.origin)
		if err != nil {
			return err
		}
		x.receive, x.before = r, s.inter.before
		h.Receive, h.Origin = r, x.before.measurement.T2.Time
	}
	if x.session == nil {
		s.packet = h.AppendTo(s.packet[:0])
		return nil
	}
	h.Version = defaultVersion // only version 4 carries the fields of NTS
	p, err := x.session.AppendRequest(h.AppendTo(make([]byte, 0, nts.MaxRequest)), x.uid[:], rnd)
	if err != nil {
		return fmt.Errorf("protect request: %w", err)
	}
	s.packet = p
	return nil
}

// Sent enters a better transmit stamp of request id. A stamp for another request, or one that comes after the
// reply was used, is ignored.
func (s *Source) Sent(id uint64, tx ntp.Stamp) {
	if s.out.open && s.out.id == id && !tx.Time.IsZero() {
		s.out.t1 = tx
	}
}

// Receive judges a datagram that arrived at our socket; rx is when. Only a reply to the open request from the
// server's address inside the window can change anything. A plain reply that is refused changes nothing; one
// that NTS authenticated always ends its request, because its cookies are taken even if its time is not.
func (s *Source) Receive(now time.Time, pkt []byte, from netip.AddrPort, rx ntp.Stamp) Outcome {
	h, v := s.match(now, pkt, from)
	if v != Accepted {
		return Outcome{Verdict: v}
	}
	var f ntp.Fields
	if v := s.inspect(&h, &f, pkt); v != Accepted {
		return Outcome{Verdict: v}
	}
	authentic := false
	if s.out.session != nil {
		switch s.out.session.OpenResponse(pkt, &f, s.out.uid[:]) {
		case nts.Authentic:
			authentic = true
		case nts.NAK:
			s.out.nak = true
			s.inter.forget()
			return Outcome{Verdict: KissNAK, Kiss: ntp.KissNTSN}
		case nts.WrongUID:
			return Outcome{Verdict: WrongUID}
		case nts.Malformed:
			return Outcome{Verdict: MalformedFields}
		default:
			return Outcome{Verdict: Unauthentic}
		}
	}
	if h.IsKiss() {
		return s.kissed(now, h.RefID, authentic)
	}
	m := s.measurement(&h, rx, authentic)
	interleaved := h.Origin != s.out.origin
	sample, once := m, true
	if interleaved {
		sample, once = s.earlier(&h, authentic), !s.out.before.used
	}
	v = sanity(&h, &sample)
	if x := s.out.session; v == Accepted && x != nil && x != s.proven && !x.Covers(h.Transmit) {
		v, s.kiss.outside = OffCertificate, true
	}
	if v == Accepted && impossible(&sample) {
		v = Impossible
	}
	if v != Accepted {
		if authentic {
			s.end(now, v)
		}
		return Outcome{Verdict: v}
	}
	s.answered(now)
	s.inter.answered(&s.out, &m, &sample, &h, interleaved)
	return Outcome{Verdict: Accepted, Measurement: sample, Sample: once}
}

// measurement collects what the estimator and the system process need from an accepted reply.
func (s *Source) measurement(h *ntp.Header, rx ntp.Stamp, authentic bool) ntp.Measurement {
	// T2 and T3 are stamps of the server's own clock; how it took them is unknown to us.
	return ntp.Measurement{
		Source: s.cfg.ID, Kind: ntp.TwoWay,
		T1: s.out.t1, T2: ntp.Stamp{Time: h.Receive}, T3: ntp.Stamp{Time: h.Transmit}, T4: rx,
		RootDelay: h.RootDelay.Duration(), RootDispersion: h.RootDispersion.Duration(),
		Precision: ntp.PrecisionExp(h.Precision).Duration(),
		Poll:      s.out.poll, PollMin: s.cfg.PollMin, Stratum: h.Stratum, Leap: h.Leap, RefID: h.RefID, Reference: h.Reference,
		Version: h.Version, Authenticated: authentic, Epoch: s.out.epoch,
	}
}

// answered ends the open request with a good reply.
func (s *Source) answered(now time.Time) {
	s.out.open = false
	s.last = Accepted
	s.proven = s.out.session
	quick, denied := s.rate.bursting(), s.rate.denials > 0
	s.reach.answered()
	s.rate.accepted(now)
	s.kiss = kissState{}
	if denied || quick != s.rate.bursting() { // the burst is over, or comes late
		s.next = s.rate.last.Add(s.rate.interval(0))
	}
}

// Waiting reports whether a reply to the latest request would still count.
func (s *Source) Waiting() bool { return s.out.open }

// Lapse ends the open request, if any, without a valid reply: its window closed.
func (s *Source) Lapse(now time.Time) {
	if s.out.open {
		s.end(now, NoReply)
	}
}

// Unsent ends the open request, if any, because it could not be sent. It counts as unanswered, but not against the
// server, which never saw it: the interval does not grow, kiss codes are not confirmed by it and its cookie is not spent (C31, L05).
// tooLong: it did not fit the path, so that the next one must be shorter (N18).
func (s *Source) Unsent(now time.Time, tooLong bool) {
	if !s.out.open {
		return
	}
	s.out.open = false
	s.last = NoReply
	switch {
	case s.session == nil:
	case tooLong:
		s.session.TooLong()
	default:
		s.session.Unspend()
	}
	s.reach.missed()
	s.reach.unsent++
	s.pullIn(now, s.rate.last.Add(s.rate.interval(s.reach.unansweredSent())))
}

// end closes the open request as unanswered, for the reason v, and counts its kiss codes. The next poll comes sooner,
// so that a server that stopped is noticed within minutes even from the longest interval; a confirmed plain DENY leaves at
// least a minute.
func (s *Source) end(now time.Time, v Verdict) {
	s.out.open = false
	s.last = v
	s.reach.missed()
	s.kiss.unanswered(&s.out)
	s.inter.unanswered(&s.out)
	if s.kiss.refused() && (s.out.denied || s.rate.denials == 0) {
		s.rate.denials++
		s.next = s.rate.last.Add(s.rate.interval(s.reach.unansweredSent())) // later than planned, or sooner
	}
	s.pullIn(now, s.rate.last.Add(s.rate.interval(s.reach.unansweredSent())))
}

// Advise takes the wishes of the system process. The limits of the configuration and what the server asked for by
// RATE take precedence.
func (s *Source) Advise(now time.Time, a ntp.Advice) {
	if a.Stood > 0 && !s.rate.last.IsZero() {
		s.rate.last = s.rate.last.Add(-a.Stood)
	}
	if a.Urgent {
		s.rate.urge()
	}
	s.rate.advise(a.Poll)
	if a.PollNow {
		s.PollSoon(now)
		return
	}
	s.pullIn(now, s.rate.last.Add(s.rate.interval(s.reach.unansweredSent())))
}

// PollSoon brings the next poll forward as far as the rate rules allow.
func (s *Source) PollSoon(now time.Time) {
	s.pullIn(now, s.rate.last.Add(s.rate.least()))
}

// PollAnew is PollSoon when the network has returned: a request that went unanswered before that did not reach the server, so
// that no gap to it has to be kept. What the server asked for stands.
func (s *Source) PollAnew(now time.Time) {
	if s.reach.unanswered == 0 || s.rate.floor > s.rate.min || s.rate.denials > 0 {
		s.PollSoon(now)
		return
	}
	s.pullIn(now, now)
}

// pullIn moves the next poll to t, never later than planned and never before now.
func (s *Source) pullIn(now, t time.Time) {
	if s.rate.last.IsZero() {
		return // the first poll is due anyway
	}
	if t.Before(now) {
		t = now
	}
	if t.Before(s.next) {
		s.next = t
	}
}

// Next is when Poll should be called; after a Stop it should not be called any more.
func (s *Source) Next() time.Time { return s.next }

// SwapSession puts a fresh NTS session into use from the next request on; identity, reach and interval stay.
// The reply to a request under way is still opened with the session that sealed it. Keys that replace forgotten ones,
// or come after the server counted as unreachable, get as many polls as a new server; cookies alone do not reset the count.
func (s *Source) SwapSession(n *nts.Session) {
	if s.kiss.rekey || s.reach.unreachable() {
		s.reach.misses = 0
	}
	s.session = n
	s.kiss = kissState{}
	s.inter.forget()
}
