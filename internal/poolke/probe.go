package poolke

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"ntp-daemon/internal/nts"
	"ntp-daemon/internal/nts/aead"
	"ntp-daemon/internal/nts/ke"
	"ntp-daemon/internal/nts/member"
	"ntp-daemon/internal/nts/record"
	"ntp-daemon/internal/pool"
	"ntp-daemon/internal/poolmonitor"
)

// probe does with a time source what the pool would do for a user, on connections of its own, and then what the user would do:
//
//	Supports   which AEAD algorithms it has; with the one whose turn it is
//	FixedKey   cookies for keys that were drawn for this probe
//	Answer     the checks that every user's answer goes through
//	ask        over each family, the time twice, with a cookie of the answer and one that came back
//
// The connection ends before the time is asked, so that the next one shows whether a new one can be had.
func (m *monitor) probe(ctx context.Context, snap *snapshot, b *pool.Backend, task poolmonitor.Task) poolmonitor.Attempt {
	ctx, cancel := context.WithTimeout(ctx, m.cfg.ProbeTimeout)
	defer cancel()
	a := poolmonitor.Attempt{Member: task.Member, Algorithm: task.Algorithm}
	fail := func(o poolmonitor.Outcome, cause string) poolmonitor.Attempt {
		a.Keys, a.Cause = o, cause
		return a
	}
	client := m.p.member(b, &snap.cfg, nil)
	defer client.Close()
	s, err := client.Supports(ctx, nil)
	if err != nil {
		return fail(m.keyFailure(ctx, snap, b, err))
	}
	a.Advertised = s.Algorithms
	if len(s.Algorithms) == 0 {
		return fail(poolmonitor.BadAnswer, "no algorithm")
	}
	a.Algorithm = chosen(s.Algorithms, task.Algorithm)
	choice := nts.Choice{Protocol: nts.ProtocolNTPv4, Algorithm: a.Algorithm}
	keys, err := keysFor(choice)
	if err != nil {
		return fail(poolmonitor.NotProbed, "keys")
	}
	defer keys.Wipe()
	resp, err := client.FixedKey(ctx, s, record.NTPv4, func() (nts.Keys, error) { return keys, nil })
	client.Close() // the time source has few places for pools
	if err != nil {
		return fail(m.keyFailure(ctx, snap, b, err))
	}
	answer, err := snap.directory.Answer(b, choice, pool.Expected{}, resp)
	if err != nil {
		return fail(poolmonitor.BadAnswer, answerFault(err))
	}
	a.Keys = poolmonitor.Good
	q := &timeAsker{scale: m.scale, lookup: m.p.deps.Lookup, timeout: m.cfg.NTPTimeout, backend: b, answer: &answer, keys: &keys, stock: task.Cookies}
	var families sync.WaitGroup
	for f := range poolmonitor.Families {
		if task.Wanted[f] {
			families.Go(func() {
				defer m.contain(func() { a.Answers[f] = poolmonitor.Answer{} })
				a.Answers[f] = q.ask(ctx, f, int(f))
			})
		}
	}
	families.Wait()
	return a
}

// chosen is the algorithm that is wanted, or the first of the list.
func chosen(list []aead.Algorithm, wanted aead.Algorithm) aead.Algorithm {
	for _, a := range list {
		if a == wanted {
			return a
		}
	}
	return list[0]
}

// keyFailure sorts the error of a key exchange.
func (m *monitor) keyFailure(ctx context.Context, snap *snapshot, b *pool.Backend, err error) (poolmonitor.Outcome, string) {
	var invalid x509.CertificateInvalidError
	switch {
	case ours(err), errors.Is(context.Cause(ctx), context.Canceled):
		return poolmonitor.NotProbed, "no route"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return poolmonitor.NotValid, ""
	case refusesPools(err) && m.isPool(ctx, snap, b):
		return poolmonitor.Loop, ""
	}
	return poolmonitor.NoKeys, faultClass(err)
}

