package poolke

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/rs/zerolog"

	"ntp-daemon/internal/accept"
	"ntp-daemon/internal/nts/ke"
	"ntp-daemon/internal/nts/record"
	"ntp-daemon/internal/pool"
	"ntp-daemon/internal/printable"
)

// watchAfter is how long time sources may take before the user is watched meanwhile: longer than the way to most of them and
// back. Whether he is still there is looked at in any case before his keys go out and when the answer has come.
const watchAfter = 100 * time.Millisecond

// handle serves one user and notes how it ended.
func (p *Pool) handle(ctx context.Context, c *accept.Conn) {
	// A pool that stops lets this user finish; time sources are not left half-way either.
	ctx = context.WithoutCancel(ctx)
	snap := p.snap.Load()
	start := time.Now()
	gated := p.gate.Conn(c)
	s := &userSession{
		p: p, snap: snap, user: c, gated: gated, conn: tls.Server(gated, p.tls),
		watch: func(lost func()) (stop func() error) { return c.WatchResetAfter(watchAfter, lost) },
		end:   start.Add(snap.cfg.Timeout), log: p.exchangeLog(snap),
	}
	outcome, err := s.proxied(c)
	if err == nil {
		outcome, err = s.serve(ctx)
	}
	if s.onlyLooked(outcome) {
		outcome, err = HealthCheck, nil
	}
	took := time.Since(start)
	if s.monitor {
		p.monitors[outcome].Add(1)
	} else {
		p.tally[outcome].Add(1)
	}
	if outcome != HealthCheck {
		p.sessions.observe(took)
	}
	s.log.end(c.Remote(), s.last, outcome, took, err)
	if s.wrote {
		c.Yield()
		accept.Linger(c.Conn, s.conn.CloseWrite, s.end)
	}
}

// network is what the log says of a user: not the very address.
func network(a netip.Addr) netip.Prefix {
	bits := 24
	if a.Is6() {
		bits = 48
	}
	prefix, _ := a.Prefix(bits)
	return prefix
}

// userConn is TLS towards a user; a *tls.Conn is one.
type userConn interface {
	net.Conn
	HandshakeContext(ctx context.Context) error
	ConnectionState() tls.ConnectionState
	CloseWrite() error
}

// userSession is one user's connection, owned by one goroutine. Its steps, each with its own time limit and all of
// them over at end:
//
//	proxied     the load balancer's header, if there is one in front (HandshakeTimeout)
//	handshake   TLS 1.3 and ALPN ntske/1 (HandshakeTimeout); failing, nothing is said
//	request     one message (RequestTimeout); one that stays incomplete is not answered
//	fetch       a userExchange (until shortly before end, so that its failure can still be told)
//	write       the one message of ours: the answer, or an Error record (RFC 8915 §4.1.3)
//
// The first step that fails decides the Outcome. After our message the connection lingers (accept.Linger).
type userSession struct {
	p       *Pool
	snap    *snapshot
	user    *accept.Conn  // under gated; says to the accept loop whose turn it is
	gated   *ke.GatedConn // under conn; shares the processors out while the handshake lasts
	conn    userConn
	watch   func(lost func()) (stop func() error) // accept.Conn.WatchResetAfter
	end     time.Time                             // hard end of everything
	wrote   bool                                  // our message is out
	monitor bool                                  // it has proved a key of monitors
	local   bool                                  // a trusted balancer speaks for itself, or has said nothing yet
	log     exchangeLog
	last    *pool.Backend // the time source that was tried last; nil: none
}

// proxied reads the header of the balancer in front of us, if there is one, and applies the limits to the user that
// it names.
func (s *userSession) proxied(c *accept.Conn) (Outcome, error) {
	if len(s.snap.cfg.ProxyPeers) == 0 {
		return Served, nil
	}
	begin := time.Now()
	user, err := s.proxyHeader(c)
	s.p.lap(phaseProxy, begin)
	s.local = err == nil && !user.IsValid() || errors.Is(err, errProxyNothing)
	switch {
	case s.local:
		return Served, err
	case err != nil:
		s.p.throttle.Event(&s.p.log, zerolog.WarnLevel, time.Now(), "proxy").Stringer("peer", network(c.Remote())).
			Str("e", printable.Text(err.Error())).Msg("connection refused before TLS, see proxy-protocol")
		return ProxyRefused, err
	case !c.SetRemote(user.Addr()):
		return OverLimit, errors.New("too many users from one network")
	}
	return Served, nil
}

// onlyLooked reports whether a session that ended so was a balancer's health check: of a connection, with or without a
// header, or of TLS. One that asks for keys is a user like others.
func (s *userSession) onlyLooked(out Outcome) bool {
	switch out {
	case Served, TLSFailed, CrowdedOut, NoALPN, Incomplete:
		return s.local && !s.wrote
	}
	return false
}

// proxyHeader reads the header. It reads past the accept loop's wrapper, to which a connection is idle, and may be
// closed for a better one, until the user has spoken.
func (s *userSession) proxyHeader(c *accept.Conn) (netip.AddrPort, error) {
	if !s.snap.cfg.trusts(c.Remote()) {
		return netip.AddrPort{}, errors.New("peer is not among the trusted-peers")
	}
	end := time.Now().Add(s.snap.cfg.HandshakeTimeout)
	if end.After(s.end) {
		end = s.end
	}
	if err := c.SetReadDeadline(end); err != nil {
		return netip.AddrPort{}, fmt.Errorf("set read deadline: %w", err)
	}
	user, err := readProxy(c.Conn)
	if err != nil {
		return user, err
	}
	return user, c.SetReadDeadline(s.end)
}

