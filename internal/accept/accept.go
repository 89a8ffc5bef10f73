package accept

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
)

// Config is what a Loop needs. The zero value of every optional field is useful.
type Config struct {
	// Permits is how many connections are open at one time, at least 1. Released ones do not count. When all
	// are taken, one that is waited for makes room; if there is none, the new one is closed.
	Permits int
	// Waiting is how many of them may be waited for at one time, which bounds the memory that strangers can
	// fill before they have said what they want; 0 is no limit but Permits.
	Waiting int
	// PerPrefix is how many of them one client prefix may have (an IPv4 address, an IPv6 network of PrefixV6
	// bits); 0 is no limit.
	PerPrefix int
	// PrefixV6 is 64 if 0; a pool uses 56, the size that providers hand out.
	PrefixV6 int
	// Exempt names addresses that may connect without prefix limits, such as trusted load balancers. It is called
	// under the loop's lock.
	Exempt func(netip.Addr) bool
	// Timeout is put on every new connection as deadline for reading and writing; 0 is none.
	Timeout time.Duration
	// Drain is how long connections may go on after the end of the context; then they are closed.
	Drain time.Duration
	// Handle serves one connection. The loop closes it afterwards. Its context ends when the loop is asked
	// to stop, which is a request to finish, not an order to break off.
	Handle func(ctx context.Context, c *Conn)
	// Left is called when a listener has been left: nobody more is accepted there, and those who were may go on. May be nil.
	Left func()
	// Threads is how many threads of their own serve the connections, where that is possible: on Linux, if the listener
	// is a TCP socket. Each connection is served by one of them, one at a time, with a niceness of Nice. Handlers must
	// not wait for anything but their connection (Park, Sleep). 0 is a goroutine for each connection.
	Threads int
	Nice    int
	// Turns makes what decides about the turns on one thread; nil is nothing. It is called on that thread.
	Turns func() Turns
	// Log hears of panics, and at most once a minute of accept errors.
	Log zerolog.Logger
}

// Counters is what happened so far.
type Counters struct {
	Accepted uint64 // handed to Handle
	Full     uint64 // closed: no permit, nobody idle
	Prefix   uint64 // closed: prefix over its limit
	Evicted  uint64 // closed while waited for, to make room
	Errors   uint64 // accept errors survived
	Panics   uint64 // panics contained; each is a bug
	Open     int    // connections now, released ones included
	InUse    int    // permits taken now
}

// Loop accepts connections, decides which of them are served, and serves each in a goroutine of its own. One Loop may
// serve several listeners, which share its limits.
//
// A connection is in one of these states:
//
//	waited for  holds a permit and a slot of its prefix; its next step is the peer's, or its turn has not come
//	held        we work for it (Hold): nobody takes its place
//	released    gave permit and slot back (Release) and counts against a limit of its handler's
//	done        its handler has returned; everything is given back and the connection closed
//
// A new connection enters as waited for, if its prefix has a slot free (PerPrefix) and the loop a permit (Permits). At a
// full limit it takes the place of one that is waited for, of the same prefix, or as crowd says; without one it is
// closed at once. So waited for + held ≤ Permits holds at all times, and whoever lets us wait, at whichever step, does
// not keep others out: a byte, or a handshake that is never finished, buys no place (docs/rules/key-exchange.md#places).
//
// An error of Accept that passes is waited out, 5 ms doubling to 1 s; one that says that descriptors or memory are
// short also costs the connection that has been waited for the longest, if that is 500 ms or more (accept(2); rows KS14
// and P08 of docs/scorecard.md hold a server to it). When the context ends, those that wait to be accepted are accepted,
// whoever has not said anything a second after that is closed, and the others get Drain.
type Loop struct {
	cfg      Config
	prefixes prefixes

	accepted, full, prefix, evicted, errors, panics atomic.Uint64

	mu          sync.Mutex // guards what follows and prefixes
	inUse       int
	conns       map[*Conn]struct{}
	waiting     crowd
	lastWarning time.Time // last accept error logged
}

// New makes a loop.
func New(c Config) *Loop {
	c.Permits = max(1, c.Permits)
	if c.PrefixV6 == 0 {
		c.PrefixV6 = 64
	}
	return &Loop{cfg: c, prefixes: newPrefixes(c), conns: map[*Conn]struct{}{}}
}

