package ke

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"time"

	"ntp-daemon/internal/accept"
	"ntp-daemon/internal/nts"
	"ntp-daemon/internal/nts/aead"
	"ntp-daemon/internal/nts/record"
)

// exporter derives the keys of this TLS session.
type exporter func(p record.Protocol, a aead.Algorithm) (nts.Keys, error)

// serverSession is the server's side of one connection after the handshake, owned by one goroutine. A client's
// connection carries one request (RFC 8915 §4): first, close. One whose first request is a pool's and asks for Keep
// Alive (draft-venhoek-nts-pool), if one of the places for kept connections is free, goes on:
//
//	first → keep: (wait → pace → request)… → close
//
// It ends after IdleTimeout without a request, at an age of MaxAge plus up to a tenth, after MaxRequests, with an error,
// when the peer closes, or when the server stops, which makes the answer under way the last. From the moment that Keep
// Alive is granted, no keys are exported from its TLS state; the pool brings its users' keys.
type serverSession struct {
	s           *Server
	c           *accept.Conn
	conn        net.Conn // the TLS connection; its state is out of reach on purpose, see export
	closeNotify func() error
	leaf        []byte // the peer's certificate, DER
	reader      *Reader
	space       *workspace // until close
	reply       []byte     // in space, if there is room

	// export is nil from the moment on that the connection is kept: a connection that ever carried Keep Alive
	// must not yield keys of its own (docs/rules/pool.md#exporter-once).
	export exporter
	// held says that this connection has one of the places for kept ones.
	held bool
	// writeFailed says that the peer did not take an answer, so it need not get close_notify.
	writeFailed bool
	// ended says that close_notify is out with the last answer.
	ended bool
	// last says that the next answer is the last, so Keep Alive is not granted any more.
	last bool
}

// newServerSession prepares for the first request.
func newServerSession(s *Server, c *accept.Conn, conn *tls.Conn) *serverSession {
	cs := conn.ConnectionState()
	x := &serverSession{
		s: s, c: c, conn: conn, leaf: leafOf(&cs),
		closeNotify: conn.CloseWrite,
		reader:      NewReader(conn, record.RequestLimits),
	}
	x.move(s.workspaces.take())
	x.export = func(p record.Protocol, a aead.Algorithm) (nts.Keys, error) {
		s.counts.exports.Add(1)
		return ExportKeys(&cs, p, a, a)
	}
	return x
}

// move has the session work in w.
func (x *serverSession) move(w *workspace) { x.space, x.reader.buf, x.reply = w, w.request, w.reply }

// moveOut gives the workspace back, with nothing of the request in it.
func (x *serverSession) moveOut() {
	x.reader.Wipe()
	x.space.request, x.space.reply = x.reader.buf, x.reply
	x.s.workspaces.put(x.space)
	x.space, x.reader.buf, x.reply = nil, nil, nil
}

// first serves the one request that every connection has, and says whether to keep the connection. The
// deadline is for writing as well, here and below: crypto/tls answers key updates while it reads, and a peer
// that takes no answers would hold the connection for ever.
func (x *serverSession) first(ctx context.Context, deadline time.Time) bool {
	if err := x.conn.SetDeadline(deadline); err != nil {
		x.s.done(x.c, ClosedEarly, err)
		return false
	}
	return x.request(ctx)
}

// keep serves a pool until it is quiet for too long, goes away, errs, or the connection is too old. It owns
// the connection; the end of ctx makes the answer under way the last.
func (x *serverSession) keep(ctx context.Context, born time.Time) {
	end := born.Add(x.s.cfg.MaxAge + x.jitter())
	pace := pacer{window: time.Now()}
	for nth := 2; ; nth++ {
		if err := x.wait(ctx, end); err != nil {
			outcome := KeptExpired
			if !accept.IsTimeout(err) {
				outcome = KeptClosed
			}
			x.s.done(x.c, outcome, err)
			return
		}
		if !pace.next(ctx, x.c) {
			x.s.done(x.c, KeptExpired, ctx.Err())
			return
		}
		now := time.Now()
		x.last = nth >= x.s.cfg.MaxRequests || !now.Before(end)
		if err := x.conn.SetDeadline(now.Add(requestTimeout)); err != nil {
			x.s.done(x.c, KeptClosed, err)
			return
		}
		if !x.request(ctx) {
			return
		}
	}
}

// jitter is up to a tenth of the age limit, so that the connections of a pool do not all end together.
func (x *serverSession) jitter() time.Duration {
	var b [1]byte
	if _, err := io.ReadFull(x.s.cfg.Rand, b[:]); err != nil {
		return 0
	}
	return x.s.cfg.MaxAge / 10 * time.Duration(b[0]) / 255
}

