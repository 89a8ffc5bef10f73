package sim

import (
	"io"
	"net/netip"
	"time"

	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/nts"
	"ntp-daemon/internal/server"
	"ntp-daemon/internal/system"
	"ntp-daemon/internal/timekeeper"
)

// serverWork is the time between a request's arrival and the departure of the reply.
const serverWork = 15 * time.Microsecond

// Reference is a server whose clock is true time plus an error.
type Reference struct {
	node
	Error func(t time.Duration) time.Duration // its clock minus true time
	View  ntp.View
}

// node is anything with an address that may answer requests.
type node struct {
	w         *World
	addr      netip.AddrPort
	responder *server.Responder
	keys      *nts.KeySet
	view      func() *ntp.View
	read      func(t int64) ntp.Timestamp // its clock
	noise     *Expr                       // s, drawn for each request and added to the timestamps of the reply; nil: none
	sending   func() time.Duration        // from the reading of the clock to the departure, for each reply; nil: none
	table     *server.Interleaves         // of the responder; nil: basic answers only

	Served []time.Duration // when requests arrived
}

// answer lets the production server reply to a datagram that arrived at the present moment. The reply leaves after held.
func (n *node) answer(pkt []byte, from netip.AddrPort) (reply []byte, held int64) {
	n.Served = append(n.Served, n.w.Elapsed())
	var noise time.Duration
	if n.noise != nil {
		noise = seconds(n.noise.Next())
	}
	d := server.Datagram{Data: pkt, From: from, To: n.addr, Received: n.read(n.w.now).Add(noise)}
	reply, _ = n.responder.Respond(nil, n.view(), n.keys, &d, func() ntp.Timestamp {
		return n.read(n.w.now).Add(noise + n.w.work)
	})
	held = int64(n.w.work)
	if n.sending != nil {
		held += int64(n.sending())
	}
	if s := n.responder.Sending(); s.Stamped {
		n.w.queue.schedule(n.w.now+held, func() { n.table.Sent(s.ID, n.read(n.w.now).Add(noise)) })
	}
	return reply, held
}

// Interleave makes a reference give interleaved answers to who asks for them, and its replies take sending from the time that
// they tell to the wire.
func (r *Reference) Interleave(sending func() time.Duration) {
	r.sending = sending
	r.table = server.NewInterleaves([2]uint64{r.w.seed, 1})
	r.responder = server.NewResponder(server.Config{Rand: r.w.reader(), Interleaves: r.table})
}

// Client is a node that follows others: the daemon's decisions, timekeeper.Keeper and source.Source, over a simulated
// clock and network.
type Client struct {
	node
	Commands
	osc    *oscillator
	grain  time.Duration // of packet timestamps
	clock  *clock
	keeper *timekeeper.Keeper
	assocs []*association

	published *ntp.View
	report    system.Report // as published
	belief    belief
	tick      uint64 // number of the last Wait: an older tick is void
	stopped   int64  // true time until which the process does not run

	Refused string // why the daemon would have ended
	Notices []system.Notice
}

// now is the clock of timers: it stands while the machine sleeps.
func (c *Client) now() time.Time { return time.Unix(1_000_000, 0).Add(c.clock.monotonic()) }

// run does f when the process runs: now, or when it is continued.
func (c *Client) run(f func()) {
	if c.w.now < c.stopped {
		c.w.queue.schedule(c.stopped, f)
		return
	}
	f()
}

// handle gives one event to the timekeeper and publishes what follows, as the daemon does.
func (c *Client) handle(ev system.Event) {
	if c.Refused != "" {
		return
	}
	fx := c.keeper.Turn(c.now(), ev)
	c.Notices = append(c.Notices, fx.Notices...)
	if fx.View != nil {
		c.published = fx.View
	}
	if fx.Report != nil {
		c.report = *fx.Report
		c.believe()
	}
	if fx.Err != nil {
		c.Refused = fx.Err.Error()
	}
	for _, a := range fx.Advice {
		for _, as := range c.assocs {
			if as.id == a.Source {
				as.advise(a)
			}
		}
	}
	c.w.trace(c.addr, uint64(c.clock.read(c.w.now)), uint64(fx.Wait))
	c.tick++
	n := c.tick
	c.w.queue.schedule(c.w.now+c.osc.wait(int64(fx.Wait)), func() {
		c.run(func() {
			if n == c.tick {
				c.handle(system.Tick{})
			}
		})
	})
}

// Jump is a step of the clock by somebody else, noticed at once.
func (c *Client) Jump(d time.Duration) {
	c.clock.jump(d, 0)
	c.handle(system.Tick{})
}

// Tamper is another program that sets the clock's frequency, s/s; nothing tells of it until somebody looks.
func (c *Client) Tamper(f float64) { c.clock.set(0, f) }

// Deny makes the kernel refuse every write with err; nil ends that.
func (c *Client) Deny(err error) { c.clock.refusal = err }

// Stop keeps the process from running, as SIGSTOP does; clock and network go on.
func (c *Client) Stop(d time.Duration) { c.stopped = c.w.now + int64(d) }

// Suspend puts the machine to sleep for d: nothing runs, the monotonic clock stands, and the clock comes back
// from the hardware clock with the given error.
func (c *Client) Suspend(d, rtcError time.Duration) {
	c.stopped = c.w.now + int64(d)
	c.w.queue.schedule(c.stopped, func() {
		c.clock.jump(rtcError, d)
		c.handle(system.Tick{})
	})
}

// Exit is the orderly end of the daemon.
func (c *Client) Exit() error {
	c.Refused = "ended"
	return c.keeper.Rest()
}

// leap is the end of a day with a leap second, noticed at once by a kernel that was told of it.
func (c *Client) leap(size time.Duration) {
	if c.clock.leap(size) {
		c.handle(system.Tick{})
	}
}

// Report is the one that the daemon would show now.
func (c *Client) Report() system.Report { return c.report }

// Offset is the clock's error now: its reading minus true time.
func (c *Client) Offset() time.Duration {
	return c.clock.read(c.w.now).Sub(c.w.True())
}

// stamp is the reading that a packet gets at true time t.
func (c *Client) stamp(t int64) ntp.Timestamp {
	now := c.clock.read(t)
	if c.grain <= 0 {
		return now
	}
	off := now.Sub(c.w.start) + c.grain/2
	return now.Add(c.grain/2 - off%c.grain)
}

// Frequency is the clock's present rate error, s/s.
func (c *Client) Frequency() float64 { return (1+c.osc.y)*(1+c.clock.freq) - 1 }

// reader makes one random stream an io.Reader.
func (w *World) reader() io.Reader { return w.stream() }
