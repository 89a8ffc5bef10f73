package sim

import (
	"io"
	"net/netip"
	"time"

	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/source"
	"ntp-daemon/internal/system"
)

// association is what a source task does: one production Source, its timer and its packets.
type association struct {
	c      *Client
	id     ntp.SourceID
	src    *source.Source
	server *node
	out    *link // to the server
	back   *link // from the server
	rnd    io.Reader
	timer  uint64
	port   uint16

	Verdicts [64]int
	Sent     int // requests
}

// arm schedules the next poll.
func (a *association) arm() {
	a.timer++
	n := a.timer
	wait := max(a.src.Next().Sub(a.c.now()), 0)
	a.c.w.queue.schedule(a.c.w.now+a.c.osc.wait(int64(wait)), func() {
		a.c.run(func() {
			if n == a.timer && a.c.Refused == "" {
				a.poll()
			}
		})
	})
}

func (a *association) advise(ad ntp.Advice) {
	a.src.Advise(a.c.now(), ad)
	a.arm()
}

// poll sends a request; the transmit stamp is exact, as the kernel's is.
func (a *association) poll() {
	c := a.c
	t1 := ntp.Stamp{Time: c.stamp(c.w.now), Origin: ntp.OriginKernel}
	req, err := a.src.Poll(c.now(), t1, c.clock.epoch, a.rnd)
	if err == nil {
		a.port++
		a.Sent++
		sent := c.osc.read(c.w.now)
		from := netip.AddrPortFrom(c.addr.Addr(), 40000+a.port%20000)
		a.send(append([]byte(nil), req.Packet...), from, sent)
		c.w.queue.schedule(c.w.now+c.osc.wait(int64(req.Deadline.Sub(c.now())))+1, func() { c.run(func() { a.lapse(req.ID) }) })
	}
	a.report()
	a.arm()
}

// lapse closes the window of a request.
func (a *association) lapse(id uint64) {
	if !a.src.Waiting() {
		return
	}
	a.src.Lapse(a.c.now())
	a.report()
	a.arm()
}

// send lets a request go its way; local is when it left, by the bare oscillator.
func (a *association) send(pkt []byte, from netip.AddrPort, local int64) {
	w := a.c.w
	a.out.arrivals(w.now, len(pkt), func(out int64) {
		w.queue.schedule(w.now+out, func() {
			reply, held := a.server.answer(pkt, from)
			if reply == nil {
				return
			}
			w.queue.schedule(w.now+held, func() {
				a.back.arrivals(w.now, len(reply), func(back int64) {
					w.queue.schedule(w.now+back, func() { a.arrive(reply, exchange{left: local, delay: out + back}) })
				})
			})
		})
	})
}

// exchange is what the world knows of a reply.
type exchange struct {
	left  int64 // when its request left, by the client's bare oscillator, ns
	delay int64 // true ns on the way, there and back
}

// arrive stamps a reply when it comes, and judges it when the process runs.
func (a *association) arrive(reply []byte, x exchange) {
	rx := ntp.Stamp{Time: a.c.stamp(a.c.w.now), Origin: ntp.OriginKernel}
	back := a.c.osc.read(a.c.w.now)
	a.c.run(func() {
		o := a.src.Receive(a.c.now(), reply, a.server.addr, rx)
		a.Verdicts[o.Verdict]++
		if o.Verdict == source.Accepted {
			if o.Sample && !o.Measurement.Interleaved {
				a.observe(&o.Measurement, x, back)
			}
			a.report()
			if o.Sample {
				o.Measurement.OurRefID = ntp.OwnRefID(a.c.addr.Addr())
				a.c.handle(system.Measured{Measurement: o.Measurement})
			}
		}
		a.arm()
	})
}

// observe shows a good sample to whoever watches the world.
func (a *association) observe(m *ntp.Measurement, x exchange, back int64) {
	w := a.c.w
	if w.sampled == nil {
		return
	}
	server := m.T2.Time.Sub(w.start)/2 + m.T3.Time.Sub(w.start)/2
	mid := x.left/2 + back/2
	w.sampled(Sample{Source: a.id, Local: time.Duration(mid), Gap: server - time.Duration(mid), Delay: time.Duration(x.delay)})
}

// report passes the association's state on.
func (a *association) report() {
	s := a.src.Status()
	a.c.handle(system.Status{ID: a.id, Poll: s.Poll, Reachable: s.Reachable(), Unusable: s.Need.Final()})
}

// startDelay spreads first polls a little, as the supervisor does.
const startDelay = 50 * time.Millisecond
