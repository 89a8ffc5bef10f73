package daemon

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"ntp-daemon/internal/config"
	"ntp-daemon/internal/logging"
	"ntp-daemon/internal/logtarget"
	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/resolve"
	"ntp-daemon/internal/server"
	"ntp-daemon/internal/system"
	"ntp-daemon/internal/udp"
)

const (
	// rateBurst is how many requests a prefix may send at once although rate-limiting-cutoff-ms spaces them: a
	// client's start burst passes (row S14).
	rateBurst = 8
	// nonceBuffer is the random data drawn at once for a worker: one system call per 256 nonces.
	nonceBuffer = 4096
	// addressInterval is how often the host's own addresses are looked at for loop detection.
	addressInterval = 30 * time.Second
)

// listener is one [[server]]: its sockets, one for each CPU, and their counters.
type listener struct {
	address  netip.AddrPort
	workers  []*worker
	counters []*server.Counters
	access   atomic.Pointer[server.Access] // swapped at a reload
}

// openServers binds every listen address and, if there is anybody to serve cookies to, the cookie keys.
func (d *Daemon) openServers() error {
	if len(d.cfg.Servers) > 0 || len(d.cfg.KEServers) > 0 {
		d.keys = &keyring{
			path: d.keyPath(), stale: d.cfg.Keyset.StaleKeys,
			interval: d.cfg.Keyset.RotationInterval, rand: d.deps.Rand, log: d.log,
			set: &d.keySet, rotated: &d.rotated,
		}
		if err := d.keys.load(time.Now()); err != nil {
			return err
		}
	}
	for _, s := range d.cfg.Servers {
		l, err := d.openListener(s)
		if err != nil {
			return err
		}
		d.servers = append(d.servers, l)
	}
	for _, k := range d.cfg.KEServers {
		l, err := d.openKE(k)
		if err != nil {
			return err
		}
		d.ke = append(d.ke, l)
	}
	return nil
}

func (d *Daemon) openListener(s config.Server) (*listener, error) {
	lists, err := server.NewAccess(s.Deny, &s.Allow)
	if err != nil {
		return nil, fmt.Errorf("server %s: %w", s.Listen, err)
	}
	seed, err := d.seeds()
	if err != nil {
		return nil, err
	}
	limiter := server.NewRateLimiter(server.RateLimit{
		Prefixes: s.RateLimitSlots, Interval: s.RateLimitSpacing, Burst: rateBurst, Seed: [2]uint64{seed[0], seed[1]},
	})
	var kisses *server.RateLimiter
	if s.RateLimitKiss {
		kisses = server.NewKissLimiter(s.RateLimitSlots, [2]uint64{seed[1], seed[0]})
	}
	sockets, err := udp.Listen(udp.ListenConfig{
		Address: s.Listen, Sockets: runtime.NumCPU(), V6Only: d.alsoIPv4(s.Listen),
		Clock: udp.Clock{Now: d.readClock, Map: d.mapStamp},
	})
	if err != nil {
		return nil, err
	}
	l := &listener{address: s.Listen}
	l.access.Store(lists)
	for i, sock := range sockets {
		conf := s.Responder
		conf.Access, conf.Limiter, conf.KissRate = lists, limiter, kisses
		conf.Rand, conf.Seed = bufio.NewReaderSize(d.deps.Rand, nonceBuffer), seed[2]+uint64(i)
		c := new(server.Counters)
		l.counters = append(l.counters, c)
		l.workers = append(l.workers, &worker{
			socket: sock, counters: c, view: &d.view, keys: &d.keySet, access: &l.access, readClock: d.readClock,
			log:       logging.Target(d.log, logtarget.Server),
			responder: server.NewResponder(conf),
		})
	}
	return l, nil
}

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

func (l *listener) close() {
	for _, w := range l.workers {
		_ = w.socket.Close()
	}
}

// watchAddresses owns nothing but its ticker: it tells the system process the host's addresses, so that a source
// that follows us is recognised (row C27). It stops when ctx ends.
func (d *Daemon) watchAddresses(ctx context.Context) error {
	ticker := time.NewTicker(addressInterval)
	defer ticker.Stop()
	for {
		// Loopback is left out: a daemon on this host that is asked through 127.0.0.1 is another daemon, not us.
		own := slices.DeleteFunc(resolve.OwnAddresses(), netip.Addr.IsLoopback)
		select {
		case d.tk.inbox <- message(system.Addresses{List: own}):
		case <-ctx.Done():
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}
