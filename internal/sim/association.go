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
	t1 := ntp.Stamp{Time: c.clock.read(c.w.now), Origin: ntp.OriginKernel}
	req, err := a.src.Poll(c.now(), t1, c.clock.epoch, a.rnd)
	if err == nil {
		a.port++
		from := netip.AddrPortFrom(c.addr.Addr(), 40000+a.port%20000)
		a.send(append([]byte(nil), req.Packet...), from)
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

func (a *association) send(pkt []byte, from netip.AddrPort) {
	w := a.c.w
	d, arrives := a.out.transit(w.now)
	if !arrives {
		return
	}
	w.queue.schedule(w.now+d, func() {
		reply := a.server.answer(pkt, from)
		if reply == nil {
			return
		}
		w.queue.schedule(w.now+int64(serverWork), func() {
			if d, arrives := a.back.transit(w.now); arrives {
				w.queue.schedule(w.now+d, func() { a.arrive(reply) })
			}
		})
	})
}

// arrive stamps a reply when it comes, and judges it when the process runs.
func (a *association) arrive(reply []byte) {
	rx := ntp.Stamp{Time: a.c.clock.read(a.c.w.now), Origin: ntp.OriginKernel}
	a.c.run(func() {
		o := a.src.Receive(a.c.now(), reply, a.server.addr, rx)
		a.Verdicts[o.Verdict]++
		if o.Verdict == source.Accepted {
			a.report()
			o.Measurement.OurRefID = ntp.OwnRefID(a.c.addr.Addr())
			a.c.handle(system.Measured{Measurement: o.Measurement})
		}
		a.arm()
	})
}

// report passes the association's state on.
func (a *association) report() {
	s := a.src.Status()
	a.c.handle(system.Status{ID: a.id, Poll: s.Poll, Reachable: s.Reachable(), Unusable: s.Need.Final()})
}

// startDelay spreads first polls a little, as the supervisor does.
const startDelay = 50 * time.Millisecond
