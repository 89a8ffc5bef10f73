package poolke

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
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

	protocol uint16 // shared with a time source that shares no algorithm with the user
}

func newUserExchange(p *Pool, snap *snapshot, req *record.Request, user *tls.ConnectionState) *userExchange {
	return &userExchange{p: p, snap: snap, req: req, user: user, offer: ke.OfferOf(req)}
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

// order is the list of candidates: not denied, in rotation, those whose breaker is open last.
func (x *userExchange) order() []*upstream {
	denied := pool.NewDenied(x.req.Deny)
	x.p.mu.Lock()
	candidates := x.snap.directory.Pick(x.p.turn.Add(1)-1, denied, &x.p.aliases)
	x.p.mu.Unlock()
	now := time.Now()
	var healthy, open []*upstream
	for _, i := range candidates.Order {
		if u := x.snap.upstreams[i]; u.open(now) {
			open = append(open, u)
		} else {
			healthy = append(healthy, u)
		}
	}
	return append(healthy, open...)
}

// run tries the candidates until one delivers or one has the keys, or the user leaves, which cancels ctx. Of the
// reasons for failing the one that says most wins: a time source that lacks the user's algorithm proves more than a
// dead one.
func (x *userExchange) run(ctx context.Context) (answer []byte, out Outcome, err error) {
	order := x.order()
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
	x.p.log.Warn().Msg("pool could not find a valid KE server")
	x.p.log.Info().Str("e", printable.Text(cause.Error())).Msg("could not find a valid KE server")
	return nil, worst, cause
}

// try asks one time source what it can do and, if that fits, has it serve the user.
func (x *userExchange) try(ctx context.Context, u *upstream, left int) ([]byte, Outcome, error) {
	log := &x.p.log
	log.Info().Msgf("checking supported algorithms for '%s'", u.backend)
	asking, cancel, timeoutCounts := x.share(ctx, left)
	until, _ := asking.Deadline()
	outliving, stop := outliveUser(asking, until)
	s, asked, err := u.supports(outliving, func() { log.Info().Msg("established connection to the server") })
	stop()
	cancel()
	if err != nil {
		log.Debug().Str("server", u.backend.String()).Str("e", printable.Text(err.Error())).Msg("time source is not usable")
		if asked && !userGone(ctx) && (timeoutCounts || !outOfTime(err)) {
			x.recordFailure(u, err)
		}
		return nil, NoServer, err
	}
	if asked {
		log.Info().Msg("received supported algorithms from the NTS KE server")
	}
	choice, agreement := nts.Negotiate(x.offer, x.accepts(&s))
	switch agreement {
	case nts.NoProtocol:
		return nil, NoProtocol, nil
	case nts.NoAlgorithm:
		x.protocol = choice.Protocol
		return nil, NoAlgorithm, nil
	}
	return x.fetch(ctx, u, &s, choice)
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
	ctx, cancel := context.WithTimeout(ctx, limit)
	return ctx, cancel, x.countsTimeout(limit)
}

// countsTimeout reports whether a time source that needed longer than limit may be blamed for it.
func (x *userExchange) countsTimeout(limit time.Duration) bool {
	return limit >= min(x.snap.cfg.AnswerTimeout, x.snap.cfg.Timeout/4)
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
	resp, err := u.member.FixedKey(outliving, *s, record.Protocol(choice.Protocol), func() (nts.Keys, error) {
		if userGone(ctx) {
			return nts.Keys{}, ctx.Err() // no keys go out for nobody
		}
		return x.take(u, choice)
	})
	if err != nil && userGone(ctx) {
		return nil, UserGone, err // which says nothing about the time source
	}
	if err == nil {
		x.p.log.Info().Msg("received cookies from the NTS KE server")
		resp, err = x.snap.directory.Answer(u.backend, choice, x.user.ServerName, resp)
	}
	if err != nil {
		if timeoutCounts || !outOfTime(err) {
			x.recordFailure(u, err)
		}
		if !x.bound() {
			return nil, NoServer, err
		}
		x.p.log.Warn().Str("e", printable.Text(err.Error())).Msg("NTS KE server returned an error")
		return nil, ServerFailed, err
	}
	if u.succeed() {
		x.p.log.Info().Str("server", u.backend.String()).Msg("time source serves users again")
	}
	x.p.mu.Lock()
	x.p.aliases.Learn(u.backend, resp.Server)
	x.p.mu.Unlock()
	return resp.Append(nil), Served, nil
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
		x.p.log.Info().Msg("fetching cookies from the NTS KE server")
		keys, err := ke.ExportKeys(x.user, record.Protocol(choice.Protocol), choice.Algorithm, choice.Algorithm)
		if err != nil {
			return nts.Keys{}, fmt.Errorf("keys of the user: %w", err)
		}
		x.keys = pool.NewUserKeys(keys)
	}
	return x.keys.For(u.backend.String())
}

// recordFailure counts a failure of a time source and says so once when it is taken out of rotation.
func (x *userExchange) recordFailure(u *upstream, err error) {
	if u.fail(time.Now(), err) {
		x.p.log.Warn().Str("server", u.backend.String()).Str("e", printable.Text(err.Error())).
			Msg("time source fails repeatedly, others are preferred for a while")
	}
}
