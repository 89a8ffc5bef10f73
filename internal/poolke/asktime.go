package poolke

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/nts"
	"ntp-daemon/internal/nts/record"
	"ntp-daemon/internal/pool"
	"ntp-daemon/internal/poolmonitor"
	"ntp-daemon/internal/source"
	"ntp-daemon/internal/udp"
)

const (
	// maxNTPDatagrams bounds the work for one request, however many datagrams are thrown at its port.
	maxNTPDatagrams = 64
	// highStratum is the stratum from which on the public pool's monitors call a server unfit.
	highStratum = 8
	// farDistance is MAXDIST of RFC 5905 §A.5.5.3.
	farDistance = time.Second
	// stepSlack is how far the readings of the two clocks of this host may lie apart without one of them having been set.
	stepSlack = 2 * time.Millisecond
	// exchanges is how often the time is asked in one probe: with a cookie of the key exchange, then with one that came back.
	exchanges = 2
)

// timeAsker is the NTP side of one probe: what a user would be told by the server, port and cookie that it was given.
type timeAsker struct {
	scale   scale
	lookup  func(ctx context.Context, host string) ([]netip.Addr, error)
	timeout time.Duration // of one exchange
	backend *pool.Backend
	answer  *record.Response // what the user would have got
	keys    *nts.Keys
	stock   int // cookies that the session keeps, and so asks for
}

// ask makes the exchanges over one family. cookie is which one of the answer is spent.
func (q *timeAsker) ask(ctx context.Context, f poolmonitor.Family, cookie int) (a poolmonitor.Answer) {
	addr, a := q.address(ctx, f)
	if a.Outcome != poolmonitor.Good {
		return a
	}
	session, err := nts.NewSession(nts.SessionParams{
		Keys: *q.keys, Cookies: [][]byte{q.answer.Cookies[cookie%len(q.answer.Cookies)]}, Stock: q.stock,
	})
	if err != nil {
		return poolmonitor.Answer{Outcome: poolmonitor.BadAnswer, Cause: "cookie"}
	}
	remote := netip.AddrPortFrom(addr, q.answer.Port)
	src := source.New(source.Config{Server: remote, Session: session}, time.Now())
	before := q.scale.ahead()
	for i := range exchanges {
		m, outcome := q.exchange(ctx, src, remote)
		if outcome != poolmonitor.Good {
			return poolmonitor.Answer{Outcome: outcome}
		}
		a.Readings = append(a.Readings, reading(&m))
		if i == 0 {
			a.FewCookies = session.Cookies() < q.stock
		}
		if outcome := fitness(&m); outcome != poolmonitor.Good {
			return poolmonitor.Answer{Outcome: outcome}
		}
		if session.Cookies() == 0 {
			break // nothing came back to ask again with
		}
	}
	if (q.scale.ahead() - before).Abs() > stepSlack {
		return poolmonitor.Answer{Outcome: poolmonitor.NotProbed, Cause: "the clock was set"}
	}
	return a
}

// address is where a user of the family would ask for the time: one of the addresses of the name at random. Good: there is one.
func (q *timeAsker) address(ctx context.Context, f poolmonitor.Family) (netip.Addr, poolmonitor.Answer) {
	found, err := q.addresses(ctx)
	if err != nil {
		return netip.Addr{}, poolmonitor.Answer{Outcome: poolmonitor.NoName, Cause: faultClass(err)}
	}
	var list []netip.Addr
	inward := false
	for _, a := range found {
		switch a = a.Unmap(); {
		case poolmonitor.FamilyOf(a) != f:
		case pool.IsLocal(a) && !q.backend.Trusts(q.answer.Server):
			inward = true
		default:
			list = append(list, a)
		}
	}
	switch {
	case len(list) > 0:
		i, err := rand.Int(rand.Reader, big.NewInt(int64(len(list))))
		if err != nil {
			return list[0], poolmonitor.Answer{Outcome: poolmonitor.Good}
		}
		return list[i.Int64()], poolmonitor.Answer{Outcome: poolmonitor.Good}
	case inward:
		return netip.Addr{}, poolmonitor.Answer{Outcome: poolmonitor.BadAnswer, Cause: "address is not public"}
	}
	return netip.Addr{}, poolmonitor.Answer{Outcome: poolmonitor.NoAddress}
}

// addresses looks the name up. A name that does not exist, or has no addresses, is an answer.
func (q *timeAsker) addresses(ctx context.Context) ([]netip.Addr, error) {
	name := q.answer.Server
	if a, err := netip.ParseAddr(name); err == nil {
		return []netip.Addr{a}, nil
	}
	if lower := strings.TrimSuffix(strings.ToLower(name), "."); lower == "localhost" || strings.HasSuffix(lower, ".localhost") {
		return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}, nil
	}
	return q.lookup(ctx, strings.TrimSuffix(name, ".")+".")
}

