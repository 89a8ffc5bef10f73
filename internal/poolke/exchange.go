package poolke

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"ntp-daemon/internal/nts"
	"ntp-daemon/internal/nts/ke"
	"ntp-daemon/internal/nts/member"
	"ntp-daemon/internal/nts/record"
	"ntp-daemon/internal/pool"
	"ntp-daemon/internal/printable"
)

// goneGrace is how long a time source may still take for its answer when the user has left, a round trip around the
// world. What it can do is for the next users to know, and a connection whose answer was read is in order and serves
// them; else whoever sends requests and resets would cost the time source a TLS handshake each time, and the others
// the answer that they wait for.
const goneGrace = 250 * time.Millisecond

// usualAnswer holds eight cookies for AEAD 15, or 30, and a name.
const usualAnswer = 1536

// errNoServer: the list is empty.
var errNoServer = errors.New("there are no time sources")

// userExchange gets one user's request served by one time source (draft-venhoek-nts-pool). The candidates come from
// pool.Directory.Pick; with each, in turn, these steps are taken:
//
//	supports    what can it do? asked of the time source, or remembered for Config.SupportTTL
//	negotiate   nts.Negotiate of the user's offer and that list; nothing in common: the next candidate
//	take        the user's keys are exported from his TLS session, once, and bound to this time source
//	FixedKey    the keys go out, cookies for them come back, and Directory.Answer builds the user's answer
//
// Until take a failure leads to the next candidate; after it the exchange ends with this time source, in an answer or
// in error 2, because two holders of the same keys could pose as each other to the user. While others are left, a
// candidate may use half of the time that remains for supports. If nobody delivers, the outcome is the one that says
// most: NoAlgorithm, then NoProtocol, then NoServer.
type userExchange struct {
	p     *Pool
	snap  *snapshot
	req   *record.Request
	user  *tls.ConnectionState
	keys  *pool.UserKeys // nil until a time source is about to get them
	offer nts.Offer
	log   exchangeLog
	last  *pool.Backend // whom this user was tried with last; nil: nobody yet
	left  func() bool   // looks whether the user has left, which cancels the context of the exchange

	remote netip.Addr // the user's, as the balancer in front says if there is one

	protocol uint16 // shared with a time source that shares no algorithm with the user
}

func newUserExchange(p *Pool, snap *snapshot, req *record.Request, user *tls.ConnectionState, remote netip.Addr) *userExchange {
	return &userExchange{p: p, snap: snap, req: req, user: user, remote: remote, offer: ke.OfferOf(req), log: p.exchangeLog(snap)}
}

// bound reports whether a time source may have seen the keys.
func (x *userExchange) bound() bool { return x.keys != nil && x.keys.Bound() }

// wipe destroys the keys.
func (x *userExchange) wipe() {
	if x.keys != nil {
		x.keys.Wipe()
	}
}

// userGone reports whether the user has left; nothing else cancels the context of an exchange.
func userGone(ctx context.Context) bool { return errors.Is(ctx.Err(), context.Canceled) }

// run tries the candidates until one delivers or one has the keys, or the user leaves, which cancels ctx. Of the
// reasons for failing the one that says most wins: a time source that lacks the user's algorithm proves more than a
// dead one.
func (x *userExchange) run(ctx context.Context) (answer []byte, out Outcome, err error) {
	if x.req.UUID != "" {
		return x.runNamed(ctx)
	}
	begin := time.Now()
	defer x.p.first.Do(func() { close(x.p.begun) })
	order := x.p.choose(x.snap, x.remote, x.user.ServerName, x.req)
	x.p.lap(phaseSelect, begin)
	worst, cause := NoServer, errNoServer
	for i, u := range order {
		if ctx.Err() != nil {
			worst, cause = TimedOut, ctx.Err()
			break
		}
		answer, out, err := x.try(ctx, u, len(order)-i)
		u.tally[out].Add(1)
		switch {
		case err == nil && out == Served, x.bound():
			return answer, out, err
		case err != nil && worst == NoServer:
			cause = err
		case out == NoAlgorithm, out == NoProtocol && worst != NoAlgorithm:
			worst = out
		}
	}
	if userGone(ctx) {
		return nil, UserGone, ctx.Err()
	}
	switch worst {
	case NoProtocol:
		return record.AppendNoProtocol(nil), NoProtocol, nil
	case NoAlgorithm:
		return record.AppendNoAlgorithm(nil, record.Protocol(x.protocol)), NoAlgorithm, nil
	}
	x.log.warn("pool could not find a valid KE server", nil)
	x.log.info("could not find a valid KE server", cause)
	return nil, worst, cause
}

// try asks one time source what it can do and, if that fits, has it serve the user.
func (x *userExchange) try(ctx context.Context, u *upstream, left int) ([]byte, Outcome, error) {
	x.log.asking(u.backend)
	x.last = u.backend
	begin := time.Now()
	s, known := u.believed(begin)
	if !known {
		var err error
		s, err = x.ask(ctx, u, left)
		begin = x.p.lap(phaseSupport, begin)
		if err != nil {
			return nil, NoServer, err
		}
	}
	s.Algorithms = u.working(s.Algorithms)
	choice, agreement := nts.Negotiate(x.offer, x.accepts(&s))
	switch agreement {
	case nts.NoProtocol:
		return nil, NoProtocol, nil
	case nts.NoAlgorithm:
		x.protocol = choice.Protocol
		return nil, NoAlgorithm, nil
	}
	answer, out, err := x.fetch(ctx, u, &s, choice)
	x.p.lap(phaseCookies, begin)
	return answer, out, err
}

