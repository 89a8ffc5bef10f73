package assoc

import (
	"context"
	"errors"
	"sync"
	"time"

	"ntp-daemon/internal/config"
	"ntp-daemon/internal/locate"
	"ntp-daemon/internal/logging"
	"ntp-daemon/internal/logtarget"
	"ntp-daemon/internal/nts"
	"ntp-daemon/internal/nts/ke"
	"ntp-daemon/internal/resolve"
)

// found is what one search yields.
type found struct {
	locate.Found
	purpose purpose
	// provisional: the certificate was judged as of the floor, see Bootstrap.
	provisional bool
	err         error  // no addresses; with a session it is the look-up after a good key exchange that failed
	step        string // that failed, for the log
}

// search runs one look-up or key exchange, without touching the supervisor. guard is deferred by each exchange.
func search(ctx context.Context, src *config.Source, d *Deps, p purpose, h locate.Hints, guard func(*error)) found {
	f := found{purpose: p}
	var mu sync.Mutex // exchanges with several addresses run at the same time
	provisional := map[*nts.Session]bool{}
	finder := locate.Finder{Resolve: d.Resolve, Services: d.Services, Own: d.Own, Exchange: func(ctx context.Context, c ke.ClientConfig) (res ke.Result, err error) {
		defer guard(&err)
		res, judgedEarly, err := exchangeKeys(ctx, d, src.Name(), c)
		if err == nil && judgedEarly {
			mu.Lock()
			defer mu.Unlock()
			provisional[res.Session] = true
		}
		return res, err
	}}
	f.Found, f.err = finder.Find(ctx, src, h)
	f.provisional = provisional[f.Session]
	switch {
	case f.err == nil:
	case serviceError(f.err):
		f.step = "SRV look-up"
	case src.Mode.NTS() && f.Session == nil:
		f.step = "key exchange"
	default:
		f.step = "name look-up"
	}
	return f
}

// serviceError reports whether err is about SRV records.
func serviceError(err error) bool {
	_, ok := errors.AsType[*resolve.ServiceError](err)
	return ok
}

// exchangeKeys runs one NTS key exchange, or two where the first one was judged as of the floor in vain. provisional
// says that the certificate was judged before the clock was set, as of the floor or by a clock that the floor
// contradicts.
func exchangeKeys(ctx context.Context, d *Deps, name string, c ke.ClientConfig) (res ke.Result, provisional bool, err error) {
	exchange := func(judge func() time.Time) (ke.Result, error) {
		// The exchange keeps its own deadline; this one only makes sure that an injected one does.
		ctx, cancel := context.WithTimeout(ctx, c.Timeout+time.Second)
		defer cancel()
		c.Time = judge
		return d.Exchange(ctx, c)
	}
	log := logging.Target(d.Log, logtarget.Spawn)
	at, provisional := d.Bootstrap.Judge(d.Time())
	doubted := false // the clock had to judge in the end
	if provisional {
		res, err = exchange(func() time.Time { return at })
		doubted = err != nil && d.Bootstrap.contradicted(d.Time(), err)
	}
	if !provisional || doubted {
		res, err = exchange(d.Time)
	}
	switch {
	case err != nil:
		return res, provisional, err
	case doubted:
		log.Warn().Str("source", name).Time("earliest", at).
			Msg("the certificate is valid by the clock but not as of the earliest possible time, one of which is wrong; to be confirmed")
	case provisional:
		log.Warn().Str("source", name).Time("judged_at", at).
			Msg("the clock is not set, the certificate is valid as of the earliest possible time; to be confirmed")
	}
	log.Debug().Str("source", name).Stringer("addr", c.Connect).Uint16("aead", uint16(res.Algorithm)).Msg("keys exchanged")
	return res, provisional, nil
}