// Counters reads the counters.
func (l *Loop) Counters() Counters {
	l.mu.Lock()
	open, inUse := len(l.conns), l.inUse
	l.mu.Unlock()
	return Counters{
		Accepted: l.accepted.Load(), Full: l.full.Load(), Prefix: l.prefix.Load(), Evicted: l.evicted.Load(),
		Errors: l.errors.Load(), Panics: l.panics.Load(), Open: open, InUse: inUse,
	}
}

// Serve accepts connections until ctx ends or the listener becomes unusable, which is the only error. It
// closes the listener, lets the connections of this call finish for Config.Drain and returns when all of
// their handlers have.
func (l *Loop) Serve(ctx context.Context, ln net.Listener) error {
	if l.cfg.Threads > 0 {
		if ok, err := l.serveThreads(ctx, ln); ok {
			return err
		}
	}
	woken := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { defer close(woken); wake(ln) })
	defer stop()
	defer ln.Close()
	var handlers sync.WaitGroup
	err := l.accept(ctx, ln, woken, &handlers)
	_ = ln.Close()
	if l.cfg.Left != nil {
		l.cfg.Left()
	}
	l.drain(&handlers)
	return err
}

// deadliner is a listener whose Accept can be ended without closing it.
type deadliner interface{ SetDeadline(time.Time) error }

// wake ends a call of Accept that waits.
func wake(ln net.Listener) {
	if d, ok := ln.(deadliner); !ok || d.SetDeadline(time.Unix(1, 0)) != nil {
		_ = ln.Close()
	}
}

// lastCall takes what waits in the queue of a listener that is about to be closed, which would be reset with it.
func (l *Loop) lastCall(ctx context.Context, ln net.Listener, handlers *sync.WaitGroup) {
	d, ok := ln.(deadliner)
	end := time.Now().Add(queueTotal)
	for range queueLength {
		now := time.Now()
		if !ok || !now.Before(end) || d.SetDeadline(now.Add(queueTime)) != nil {
			return
		}
		c, err := ln.Accept()
		if err != nil {
			return
		}
		l.admit(ctx, c, ln, handlers)
	}
}

