package daemon

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"runtime"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"ntp-daemon/internal/config"
	"ntp-daemon/internal/logging"
	"ntp-daemon/internal/logtarget"
	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/program"
	"ntp-daemon/internal/resolve"
	"ntp-daemon/internal/server"
	"ntp-daemon/internal/udp"
)

const (
	// rateBurst is how many requests a prefix may send at once although rate-limiting-cutoff-ms spaces them: a
	// client's start burst passes (row S14).
	rateBurst = 8
	// addressInterval is how often the host's own addresses are looked at for loop detection.
	addressInterval = 30 * time.Second
)

// listener is one [[server]]: its sockets, one for each CPU, and their counters.
type listener struct {
	address  netip.AddrPort
	part     *program.Part
	counters []*server.Counters
	access   atomic.Pointer[server.Access] // swapped at a reload
	rules    atomic.Pointer[config.Server] // the same before it was compiled, and what never changes
	workers  atomic.Pointer[[]*worker]     // nil until the address could be had
	absent   atomic.Bool                   // no interface has the address now
}

// openServers loads the cookie keys, if there is anybody to serve cookies to, and binds every listen address. One that
// cannot be had yet, and a key exchange whose certificate cannot be used, stay down (missing); what another program has,
// or this user may not have, is an error.
func (d *Daemon) openServers() error {
	if len(d.cfg.Servers) > 0 || len(d.cfg.KEServers) > 0 {
		d.keys = &keyring{
			path: d.keyPath(), stale: d.cfg.Keyset.StaleKeys,
			interval: d.cfg.Keyset.RotationInterval, rand: d.deps.Rand, log: d.log,
			set: &d.keySet, rotated: &d.rotated, settled: func() bool { return d.boot.Settled() },
		}
		if u := program.OtherUser(d.cfg.Process); u != nil {
			d.keys.owners = []int{u.UID}
		}
		if err := d.keys.load(time.Now()); err != nil {
			return err
		}
	}
	for _, s := range d.cfg.Servers {
		l, err := d.newListener(s)
		if err != nil {
			return err
		}
		d.servers = append(d.servers, l)
		if err := l.part.Try(); err != nil && !missing(err) {
			return err
		}
	}
	for _, c := range d.cfg.KEServers {
		k := d.newKE(c)
		d.ke = append(d.ke, k)
		if err := k.part.Try(); err != nil && !missing(err) {
			return err
		}
	}
	return nil
}

// missing reports whether what kept a listener from its start may come by itself or by the hand of an operator while the
// daemon runs (config.Checks, "down"): a certificate, an address, an address family, an interface.
func missing(err error) bool {
	return errors.As(err, new(*program.ConfigError)) || errors.Is(err, udp.ErrNoInterface) ||
		errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT)
}

// newListener makes the part of one [[server]], down as yet.
func (d *Daemon) newListener(s config.Server) (*listener, error) {
	lists, err := server.NewAccess(s.Deny, &s.Allow)
	if err != nil {
		return nil, fmt.Errorf("server %s: %w", s.Listen, err)
	}
	seed, err := d.seeds()
	if err != nil {
		return nil, err
	}
	conf := s.Responder
	conf.Access = lists
	if s.Interleaved {
		if d.interleaves == nil { // one for all that interleave: a client may ask at several addresses
			d.interleaves = server.NewInterleaves([2]uint64{seed[2], seed[0]})
		}
		conf.Interleaves = d.interleaves
	}
	conf.Limiter = server.NewRateLimiter(server.RateLimit{
		Prefixes: s.RateLimitSlots, Interval: s.RateLimitSpacing, Burst: rateBurst, Seed: [2]uint64{seed[0], seed[1]},
	})
	if s.RateLimitKiss {
		conf.KissRate = server.NewKissLimiter(s.RateLimitSlots, [2]uint64{seed[1], seed[0]})
	}
	l := &listener{address: s.Listen}
	l.access.Store(lists)
	l.rules.Store(&s)
	for range runtime.NumCPU() {
		l.counters = append(l.counters, new(server.Counters))
	}
	l.part = program.NewPart("the NTP server on "+s.Listen.String(), logging.Target(d.log, logtarget.Server),
		func() error { return program.Bound(d.bind(l, conf, seed[2]), "listen of [[server]]") }, func(ctx context.Context) error { return d.serve(ctx, l) })
	l.part.Ends = func(err error) bool { return !missing(err) }
	return l, nil
}