// wait waits for the first byte of the next request. Idle time, age and the end of ctx end it with a timeout.
func (x *serverSession) wait(ctx context.Context, end time.Time) error {
	deadline := time.Now().Add(x.s.cfg.IdleTimeout)
	if end.Before(deadline) {
		deadline = end
	}
	if err := x.conn.SetDeadline(deadline); err != nil {
		return err
	}
	defer x.c.Patient(ctx)()
	return x.reader.Wait()
}

// request reads and answers one request, and says whether the connection goes on.
func (x *serverSession) request(ctx context.Context) bool {
	msg, err := x.reader.Next()
	if err != nil {
		x.unreadable(err)
		return false
	}
	x.c.Hold()
	x.last = x.last || ctx.Err() != nil
	keep, outcome, err := x.answer(msg)
	if !keep {
		x.finish(x.reply, outcome, err)
		return false
	}
	if err := WriteMessage(x.conn, time.Time{}, x.reply); err != nil {
		x.writeFailed = true
		x.s.done(x.c, WriteFailed, err)
		return false
	}
	x.s.done(x.c, outcome, err)
	return true
}

// finish sends the last answer together with close_notify (RFC 8446 §6.1) and the end of our stream, and counts the outcome
// before the peer can see that it was the last.
func (x *serverSession) finish(msg []byte, o Outcome, cause error) {
	x.c.Gather()
	err := WriteMessage(x.conn, time.Time{}, msg)
	if err == nil {
		err = x.end(writeTimeout, func() { x.s.done(x.c, o, cause) })
	}
	if err != nil {
		x.writeFailed = true
		x.s.done(x.c, WriteFailed, err)
	}
}

// end sends close_notify and ends our stream, within so long; sent is called before the peer knows.
func (x *serverSession) end(within time.Duration, sent func()) error {
	x.ended = true
	x.c.Gather()
	if err := x.closeNotify(); err != nil {
		return err
	}
	return x.c.End(time.Now().Add(within), sent)
}

// unreadable deals with a request that did not arrive. Whoever is still there is told: a timeout is a bad
// request (RFC 8915 §4.1.3, row KS16).
func (x *serverSession) unreadable(err error) {
	var fault record.Fault
	outcome := ClosedEarly
	switch {
	case errors.As(err, &fault):
		outcome = faultOutcome(fault)
	case accept.IsTimeout(err):
		outcome = TimedOut
	}
	if outcome == ClosedEarly {
		x.s.done(x.c, outcome, err)
		return
	}
	x.finish(record.AppendError(nil, record.CodeBadRequest), outcome, err)
}

// answer judges the message, leaves the answer in x.reply and says whether the connection goes on after it.
func (x *serverSession) answer(msg []byte) (keep bool, o Outcome, err error) {
	req, fault := record.ParseRequest(msg, record.Rules{NoOldNumbers: x.s.cfg.NoOldNumbers})
	if fault != record.None {
		x.fail(fault.Code())
		return false, faultOutcome(fault), fault
	}
	if req.Kind == record.Plain {
		o, err = x.plain(&req)
		return false, o, err
	}
	if !x.s.privileged(&req, x.leaf) {
		x.fail(refusal(req.Dialect))
		return false, Unprivileged, nil
	}
	if req.Kind == record.Support {
		keep = x.mayKeep(&req)
		x.support(&req, keep)
		return keep, SupportServed, nil
	}
	if !slices.Contains(req.Protocols, record.NTPv4) || !slices.Contains(x.s.cfg.Algorithms, req.Algorithms[0]) {
		x.fail(record.CodeBadRequest) // docs/rules/pool.md#kept
		return false, BadRequest, record.NotOffered
	}
	return x.fixed(&req)
}

// fail makes the answer an error.
func (x *serverSession) fail(code record.ErrorCode) { x.reply = record.AppendError(x.reply[:0], code) }

// OfferOf is what a client's request offers for the negotiation.
func OfferOf(req *record.Request) nts.Offer {
	o := nts.Offer{Algorithms: req.Algorithms, CompliantGCMSIV: req.CompliantExport}
	for _, p := range req.Protocols {
		o.Protocols = append(o.Protocols, uint16(p))
	}
	return o
}

// plain answers a client (RFC 8915 §4).
func (x *serverSession) plain(req *record.Request) (Outcome, error) {
	if x.export == nil {
		x.fail(record.CodeBadRequest)
		return PlainOnKept, nil
	}
	choice, agreement := nts.Negotiate(OfferOf(req), nts.Offer{
		Protocols: []uint16{nts.ProtocolNTPv4}, Algorithms: x.s.cfg.Algorithms,
	})
	switch agreement {
	case nts.NoProtocol:
		x.reply = record.AppendNoProtocol(x.reply[:0])
		return NoProtocol, nil
	case nts.NoAlgorithm:
		x.reply = record.AppendNoAlgorithm(x.reply[:0], record.Protocol(choice.Protocol))
		return NoAlgorithm, nil
	}
	keys, err := x.export(record.Protocol(choice.Protocol), choice.Algorithm)
	if err != nil {
		x.fail(record.CodeInternal)
		return Internal, err
	}
	defer keys.Wipe() // they are in cookies now
	resp := record.Response{
		Protocol: record.Protocol(choice.Protocol), Algorithm: choice.Algorithm, CompliantExport: choice.EchoCompliant,
	}
	return x.cookies(&keys, &resp, Served)
}

