package sim

import (
	"io"
	"net/netip"
	"time"

	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/nts"
	"ntp-daemon/internal/server"
	"ntp-daemon/internal/system"
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

	Served []time.Duration // when requests arrived
}

// answer lets the production server reply to a datagram that arrived at the present moment.
func (n *node) answer(pkt []byte, from netip.AddrPort) []byte {
	n.Served = append(n.Served, n.w.Elapsed())
	d := server.Datagram{Data: pkt, From: from, To: n.addr, Received: n.read(n.w.now)}
	departure := n.w.now + int64(serverWork)
	reply, _ := n.responder.Respond(nil, n.view(), n.keys, d, func() ntp.Timestamp {
		return n.read(n.w.now).Add(time.Duration(departure - n.w.now))
	})
	return reply
}

// Client is a node that follows others: what the daemon's timekeeper and source tasks do, over simulated clocks.
type Client struct {
	node
	osc    *oscillator
	clock  *clock
	ledger ntp.Ledger
	sys    *system.System
	assocs []*association

	published *ntp.View
	tick      uint64 // number of the last Wait: an older tick is void
	stopped   int64  // true time until which the process does not run
	suspended time.Duration
	mono      time.Time

	Refused string          // reason of a refused step: the daemon would have exited with 70
	Steps   []time.Duration // made by us
	Notices []system.Notice
	Sets    int     // commanded frequencies
	MaxFreq float64 // largest commanded frequency, absolute, s/s
}

// now reads the clock once and places the reading on every scale, as the timekeeper does.
func (c *Client) now() system.Now {
	t := c.clock.read(c.w.now)
	local := time.Duration(c.osc.read(c.w.now))
	return system.Now{Mono: c.mono.Add(local - c.suspended), Local: c.ledger.Local(t), Clock: t, Epoch: c.clock.epoch}
}

// run does f when the process runs: now, or when it is continued.
func (c *Client) run(f func()) {
	if c.w.now < c.stopped {
		c.w.queue.schedule(c.stopped, f)
		return
	}
	f()
}

// handle gives one event to the system process and does what it asks for.
func (c *Client) handle(ev system.Event) {
	if c.Refused != "" {
		return
	}
	if m, ok := ev.(system.Measured); ok {
		if !c.ledger.Place(&m.Measurement) {
			return
		}
		ev = m
	}
	fx := c.sys.Handle(c.now(), ev)
	c.Notices = append(c.Notices, fx.Notices...)
	c.steer(fx.Steer)
	if fx.View != nil {
		c.published = fx.View
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

// steer changes the clock and enters the change in the ledger.
func (c *Client) steer(s system.Steer) {
	var e ntp.LedgerEntry
	switch s.Kind {
	case system.None:
		return
	case system.Refuse:
		c.Refused = s.Reason
		return
	case system.Step:
		c.Steps = append(c.Steps, s.By)
		e = c.clock.change(c.w.now, s.By, c.clock.freq)
	case system.Frequency:
		c.Sets++
		c.MaxFreq = max(c.MaxFreq, s.Target, -s.Target)
		e = c.clock.change(c.w.now, 0, s.Target)
	}
	c.ledger = c.ledger.Append(e, 0)
	c.sys.Applied(c.ledger.Last())
}

// Jump is a step of the clock by somebody else, noticed at once.
func (c *Client) Jump(d time.Duration) {
	e, elapsed := c.clock.jump(c.w.now, d)
	c.ledger = c.ledger.Append(e, elapsed)
	c.sys.Applied(c.ledger.Last())
	c.handle(system.ForeignStep{})
}

// Stop keeps the process from running, as SIGSTOP does; clock and network go on.
func (c *Client) Stop(d time.Duration) { c.stopped = c.w.now + int64(d) }

// Suspend puts the machine to sleep for d: nothing runs, the monotonic clock stands, and the clock comes back
// from the hardware clock with the given error.
func (c *Client) Suspend(d, rtcError time.Duration) {
	c.stopped = c.w.now + int64(d)
	c.w.queue.schedule(c.stopped, func() {
		c.suspended += d
		c.Jump(rtcError)
	})
}

// leap is what a kernel with STA_INS or STA_DEL does at the end of the day, by its own clock, and what
// clock.Kernel makes of it: an entry of known size that is nobody's mistake.
func (c *Client) leap(d time.Duration) {
	if c.published == nil || c.published.Leap == ntp.LeapNone {
		return
	}
	e := c.clock.change(c.w.now, d, c.clock.freq)
	e.Leap = true
	c.ledger = c.ledger.Append(e, 0)
	c.sys.Applied(c.ledger.Last())
	c.handle(system.Tick{})
}

// Report is that of the system process.
func (c *Client) Report() system.Report { return c.sys.Report() }

// Offset is the clock's error now: its reading minus true time.
func (c *Client) Offset() time.Duration {
	return c.clock.read(c.w.now).Sub(c.w.True())
}

// Frequency is the clock's present rate error, s/s.
func (c *Client) Frequency() float64 { return (1+c.osc.y)*(1+c.clock.freq) - 1 }

// reader makes one random stream an io.Reader.
func (w *World) reader() io.Reader { return w.stream() }