// bind opens the sockets of a listener and makes their workers.
func (d *Daemon) bind(l *listener, conf server.Config, seed uint64) error {
	sockets, err := udp.Listen(udp.ListenConfig{
		Address: l.address, Sockets: len(l.counters), V6Only: d.alsoIPv4(l.address),
		Clock: udp.Clock{Now: d.readClock, Map: d.mapStamp}, Waits: &d.waits,
	})
	if err != nil {
		return err
	}
	workers := make([]*worker, 0, len(sockets))
	for i, sock := range sockets {
		nonces := newNonces(d.deps.Rand)
		conf.Rand, conf.Seed, conf.Lead = nonces, seed+uint64(i), new(server.Lead)
		workers = append(workers, &worker{
			socket: sock, counters: l.counters[i], view: &d.view, keys: &d.keySet, access: &l.access, readClock: d.readClock,
			epoch:     d.epoch,
			log:       logging.Target(d.log, logtarget.Server),
			responder: server.NewResponder(conf), lead: conf.Lead, table: conf.Interleaves, nonces: nonces,
		})
	}
	l.workers.Store(&workers)
	l.see(d.log, sockets[0].Absent())
	return nil
}

// serve starts the workers of a listener, which end with ctx, and waits for that. A worker that fails is a bug and ends
// the daemon.
func (d *Daemon) serve(ctx context.Context, l *listener) error {
	workers := *l.workers.Load()
	if ctx.Err() != nil {
		for _, w := range workers {
			_ = w.socket.Close()
		}
		return nil
	}
	for _, w := range workers {
		d.group.start("server "+l.address.String(), w.run)
	}
	<-ctx.Done()
	return nil
}

// see notes whether any interface has the listen address, and says so when that changes. The sockets are bound all the
// same and serve as soon as one has.
func (l *listener) see(log zerolog.Logger, absent bool) {
	if l.absent.Swap(absent) == absent {
		return
	}
	if absent {
		target(log, logtarget.Server).Warn().Stringer("addr", l.address).Msg(noInterface)
	} else {
		target(log, logtarget.Server).Info().Stringer("addr", l.address).Msg("an interface has the listen address, serving")
	}
}

// noInterface says what is wrong with an address that could be bound and that nobody can reach.
const noInterface = "no interface has the listen address; it serves as soon as one has"

// alsoIPv4 reports whether the same port is listened on for all of IPv4 separately, so that an IPv6 wildcard
// socket must not take that traffic.
func (d *Daemon) alsoIPv4(a netip.AddrPort) bool {
	if a.Addr() != netip.IPv6Unspecified() {
		return false
	}
	for _, s := range d.cfg.Servers {
		if s.Listen.Port() == a.Port() && s.Listen.Addr().Is4() {
			return true
		}
	}
	return false
}

// readClock and mapStamp reach the clock through the daemon because the sockets are opened before it.
func (d *Daemon) readClock() ntp.Timestamp { return d.tk.clock.Now() }

func (d *Daemon) mapStamp(kernel ntp.Timestamp) ntp.Timestamp { return d.tk.clock.Map(kernel) }

// epoch asks for the number first, as server.Epoch wants it.
func (d *Daemon) epoch() (e server.Epoch) {
	e.Number = d.tk.clock.Epoch()
	e.Since = d.tk.clock.EpochSince()
	return e
}

func (d *Daemon) seeds() (s [3]uint64, err error) {
	var b [24]byte
	if _, err := io.ReadFull(d.deps.Rand, b[:]); err != nil {
		return s, fmt.Errorf("draw random seed: %w", err)
	}
	for i := range s {
		s[i] = binary.BigEndian.Uint64(b[8*i:])
	}
	return s, nil
}

// watchAddresses owns nothing but its ticker: it looks whether this host has the addresses that are listened on. It stops when
// ctx ends.
func (d *Daemon) watchAddresses(ctx context.Context) error {
	ticker := time.NewTicker(addressInterval)
	defer ticker.Stop()
	for {
		own := resolve.OwnAddresses()
		for _, l := range d.servers {
			a := l.address.Addr().Unmap()
			l.see(d.log, l.part.Down() == nil && !a.IsUnspecified() && !a.IsLoopback() && !slices.Contains(own, a.WithZone("")))
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}
