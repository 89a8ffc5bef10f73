package poolke

import (
	"context"
	"crypto/tls"
	"errors"
	"maps"
	"net"
	"time"

	"ntp-daemon/internal/accept"
	"ntp-daemon/internal/handover"
	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/nts/member"
	"ntp-daemon/internal/observe"
	"ntp-daemon/internal/pool"
	"ntp-daemon/internal/program"
	"ntp-daemon/internal/version"
)

// observer shows the pool to readers of the observation socket. It reads counters and takes the lock of one time
// source at a time; no user waits for a reader.
type observer struct {
	p       *Pool
	loop    *accept.Loop
	address string          // of users' sockets
	origin  handover.Origin // of the first of them
	started time.Time
}

// parts are the doors for readers, each opened once if it could be; missing is what keeps one down that only root may be able
// to open later.
func (o *observer) parts() (parts []*program.Part, missing error) {
	if socket := o.socket(); socket != nil {
		parts, missing = append(parts, socket), socket.Try()
	}
	if admin := o.admin(); admin != nil {
		parts = append(parts, admin)
		if err := admin.Try(); o.p.snap.Load().cfg.Admin.Port() < firstFreePort {
			missing = errors.Join(missing, err)
		}
	}
	return parts, missing
}

// socket is the observation socket; nil if none is wanted. Users are served without it, too.
func (o *observer) socket() *program.Part {
	cfg := &o.p.snap.Load().cfg
	if cfg.ObservationPath == "" {
		return nil
	}
	var ln net.Listener
	return program.NewPart("the observation socket "+cfg.ObservationPath, o.p.log, func() (err error) {
		ln, err = o.p.sockets.get(observationSocket, atPath(cfg.ObservationPath), func() (net.Listener, error) {
			return observe.Listen("observation-path", cfg.ObservationPath, cfg.ObservationPermissions)
		})
		return err
	}, func(ctx context.Context) error {
		return observe.Serve(ctx, ln, o.snapshot, o.p.log)
	})
}

// snapshot composes what readers see.
func (o *observer) snapshot() *observe.Snapshot {
	now, snap := time.Now(), o.p.snap.Load()
	seen := &observe.Pool{
		Address: o.address, Listener: o.origin.String(), Stage: o.p.currentStage().String(), Connections: observe.Connections(o.loop.Counters()), Outcomes: o.p.tally.read(),
		Monitors: o.p.monitors.read(),
		Reload:   o.p.reloads.observed(now), Selection: snap.cfg.Selection.String(), Denied: o.p.selection.denied(), Lookups: o.p.selection.places(), CountriesBuilt: snap.built(),
		Servers: []observe.PoolServer{}, CertificateNotAfter: snap.cfg.Certificate.Leaf.NotAfter.Unix(),
	}
	var lately []uint64
	for i, u := range snap.upstreams {
		seen.Servers = append(seen.Servers, u.observed(snap.directory.At(i), now))
		seen.Servers[i].Monitored = o.p.monitor.member(snap.directory.At(i).Name(), len(snap.upstreams), now)
		lately = append(lately, u.lately())
	}
	seen.Monitor = o.p.monitor.observed(now)
	observeShares(seen.Selection, seen.Servers, lately)
	seen.Names, _ = ownNames(snap.cfg.Certificate) // there is one: the snapshot was made with it
	seen.Limits = observe.PoolLimits{Connections: snap.cfg.MaxConnections, PerPrefix: snap.cfg.PerPrefix, Seconds: snap.cfg.Timeout.Seconds()}
	seen.Algorithms, seen.Protocols = o.p.granted.read()
	o.p.observeTimes(seen, now)
	seen.NotReady = o.p.notReady(seen.Servers)
	seen.Ready = len(seen.NotReady) == 0
	return &observe.Snapshot{
		Program: observe.Program{
			Version: version.Version, BuildCommit: version.Commit, BuildCommitDate: version.CommitDate,
			UptimeSeconds: now.Sub(o.started).Seconds(), Now: observe.At(ntp.FromTime(now)),
		},
		Pool: seen,
	}
}

// notReady is Pool.notReady now, without all that a snapshot holds: balancers ask every second.
func (o *observer) notReady() []string {
	now, snap := time.Now(), o.p.snap.Load()
	var servers []observe.PoolServer
	for i, u := range snap.upstreams {
		b := snap.directory.At(i)
		s := u.standing(b, now)
		s.Monitored = o.p.monitor.member(b.Name(), len(snap.upstreams), now)
		if servers = append(servers, s); s.Usable() {
			break
		}
	}
	return o.p.notReady(servers)
}

// standing is what decides whether a time source can be handed out, the monitor's word apart.
func (u *upstream) standing(b *pool.Backend, now time.Time) observe.PoolServer {
	u.mu.Lock()
	defer u.mu.Unlock()
	s := observe.PoolServer{Weight: b.Weight, Families: families(b)}
	s.Breaker, s.OpenFor = u.breakerState(now)
	return s
}

// breakerState is what readers see of the breaker; openFor is in seconds. The caller holds u.mu.
func (u *upstream) breakerState(now time.Time) (state string, openFor float64) {
	switch {
	case u.breaker.open() && !u.breaker.due(now):
		return observe.BreakerOpen, u.breaker.until.Sub(now).Seconds()
	case u.breaker.open(), u.breaker.trial:
		return observe.BreakerTrial, 0
	}
	return observe.BreakerClosed, 0
}

// observed is what readers see of one time source, whose entry of the list in use is b.
func (u *upstream) observed(b *pool.Backend, now time.Time) observe.PoolServer {
	u.mu.Lock()
	defer u.mu.Unlock()
	s := observe.PoolServer{
		ID: b.Name(), Server: b.String(), Weight: b.Weight, Regions: append([]string{}, b.Regions...),
		Operator: b.Operator, Families: families(b), Failures: u.breaker.failures,
		Known: !u.doubt && now.Before(u.until), Protocols: []uint16{}, Algorithms: []uint16{}, LastError: u.fault,
		Selected: maps.Clone(u.selected),
		RTT:      u.rtt().Seconds(), InFlight: u.inflight(),
		// What can become of an exchange with one time source; the other outcomes are users' own.
		Exchanges: u.tally.read(Served, NoProtocol, NoAlgorithm, NoServer, ServerFailed, UserGone),
	}
	s.Breaker, s.OpenFor = u.breakerState(now)
	if !u.learned.IsZero() {
		s.ListsAge = now.Sub(u.learned).Seconds()
	}
	c := u.member.Condition(now)
	s.Names, s.Idle, s.OneShot = u.names, c.Idle, c.OneShot
	s.Opened, s.Resumed, s.Reused, s.OddCookies = c.Opened, c.Resumed, c.Reused, u.oddCookies.Load()
	if !c.NotAfter.IsZero() {
		s.CertificateNotAfter = c.NotAfter.Unix()
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

// families are the address families of the users that a time source may get.
func families(b *pool.Backend) []string {
	list := []string{}
	if !b.NoIPv4 {
		list = append(list, "ipv4")
	}
	if !b.NoIPv6 {
		list = append(list, "ipv6")
	}
	return list
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
	case errors.As(err, &certificate), errors.Is(err, member.ErrWeakKey):
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
