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

// exchange serves one user's request with one time source. Time sources are asked what they can do,
// one after the other, until one fits; the keys then go to that one and to no other.
type exchange struct {
	p     *Pool
	snap  *snapshot
	req   *record.Request
	user  *tls.ConnectionState
	keys  *pool.UserKeys // nil until a time source is about to get them
	offer nts.Offer

	protocol uint16 // shared with a time source that shares no algorithm with the user
}

func newExchange(p *Pool, snap *snapshot, req *record.Request, user *tls.ConnectionState) *exchange {
	x := &exchange{p: p, snap: snap, req: req, user: user}
	x.offer = nts.Offer{Algorithms: req.Algorithms, CompliantGCMSIV: req.CompliantExport}
	for _, id := range req.Protocols {
		x.offer.Protocols = append(x.offer.Protocols, uint16(id))
	}
	return x
}

// bound reports whether a time source may have seen the keys.
func (x *exchange) bound() bool { return x.keys != nil && x.keys.Bound() }

// wipe destroys the keys.
func (x *exchange) wipe() {
	if x.keys != nil {
		x.keys.Wipe()
	}
}

// gone reports whether the user has left; nothing else cancels the context of an exchange.
func gone(ctx context.Context) bool { return errors.Is(ctx.Err(), context.Canceled) }

// order is the list of candidates: not denied, in rotation, those in trouble last.
func (x *exchange) order() []*upstream {
	denied := pool.NewDenied(x.req.Deny)
	x.p.mu.Lock()
	candidates := x.snap.directory.Pick(x.p.turn.Add(1)-1, denied, &x.p.aliases)
	x.p.mu.Unlock()
	now := time.Now()
	var healthy, troubled []*upstream
	for _, i := range candidates.Order {
		if u := x.snap.upstreams[i]; u.open(now) {
			troubled = append(troubled, u)
		} else {
			healthy = append(healthy, u)
		}
	}
	return append(healthy, troubled...)
}

// run tries the candidates until one delivers or one has the keys, or the user leaves, which cancels ctx. Of the
// reasons for failing the one that says most wins: a time source that lacks the user's algorithm proves more than a
// dead one.
func (x *exchange) run(ctx context.Context) (answer []byte, out Outcome, err error) {
	order := x.order()
	worst, cause := NoServer, errNoServer
	for i, u := range order {
		if ctx.Err() != nil {
			worst, cause = TimedOut, ctx.Err()
			break
		}
		answer, out, err := x.try(ctx, u, len(order)-i)
		switch {
		case err == nil && out == Served, x.bound():
			return answer, out, err
		case err != nil && worst == NoServer:
			cause = err
		case out == NoAlgorithm, out == NoProtocol && worst != NoAlgorithm:
			worst = out
		}
	}
	if gone(ctx) {
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
func (x *exchange) try(ctx context.Context, u *upstream, left int) ([]byte, Outcome, error) {
	log := &x.p.log
	log.Info().Msgf("checking supported algorithms for '%s'", u.backend)
	asking, cancel, fair := x.share(ctx, left)
	until, _ := asking.Deadline()
	patient, stop := patience(asking, until)
	s, asked, err := u.supports(patient, func() { log.Info().Msg("established connection to the server") })
	stop()
	cancel()
	if err != nil {
		log.Debug().Str("server", u.backend.String()).Str("e", printable.Text(err.Error())).Msg("time source is not usable")
		if asked && !gone(ctx) && (fair || !outOfTime(err)) {
			x.blame(u, err)
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
// that hangs does not use up the user's time. fair says that the limit was long enough to blame the
// time source for missing it; else it was the user who came late.
func (x *exchange) share(ctx context.Context, left int) (context.Context, context.CancelFunc, bool) {
	deadline, _ := ctx.Deadline()
	limit := time.Until(deadline)
	if left > 1 {
		limit /= 2
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	return ctx, cancel, x.fair(limit)
}

// fair reports whether a time source that needed longer than limit may be blamed for it.
func (x *exchange) fair(limit time.Duration) bool {
	return limit >= min(x.snap.cfg.AnswerTimeout, x.snap.cfg.Timeout/4)
}

// accepts is what a time source can do of what this pool lets users have.
func (x *exchange) accepts(s *member.Support) nts.Offer {
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
func (x *exchange) fetch(ctx context.Context, u *upstream, s *member.Support, choice nts.Choice) ([]byte, Outcome, error) {
	deadline, _ := ctx.Deadline()
	fair := x.fair(time.Until(deadline))
	patient, cancel := patience(ctx, deadline)
	defer cancel()
	resp, err := u.member.FixedKey(patient, *s, record.Protocol(choice.Protocol), func() (nts.Keys, error) {
		if gone(ctx) {
			return nts.Keys{}, ctx.Err() // no keys go out for nobody
		}
		return x.take(u, choice)
	})
	if err != nil && gone(ctx) {
		return nil, UserGone, err // which says nothing about the time source
	}
	if err == nil {
		x.p.log.Info().Msg("received cookies from the NTS KE server")
		resp, err = x.snap.directory.Answer(u.backend, choice, resp)
	}
	if err != nil {
		if fair || !outOfTime(err) {
			x.blame(u, err)
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

// patience is a context that outlives the user by goneGrace, but not the deadline.
func patience(ctx context.Context, deadline time.Time) (context.Context, context.CancelFunc) {
	patient, cancel := context.WithDeadline(context.WithoutCancel(ctx), deadline)
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(goneGrace, cancel) })
	return patient, func() { stop(); cancel() }
}

// take exports the user's keys, the first time, and binds them to the time source.
func (x *exchange) take(u *upstream, choice nts.Choice) (nts.Keys, error) {
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

// blame counts a failure of a time source and says so once when it is taken out of rotation.
func (x *exchange) blame(u *upstream, err error) {
	if u.fail(time.Now()) {
		x.p.log.Warn().Str("server", u.backend.String()).Str("e", printable.Text(err.Error())).
			Msg("time source fails repeatedly, others are preferred for a while")
	}
}