// serve is the life of a session: TLS, request, answer.
func (s *userSession) serve(ctx context.Context) (Outcome, error) {
	now := time.Now()
	out, err := s.handshake(ctx)
	now = s.p.lap(phaseTLS, now)
	if err != nil {
		return out, err
	}
	s.user.Advance()
	reader := ke.NewReader(s.conn, record.RequestLimits)
	defer reader.Wipe()
	req, out, err := s.request(reader)
	s.user.Hold()
	s.p.lap(phaseRead, now)
	if err != nil {
		return out, s.refuse(out, err)
	}
	s.log.step("received records from the client")

	answer, out, err := s.fetch(ctx, &req)
	if err != nil {
		return out, s.refuse(out, err)
	}
	if err := s.write(answer); err != nil {
		return UserGone, err
	}
	if out == Served {
		s.log.step("wrote records for client")
	}
	return out, nil
}

// fetch gets the answer from the time sources. Meanwhile nobody reads from the user, who may have ended his stream
// and is answered all the same (KS15); one who resets the connection ends the work (docs/rules/pool.md#user-gone).
func (s *userSession) fetch(ctx context.Context, req *record.Request) ([]byte, Outcome, error) {
	ctx, cancel := context.WithDeadline(ctx, s.end.Add(-s.snap.cfg.reserve()))
	defer cancel()
	stop := s.watch(cancel)
	defer func() { _ = stop() }() // after a panic as well
	cs := s.conn.ConnectionState()
	x := newUserExchange(s.p, s.snap, req, &cs, s.user.Remote())
	x.left = func() bool {
		if s.user.Reset() != nil {
			cancel()
		}
		return userGone(ctx)
	}
	defer x.wipe()
	answer, out, err := x.run(ctx)
	s.last = x.last
	if lost := stop(); lost != nil {
		return nil, UserGone, fmt.Errorf("the user left while time sources were asked: %w", lost)
	}
	return answer, out, err
}

// handshake completes TLS and insists on ALPN: without it not one byte of data is sent (KS11).
func (s *userSession) handshake(ctx context.Context) (Outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, min(s.snap.cfg.HandshakeTimeout, time.Until(s.end)))
	defer cancel()
	finished := false
	defer func() { s.gated.Done(finished) }() // after a panic as well: a place that is lost is lost for every user
	if err := s.conn.HandshakeContext(ctx); err != nil {
		if errors.Is(err, ke.ErrLeft) || s.user.Evicted() {
			return CrowdedOut, fmt.Errorf("TLS handshake: %w", err)
		}
		return TLSFailed, fmt.Errorf("TLS handshake: %w", err)
	}
	if err := ke.CheckALPN(s.conn.ConnectionState()); err != nil {
		return NoALPN, err
	}
	finished = true
	return Served, nil
}

// request reads and parses the user's message. Errors of the message itself are record.Faults.
func (s *userSession) request(reader *ke.Reader) (record.Request, Outcome, error) {
	deadline := time.Now().Add(s.snap.cfg.RequestTimeout)
	if deadline.After(s.end) {
		deadline = s.end
	}
	if err := s.conn.SetReadDeadline(deadline); err != nil {
		return record.Request{}, Incomplete, fmt.Errorf("set read deadline: %w", err)
	}
	msg, err := reader.Next()
	switch {
	case errors.Is(err, record.TooLong), errors.Is(err, record.TooMany):
		return record.Request{}, BadRequest, fmt.Errorf("request: %w", err)
	case err != nil:
		return record.Request{}, Incomplete, fmt.Errorf("read request: %w", err)
	}
	req, fault := record.ParseRequest(msg, record.Rules{FrontEnd: true})
	if fault == record.None && req.UUID != "" {
		if s.monitor = s.snap.cfg.knowsMonitor(req.Token); !s.monitor {
			return req, BadKey, errMonitor
		}
	}
	switch {
	case fault == record.None:
		return req, Served, nil
	case fault.Code() == record.CodeUnrecognizedCritical:
		return req, UnknownCritical, fmt.Errorf("request: %w", fault)
	}
	return req, BadRequest, fmt.Errorf("request: %w", fault)
}

// refuse tells the user what the outcome says, if it says anything to the user, and passes the cause on.
func (s *userSession) refuse(out Outcome, cause error) error {
	code := record.CodeInternal
	switch out {
	case BadRequest, BadKey:
		code = record.CodeBadRequest
	case UnknownCritical:
		code = record.CodeUnrecognizedCritical
	case NoServer, ServerFailed, TimedOut:
	default:
		return cause // nobody to tell, or nothing to say
	}
	if m, ok := errors.AsType[*monitorError](cause); ok {
		code = m.code
	}
	_ = s.write(record.AppendError(nil, code)) // the cause is what is reported, heard or not
	return cause
}

// write sends the one message of ours.
func (s *userSession) write(msg []byte) error {
	begin := time.Now()
	err := ke.WriteMessage(s.conn, s.end, msg)
	s.p.lap(phaseWrite, begin)
	s.wrote = err == nil
	return err
}