// systemLookup asks the system's resolver for both families.
func systemLookup(ctx context.Context, name string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", name)
}

// exchange sends one request and waits for its reply. ICMP errors end nothing, since anybody can forge them; nor does a kiss code
// that is not authenticated, as a good reply may follow.
func (q *timeAsker) exchange(ctx context.Context, src *source.Source, remote netip.AddrPort) (m ntp.Measurement, outcome poolmonitor.Outcome) {
	ctx, cancel := context.WithTimeout(ctx, q.timeout)
	defer cancel()
	conn, err := udp.Dial(remote, q.scale.Now, q.scale.Map)
	if err != nil {
		return m, poolmonitor.NotProbed // no route, no socket: nothing has left yet
	}
	defer conn.Close()
	req, err := src.Poll(time.Now(), ntp.Stamp{Time: q.scale.Now()}, q.scale.Epoch(), rand.Reader)
	if err != nil {
		return m, poolmonitor.NotProbed
	}
	if err := conn.Send(req.Packet); err != nil {
		return m, poolmonitor.NotProbed
	}
	outcome = poolmonitor.Silent
	buf := make([]byte, ntp.MaxPacket)
	for range maxNTPDatagrams {
		n, from, rx, err := conn.Receive(ctx, buf)
		if err != nil {
			break
		}
		if tx, ok := conn.TxStamp(); ok {
			src.Sent(req.ID, tx)
		}
		out := src.Receive(time.Now(), buf[:n], from, rx)
		if out.Verdict == source.Accepted {
			return out.Measurement, poolmonitor.Good
		}
		if o, about := outcomeOf(out.Verdict); about {
			outcome = o
		}
	}
	<-ctx.Done() // whoever answers badly is not asked again sooner than who does not answer
	return m, outcome
}

// outcomeOf translates what became of a datagram; about says that it is a reply to our request, if one that cannot be used.
func outcomeOf(v source.Verdict) (o poolmonitor.Outcome, about bool) {
	switch v {
	case source.KissDeny:
		return poolmonitor.Denied, true
	case source.KissRate:
		return poolmonitor.Limited, true
	case source.KissNAK:
		return poolmonitor.NAK, true
	case source.Unsynchronized:
		return poolmonitor.Unsynchronised, true
	case source.BadStratum:
		return poolmonitor.HighStratum, true
	case source.BadDistance:
		return poolmonitor.Distant, true
	}
	return poolmonitor.BadPacket, v.Content() || v == source.Unauthentic || v == source.MalformedFields
}

// fitness says whether a server that answered well is fit for users.
func fitness(m *ntp.Measurement) poolmonitor.Outcome {
	switch {
	case m.Stratum >= highStratum:
		return poolmonitor.HighStratum
	case m.RootDelay/2+m.RootDispersion >= farDistance:
		return poolmonitor.Distant
	}
	return poolmonitor.Good
}

// reading is what the comparison needs of a measurement.
func reading(m *ntp.Measurement) poolmonitor.Reading {
	return poolmonitor.Reading{
		At: time.Now(), Offset: m.Offset(), Claimed: m.RootDelay/2 + m.RootDispersion, Path: max(m.Delay(), 0)/2 + m.Precision, Delay: m.Delay(),
	}
}

// ours reports an error that says nothing about the other side: this host has no route, or has run out of something.
func ours(err error) bool {
	for _, e := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL, syscall.ENETDOWN} {
		if errors.Is(err, e) {
			return true
		}
	}
	var op *net.OpError
	if !errors.Is(err, syscall.ENETUNREACH) || !errors.As(err, &op) || op.Addr == nil {
		return false
	}
	// A router far away may have said so. Connecting a UDP socket sends nothing and asks the routes of this host alone.
	conn, err := net.Dial("udp", op.Addr.String())
	if err != nil {
		return errors.Is(err, syscall.ENETUNREACH)
	}
	_ = conn.Close()
	return false
}

// keysFor draws keys of the monitor's own.
func keysFor(c nts.Choice) (nts.Keys, error) {
	n, known := c.Algorithm.KeySize()
	if !known || !c.Algorithm.Supported() {
		return nts.Keys{}, fmt.Errorf("AEAD %d is not built", c.Algorithm)
	}
	k := nts.Keys{Algorithm: c.Algorithm, C2S: make([]byte, n), S2C: make([]byte, n)}
	for _, b := range [][]byte{k.C2S, k.S2C} {
		if _, err := rand.Read(b); err != nil {
			return nts.Keys{}, fmt.Errorf("draw keys: %w", err)
		}
	}
	return k, nil
}