// accept owns the listener: it is the only caller of Accept and decides about every new connection. It stops
// when ctx ends, which woken follows, or the listener fails for good.
func (l *Loop) accept(ctx context.Context, ln net.Listener, woken <-chan struct{}, handlers *sync.WaitGroup) error {
	var wait time.Duration
	for {
		c, err := ln.Accept()
		if err == nil {
			wait = 0
			l.admit(ctx, c, ln, handlers)
			continue
		}
		if ctx.Err() != nil {
			<-woken // or it would cut the last call off
			l.lastCall(ctx, ln, handlers)
			return nil
		}
		what := classify(err)
		if what == giveUp {
			return fmt.Errorf("accept on %v: %w", ln.Addr(), err)
		}
		l.errors.Add(1)
		if what == again {
			continue
		}
		if outOfResources(err) {
			l.evict(time.Now()) // one connection less is what helps
		}
		wait = nextPause(wait)
		l.report(ln.Addr(), err, wait)
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// report logs an accept error, at most one per minute.
func (l *Loop) report(on net.Addr, err error, wait time.Duration) {
	l.mu.Lock()
	now := time.Now()
	suppress := now.Sub(l.lastWarning) < time.Minute
	if !suppress {
		l.lastWarning = now
	}
	l.mu.Unlock()
	if !suppress {
		l.cfg.Log.Warn().Str("listener", on.String()).Str("error", err.Error()).
			Str("pause", wait.String()).Msg("cannot accept connections, trying again")
	}
}

// admit takes or sheds a new connection and starts its handler.
func (l *Loop) admit(ctx context.Context, nc net.Conn, ln net.Listener, handlers *sync.WaitGroup) {
	c := &Conn{Conn: Prompt(nc), loop: l, remote: address(nc.RemoteAddr()), since: time.Now(), gone: make(chan struct{})}
	if !l.enter(c) {
		_ = nc.Close()
		return
	}
	l.accepted.Add(1)
	if l.cfg.Timeout > 0 {
		_ = nc.SetDeadline(time.Now().Add(l.cfg.Timeout))
	}
	handlers.Add(1)
	go l.serve(ctx, c, handlers)
}

// serve owns one connection until its handler returns.
func (l *Loop) serve(ctx context.Context, c *Conn, handlers *sync.WaitGroup) {
	defer handlers.Done()
	defer l.leave(c)
	defer c.Conn.Close()
	defer func() {
		if r := recover(); r != nil {
			l.panicked(r, "connection handler panicked")
		}
	}()
	l.cfg.Handle(ctx, c)
}

// panicked notes a panic that was recovered: a safety net, not a means of control. One bug must not take down the other
// connections. The value may hold what the peer sent, hence the quotes.
func (l *Loop) panicked(r any, what string) {
	l.panics.Add(1)
	l.cfg.Log.Error().Str("panic", fmt.Sprintf("%q", fmt.Sprint(r))).Str("stack", string(debug.Stack())).Msg(what)
}

// enter finds a permit for the connection, at the cost of one that is waited for if need be.
func (l *Loop) enter(c *Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	limited := !c.exempt(l.cfg.Exempt)
	key := l.prefixes.of(c.remote)
	if limited && !l.prefixes.room(c.remote) && !l.evictLocked(l.waiting.nextOf(key)) {
		l.prefix.Add(1)
		return false
	}
	if l.inUse >= l.cfg.Permits && !l.evictLocked(l.waiting.next()) {
		l.full.Add(1)
		return false
	}
	if l.cfg.Waiting > 0 && l.waiting.size >= l.cfg.Waiting {
		l.evictLocked(l.waiting.next())
	}
	if limited {
		c.counted = l.prefixes.add(c.remote)
	}
	c.permit = true
	l.inUse++
	l.conns[c] = struct{}{}
	l.waiting.join(c, key, early)
	return true
}

// evict closes the connection that has been waited for the longest, if it had the time to say something.
func (l *Loop) evict(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c := l.waiting.eldest(); c != nil && now.Sub(c.since) >= grace {
		l.evictLocked(c)
	}
}

// evictLocked closes a connection that is waited for and frees what it held; false without one. Its handler sees a
// closed connection and ends by itself.
func (l *Loop) evictLocked(c *Conn) bool {
	if c == nil {
		return false
	}
	l.evicted.Add(1)
	l.closeLocked(c)
	return true
}

// closeLocked frees what a connection held, closes it and tells its handler.
func (l *Loop) closeLocked(c *Conn) {
	l.freeLocked(c)
	c.goneOnce.Do(func() { close(c.gone) }) // first: a handler that wakes up asks for it
	c.abort()
}

// freeLocked gives back permit, prefix slot and place in the crowd, each at most once.
func (l *Loop) freeLocked(c *Conn) {
	if c.permit {
		c.permit = false
		l.inUse--
	}
	if c.counted.IsValid() {
		l.prefixes.remove(c.counted)
		c.counted = netip.Prefix{}
	}
	l.waiting.quit(c)
}

// leave forgets a connection whose handler is done.
func (l *Loop) leave(c *Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.freeLocked(c)
	delete(l.conns, c)
}

// drain closes what has said nothing although it had the time, waits for the handlers and closes what is left after
// Config.Drain. With several listeners on one loop all are expected to stop together.
func (l *Loop) drain(handlers *sync.WaitGroup) {
	now := time.Now()
	l.closeIf(func(c *Conn) bool { return c.permit && !c.spoke.Load() && now.Sub(c.since) >= firstWord })
	done := make(chan struct{})
	go func() { handlers.Wait(); close(done) }()
	silent, end := time.NewTimer(firstWord), time.NewTimer(l.cfg.Drain)
	defer silent.Stop()
	defer end.Stop()
	for {
		select {
		case <-done:
			return
		case <-silent.C:
			l.closeIf(func(c *Conn) bool { return c.permit && !c.spoke.Load() })
		case <-end.C:
			l.closeIf(func(*Conn) bool { return true })
			<-done
			return
		}
	}
}

// closeIf closes the connections that are meant.
func (l *Loop) closeIf(meant func(*Conn) bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.conns {
		if meant(c) {
			l.closeLocked(c)
		}
	}
}