// ask has the time source asked for its lists.
func (x *userExchange) ask(ctx context.Context, u *upstream, left int) (member.Support, error) {
	asking, cancel, timeoutCounts := x.share(ctx, left)
	defer cancel()
	until, _ := asking.Deadline()
	outliving, stop := outliveUser(asking, until)
	defer stop()
	s, asked, err := u.supports(outliving, func() { x.log.step("established connection to the server") })
	switch {
	case err != nil:
		x.log.unusable(u.backend, err)
		if asked && !userGone(ctx) && (timeoutCounts || !outOfTime(err)) {
			x.p.recordFailure(u, err)
		}
	case asked:
		x.log.step("received supported algorithms from the NTS KE server")
	}
	return s, err
}

// share limits one candidate to half of what is left while there are others, so that one time source
// that hangs does not use up the user's time. timeoutCounts says that the limit was long enough to blame the
// time source for missing it; else it was the user who came late.
func (x *userExchange) share(ctx context.Context, left int) (context.Context, context.CancelFunc, bool) {
	deadline, _ := ctx.Deadline()
	limit := time.Until(deadline)
	if left > 1 {
		limit /= 2
	}
	limit = min(limit, x.snap.cfg.SupportTimeout)
	ctx, cancel := context.WithTimeout(ctx, limit)
	return ctx, cancel, x.countsTimeout(limit)
}

// countsTimeout reports whether a time source that needed longer than limit may be blamed for it.
func (x *userExchange) countsTimeout(limit time.Duration) bool {
	return limit >= min(x.snap.cfg.AnswerTimeout, x.snap.cfg.SupportTimeout, x.snap.cfg.Timeout/4)
}

// accepts is what a time source can do of what this pool lets users have.
func (x *userExchange) accepts(s *member.Support) nts.Offer {
	offer := nts.Offer{Algorithms: s.Algorithms}
	for _, id := range s.Protocols {
		for _, allowed := range x.snap.cfg.Protocols {
			if id == allowed {
				offer.Protocols = append(offer.Protocols, uint16(id))
			}
		}
	}
	return offer
}

// fetch sends the keys to the time source and makes its cookies the user's answer. Once take has
// been called there is no way back to another time source.
func (x *userExchange) fetch(ctx context.Context, u *upstream, s *member.Support, choice nts.Choice) ([]byte, Outcome, error) {
	deadline, _ := ctx.Deadline()
	timeoutCounts := x.countsTimeout(time.Until(deadline))
	outliving, cancel := outliveUser(ctx, deadline)
	defer cancel()
	begin := time.Now()
	resp, err := u.member.FixedKey(outliving, *s, record.Protocol(choice.Protocol), func() (nts.Keys, error) {
		if x.left() {
			return nts.Keys{}, context.Canceled // no keys go out for nobody
		}
		return x.take(u, choice)
	})
	x.p.upstreamTimes.observe(time.Since(begin))
	x.p.refill(u)
	if err != nil && userGone(ctx) {
		return nil, UserGone, err // which says nothing about the time source
	}
	if err == nil {
		x.log.step("received cookies from the NTS KE server")
		if pool.OddCookies(&resp) {
			u.oddCookies.Add(1)
		}
		resp, err = x.snap.directory.Answer(u.backend, choice, pool.Expected{Reached: x.user.ServerName, Names: u.says()}, resp)
	}
	if err != nil {
		if timeoutCounts || !outOfTime(err) {
			x.p.recordFailure(u, err)
		}
		if !x.bound() {
			return nil, NoServer, err
		}
		x.log.warn("NTS KE server returned an error", err)
		return nil, ServerFailed, err
	}
	if u.succeed(time.Now()) {
		x.p.log.Info().Str("server", u.backend.String()).Msg("time source serves users again")
	}
	x.p.mu.Lock()
	x.p.aliases.Learn(u.backend, resp.Server)
	x.p.mu.Unlock()
	if x.req.UUID == "" {
		x.p.granted.count(choice)
	}
	return resp.Append(make([]byte, 0, usualAnswer)), Served, nil
}

// outliveUser is a context that outlives the user by goneGrace, but not the deadline.
func outliveUser(ctx context.Context, deadline time.Time) (context.Context, context.CancelFunc) {
	outliving, cancel := context.WithDeadline(context.WithoutCancel(ctx), deadline)
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(goneGrace, cancel) })
	return outliving, func() { stop(); cancel() }
}

// take exports the user's keys, the first time, and binds them to the time source.
func (x *userExchange) take(u *upstream, choice nts.Choice) (nts.Keys, error) {
	if x.keys == nil {
		x.log.step("fetching cookies from the NTS KE server")
		keys, err := ke.ExportKeys(x.user, record.Protocol(choice.Protocol), choice.Algorithm, choice.Algorithm)
		if err != nil {
			return nts.Keys{}, fmt.Errorf("keys of the user: %w", err)
		}
		x.keys = pool.NewUserKeys(keys)
	}
	return x.keys.For(u.backend.String())
}

// recordFailure counts a failure of a time source and says so once when it is taken out of rotation.
func (p *Pool) recordFailure(u *upstream, err error) {
	if errors.Is(err, member.ErrCrowded) {
		return // too much for us, which says nothing about it
	}
	if u.fail(time.Now(), err) {
		p.log.Warn().Str("server", u.backend.String()).Str("e", printable.Text(err.Error())).
			Msg("time source fails repeatedly, others are preferred for a while")
	}
	p.attend()
}