// answerFault is the word for an answer that no user may be given.
func answerFault(err error) string {
	switch {
	case errors.Is(err, pool.ErrNoCookies):
		return "no cookies"
	case errors.Is(err, pool.ErrOtherChoice):
		return "other algorithm"
	}
	return "server name"
}

// refusesPools reports an error that a pool's front end leads to, which takes the requests of pools for bad ones.
func refusesPools(err error) bool {
	return errors.Is(err, member.ErrRefused) || errors.Is(err, member.ErrDialect) || errors.Is(err, member.ErrCertificate)
}

// isPool finds out whether a time source that refuses pools is one itself, maybe this one, in which case the two would ask each other for
// ever: as a user it is asked for keys, and again with the server that it named denied. A pool names another one, or one
// that is on our own list. The answer is remembered for an hour.
func (m *monitor) isPool(ctx context.Context, snap *snapshot, b *pool.Backend) bool {
	now := time.Now()
	m.mu.Lock()
	seen, known := m.pools[b.Name()]
	m.mu.Unlock()
	if known && now.Sub(seen.at) < poolMemory {
		return seen.pool
	}
	is, err := m.namesOthers(ctx, snap, b)
	if err != nil {
		return false // for now: nothing was found out
	}
	seen = poolFinding{at: now, pool: is}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pools[b.Name()] = seen
	return seen.pool
}

// poolMemory is how long the answer of isPool is believed.
const poolMemory = time.Hour

// poolFinding is what isPool remembers.
type poolFinding struct {
	at   time.Time
	pool bool
}

// namesOthers asks as isPool says; an error is that it did not answer.
func (m *monitor) namesOthers(ctx context.Context, snap *snapshot, b *pool.Backend) (bool, error) {
	first, err := m.asUser(ctx, snap, b, nil)
	if err != nil || !first.ServerGiven || pool.CanonicalName(first.Server) == pool.CanonicalName(b.Domain) {
		return false, err
	}
	for i := range snap.directory.Len() {
		if o := snap.directory.At(i); o.Name() != b.Name() && o.Domain != b.Domain && o.Trusts(first.Server) {
			return true, nil
		}
	}
	second, err := m.asUser(ctx, snap, b, []string{first.Server})
	return err == nil && second.ServerGiven && pool.CanonicalName(second.Server) != pool.CanonicalName(first.Server), err
}

// asUser is a user's key exchange with a time source.
func (m *monitor) asUser(ctx context.Context, snap *snapshot, b *pool.Backend, denied []string) (ke.Result, error) {
	roots, err := snap.cfg.Roots.Pool(time.Now())
	if err != nil {
		return ke.Result{}, err
	}
	c := ke.ClientConfig{
		Address: b.Domain, Port: b.Port, Roots: roots, Time: m.p.deps.Now, Dial: m.p.deps.Dial, Denied: denied, Timeout: snap.cfg.AnswerTimeout,
	}
	if len(b.Addresses) > 0 {
		at := net.JoinHostPort(b.Addresses[0].String(), strconv.Itoa(int(b.Port)))
		c.Connect = netip.MustParseAddrPort(at)
	}
	return ke.Exchange(ctx, c)
}

// member is a client of a time source for the pool as it is configured. failed, if not nil, hears of addresses that
// cannot be used.
func (p *Pool) member(b *pool.Backend, c *Config, failed func(error)) *member.Client {
	cert, roots := c.shown(), c.Roots
	return member.New(member.Config{
		Backend: *b, Roots: func() (*x509.CertPool, error) { return roots.Pool(time.Now()) },
		Untrusted: func(err error) { roots.Doubt(err, time.Now()) }, Certificate: func() *tls.Certificate { return cert },
		ConnectTimeout: c.ConnectTimeout, AnswerTimeout: c.AnswerTimeout, IdleTime: c.IdleTime, MaxAge: c.MaxAge,
		Time: p.deps.Now, Dial: p.deps.Dial, Failed: failed,
	})
}