// fixed answers a pool that brings the keys of its user.
func (x *serverSession) fixed(req *record.Request) (keep bool, o Outcome, err error) {
	n := len(req.Keys) / 2
	keys := nts.Keys{Algorithm: req.Algorithms[0], C2S: req.Keys[:n:n], S2C: req.Keys[n:]}
	defer keys.Wipe() // they are in cookies now
	keep = x.mayKeep(req)
	resp := record.Response{
		Protocol: record.NTPv4, Algorithm: keys.Algorithm, KeepAlive: keep, Dialect: req.Dialect,
		CompliantExport: req.CompliantExport && keys.Algorithm == aead.GCMSIV128,
	}
	o, err = x.cookies(&keys, &resp, FixedServed)
	return keep && o == FixedServed, o, err
}

// cookies completes an answer with cookies for the keys, sealed with the master keys of this moment.
func (x *serverSession) cookies(keys *nts.Keys, resp *record.Response, ok Outcome) (Outcome, error) {
	ks := x.s.cfg.KeySet()
	if ks == nil {
		x.fail(record.CodeInternal)
		return Internal, errors.New("no cookie keys loaded")
	}
	w := x.space
	w.cookies, w.list = w.cookies[:0], w.list[:0]
	for range cookiesPerRequest {
		at := len(w.cookies)
		w.cookies = w.sealer.Seal(w.cookies, ks, keys, x.s.cfg.Rand)
		if len(w.cookies) == at {
			x.fail(record.CodeInternal)
			return Internal, errors.New("cannot seal a cookie")
		}
		w.list = append(w.list, w.cookies[at:])
	}
	resp.Cookies = w.list
	resp.Server, resp.Port = x.s.cfg.NTPServer, x.s.cfg.NTPPort
	x.reply = resp.Append(x.reply[:0])
	return ok, nil
}

// support answers a pool that wants to know what we can do. Keys play no part in it.
func (x *serverSession) support(req *record.Request, keep bool) {
	resp := record.SupportResponse{KeepAlive: keep, Dialect: req.Dialect}
	if req.WantAlgorithms {
		resp.Algorithms = x.s.poolAlgorithms(req.CompliantExport)
	}
	if req.WantProtocols {
		resp.Protocols = []record.Protocol{record.NTPv4}
	}
	if req.WantNames {
		switch {
		case x.s.cfg.Names != nil:
			resp.Names = x.s.cfg.Names()
		case x.s.cfg.NTPServer != "":
			resp.Names = []string{x.s.cfg.NTPServer}
		}
	}
	x.reply = resp.Append(x.reply[:0])
}

// poolAlgorithms is what pools are told about our algorithms. AEAD 30 is left out unless the pool says that it honours
// record 1024: one that does not (nts-pool main, issue 613) would hand chrony users keys that never fit. A
// fixed key request for it is served all the same.
func (s *Server) poolAlgorithms(compliantExport bool) []aead.Algorithm {
	list := make([]aead.Algorithm, 0, len(s.cfg.Algorithms))
	for _, a := range s.cfg.Algorithms {
		if a != aead.GCMSIV128 || compliantExport {
			list = append(list, a)
		}
	}
	return list
}

// mayKeep says whether the answer to a privileged request grants Keep Alive, which needs one of the places for
// kept connections. From then on no keys are exported here.
func (x *serverSession) mayKeep(req *record.Request) bool {
	if !req.KeepAlive || x.last {
		return false
	}
	if !x.held {
		select {
		case x.s.longLived <- struct{}{}:
			x.held, x.export = true, nil
			x.s.counts.kept.Add(1)
		default:
			return false
		}
	}
	return true
}

// close gives back what the connection held and ends it in good order; the accept loop closes it.
func (x *serverSession) close() {
	if x.held {
		<-x.s.longLived
		x.s.counts.kept.Add(-1)
	}
	x.moveOut()
	if x.writeFailed {
		return
	}
	x.c.Yield()
	if x.ended || x.end(accept.LingerTime, func() {}) == nil {
		accept.Discard(x.c.Conn, time.Time{})
	}
}

// pacer slows a peer down to maxRate requests per second.
type pacer struct {
	window time.Time
	n      int
}

// next waits until one more request is in order; false if ctx ended meanwhile.
func (p *pacer) next(ctx context.Context, c *accept.Conn) bool {
	now := time.Now()
	if now.Sub(p.window) >= time.Second {
		p.window, p.n = now, 0
	}
	if p.n++; p.n <= maxRate {
		return true
	}
	return c.Sleep(ctx, time.Second-now.Sub(p.window))
}
