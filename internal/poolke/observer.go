package poolke

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"time"

	"ntp-daemon/internal/accept"
	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/nts/member"
	"ntp-daemon/internal/observe"
	"ntp-daemon/internal/program"
	"ntp-daemon/internal/version"
)

// observer shows the pool to readers of the observation socket. It reads counters and takes the lock of one time
// source at a time; no user waits for a reader.
type observer struct {
	p       *Pool
	loop    *accept.Loop
	address netip.AddrPort // as bound
	started time.Time
}

// socket is the observation socket; nil if none is wanted. Users are served without it, too.
func (o *observer) socket() *program.Part {
	cfg := &o.p.snap.Load().cfg
	if cfg.ObservationPath == "" {
		return nil
	}
	var ln net.Listener
	return program.NewPart("the observation socket "+cfg.ObservationPath, o.p.log, func() (err error) {
		ln, err = observe.Listen(cfg.ObservationPath, cfg.ObservationPermissions)
		return err
	}, func(ctx context.Context) error {
		return observe.Serve(ctx, ln, o.snapshot, o.p.log)
	})
}

// snapshot composes what readers see.
func (o *observer) snapshot() *observe.Snapshot {
	now := time.Now()
	pool := &observe.Pool{
		Address: o.address.String(), Connections: observe.Connections(o.loop.Counters()), Outcomes: o.p.tally.read(),
		Servers: []observe.PoolServer{}, CertificateNotAfter: o.p.snap.Load().cfg.Certificate.Leaf.NotAfter.Unix(),
	}
	for _, u := range o.p.snap.Load().upstreams {
		pool.Servers = append(pool.Servers, u.observed(now))
	}
	return &observe.Snapshot{
		Program: observe.Program{
			Version: version.Version, BuildCommit: version.Commit, BuildCommitDate: version.CommitDate,
			UptimeSeconds: now.Sub(o.started).Seconds(), Now: observe.At(ntp.FromTime(now)),
		},
		Pool: pool,
	}
}

// observed is what readers see of one time source.
func (u *upstream) observed(now time.Time) observe.PoolServer {
	u.mu.Lock()
	defer u.mu.Unlock()
	s := observe.PoolServer{
		Server: u.backend.String(), Breaker: observe.BreakerClosed, Failures: u.breaker.failures,
		Known: now.Before(u.until), Protocols: []uint16{}, Algorithms: []uint16{}, LastError: u.fault,
		// What can become of an exchange with one time source; the other outcomes are users' own.
		Exchanges: u.tally.read(Served, NoProtocol, NoAlgorithm, NoServer, ServerFailed, UserGone),
	}
	switch {
	case u.breaker.open(now):
		s.Breaker, s.OpenFor = observe.BreakerOpen, u.breaker.until.Sub(now).Seconds()
	case u.breaker.pause > 0:
		s.Breaker = observe.BreakerTrial
	}
	if u.fault != "" {
		s.ErrorAge = now.Sub(u.failed).Seconds()
	}
	if len(u.support.Protocols) > 0 {
		s.Dialect = u.support.Dialect.String()
	}
	for _, id := range u.support.Protocols {
		s.Protocols = append(s.Protocols, uint16(id))
	}
	for _, id := range u.support.Algorithms {
		s.Algorithms = append(s.Algorithms, uint16(id))
	}
	return s
}

// faultClass sorts a failure of a time source. The text of an error may quote what a stranger sent and is for the log;
// this word is for tables and alarms.
func faultClass(err error) string {
	var name *net.DNSError
	var certificate *tls.CertificateVerificationError
	var alert tls.AlertError
	var op *net.OpError
	switch {
	case outOfTime(err):
		return "timeout"
	case errors.As(err, &name):
		return "name"
	case errors.As(err, &certificate):
		return "certificate"
	case errors.Is(err, member.ErrRefused), errors.Is(err, member.ErrCertificate):
		return "refused"
	case errors.Is(err, member.ErrDialect), errors.Is(err, member.ErrALPN):
		return "dialect"
	case errors.As(err, &alert), errors.As(err, &op) && (op.Op == "remote error" || op.Op == "local error"): // of crypto/tls
		return "tls"
	case errors.As(err, &op):
		return "connection"
	}
	return "answer"
}
