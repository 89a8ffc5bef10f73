package loadgen

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net/netip"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// Load is requests for the time.
type Load struct {
	Target netip.AddrPort
	Rate   float64 // requests per second, whatever the server does; 0: as fast as it answers
	Window int     // without a rate: how many requests are under way
	Burst  int     // requests sent at one time, 1 to 64
	Ports  int     // source ports
	// From makes each port another address, the first ones of this prefix, which the host must have; not valid: it chooses one for all.
	From        netip.Prefix
	Interleaved bool // after its first answer, each of 512 clients asks for its transmit stamp
	NTS         *Exchange
	WarmUp      time.Duration // sent before the measurement
	Length      time.Duration // of the measurement
	PIDs        []int         // the server's processes
}

const (
	plainPlaces = 1 << 17
	// interleavedPlaces are so many clients, in equal parts at the addresses of the ports: what a server may be asked to remember.
	interleavedPlaces = 1 << 9
	// drain is how long answers are waited for after the last request.
	drain = 100 * time.Millisecond
)

// errLoad says which setting cannot be.
var errLoad = errors.New("impossible load")

// valid looks at the settings.
func (l *Load) valid() error {
	switch {
	case l.Burst < 1 || l.Burst > batch:
		return fmt.Errorf("%w: bursts of 1 to %d", errLoad, batch)
	case l.Ports < 1 || l.Ports > 256:
		return fmt.Errorf("%w: 1 to 256 source ports", errLoad)
	case l.Rate <= 0 && (l.Window < l.Burst || l.Window > interleavedPlaces/2):
		return fmt.Errorf("%w: a window from one burst to %d", errLoad, interleavedPlaces/2)
	case l.NTS != nil && l.Interleaved:
		return fmt.Errorf("%w: requests with NTS are made in advance and cannot be interleaved", errLoad)
	case l.From.IsValid() && (l.From.Addr().Is4() != l.Target.Addr().Is4() || uint64(l.Ports) > addresses(l.From)):
		return fmt.Errorf("%w: an address of the target's family for each of the ports", errLoad)
	case l.From.IsValid() && l.Interleaved && interleavedPlaces%(l.Burst*l.Ports) != 0:
		return fmt.Errorf("%w: %d clients in bursts of %d change between %d addresses", errLoad, interleavedPlaces, l.Burst, l.Ports)
	case !l.Target.IsValid(), l.Length <= 0:
		return fmt.Errorf("%w: a target and a length", errLoad)
	}
	return nil
}

// addresses is how many there are in a prefix, 2^32 at most.
func addresses(p netip.Prefix) uint64 { return 1 << min(32, p.Addr().BitLen()-p.Bits()) }

// generator is one run.
type generator struct {
	*Load
	judge
	wire  *wire
	ports []port
	turn  int // the port that sends next
	began time.Time
	pace  pace
	win   window
}

// Run sends and receives. With NTS a key exchange comes first, whose error it returns.
func (l *Load) Run(ctx context.Context) (Result, error) {
	if err := l.valid(); err != nil {
		return Result{}, err
	}
	g, err := l.prepare(ctx)
	if err != nil {
		return Result{}, err
	}
	defer g.close()
	return g.run(ctx), nil
}

// prepare opens the ports and makes the requests.
func (l *Load) prepare(ctx context.Context) (*generator, error) {
	size := plainPlaces
	switch {
	case l.NTS != nil:
		size = ntsPlaces
	case l.Interleaved:
		size = interleavedPlaces
	}
	g := &generator{
		Load: l, wire: newWire(), began: time.Now(), pace: pace{rate: l.Rate, burst: l.Burst}, win: window{most: l.Window, burst: l.Burst},
		judge: judge{places: newPlaces(size, mathrand.Uint64())},
	}
	if l.NTS != nil {
		k, err := l.NTS.run(ctx)
		if err != nil {
			return nil, fmt.Errorf("key exchange: %w", err)
		}
		if g.nts, err = associate(k, g.places, rand.Reader); err != nil {
			return nil, err
		}
	}
	from := l.From.Masked().Addr()
	for range l.Ports {
		p, err := open(from, l.Target)
		from = from.Next()
		if err != nil {
			g.close()
			return nil, err
		}
		g.ports = append(g.ports, p)
	}
	return g, nil
}

func (g *generator) close() {
	for _, p := range g.ports {
		_ = unix.Close(p.fd)
	}
}

// now is the time since the start, on the monotonic clock.
func (g *generator) now() time.Duration { return time.Since(g.began) }

// run owns everything of the generator, on a thread of its own that never sleeps while it measures. It stops when the
// length is over or ctx ends.
func (g *generator) run(ctx context.Context) Result {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	g.spin(ctx, g.WarmUp)
	before, usedBefore := g.Counts, ReadUsage(g.PIDs)
	g.judge.took, g.judge.since = histogram{}, g.now()
	g.pace = pace{rate: g.Rate, burst: g.Burst}
	took := g.spin(ctx, g.Length)
	at, usedAfter := g.Counts, ReadUsage(g.PIDs)
	for end := g.now() + drain; g.now() < end; {
		g.receive()
	}
	// Whoever answered during the measurement, even to the warm-up's last requests, had the cost of it.
	during := at.minus(before)
	r := Result{
		Seconds: took.Seconds(), Counts: g.Counts.minus(before), PerSecond: float64(during.Valid) / took.Seconds(),
		Latency: g.judge.took.latency(), Server: cost(g.PIDs, usedBefore, usedAfter, during.Valid+during.Early, took),
	}
	if r.Sent > r.Valid {
		r.Lost = r.Sent - r.Valid
	}
	return r
}

// spin sends what is due and receives, for so long.
func (g *generator) spin(ctx context.Context, length time.Duration) (took time.Duration) {
	began := g.now()
	g.win.heard = began
	for ctx.Err() == nil {
		now := g.now()
		if took = now - began; took >= length {
			return took
		}
		if n := g.due(now, took); n > 0 {
			g.send(n)
		}
		g.receive()
	}
	return took
}

// due is how many requests to send now.
func (g *generator) due(now, elapsed time.Duration) int {
	if g.Rate > 0 {
		n, late := g.pace.due(elapsed)
		g.Late += uint64(late)
		return n
	}
	n, renewed := g.win.due(now)
	if renewed {
		g.Renewed++
	}
	return n
}

// send sends one burst from the next port.
func (g *generator) send(n int) {
	first, now := g.places.next, g.now()
	for i := range n {
		g.put(i, now)
	}
	p := &g.ports[g.turn]
	g.turn = (g.turn + 1) % len(g.ports)
	sent := g.wire.send(p.fd, n)
	for i := sent; i < n; i++ {
		g.places.list[(first+uint64(i))&uint64(len(g.places.list)-1)].open = false
	}
	g.Sent += uint64(sent)
	g.Unsent += uint64(n - sent)
	p.underWay += sent
	g.win.sent(sent)
}

// put makes the i-th request of a burst.
func (g *generator) put(i int, now time.Duration) {
	if g.nts != nil {
		b := g.nts.requests[g.places.next&uint64(len(g.places.list)-1)]
		g.places.take(now, binary.BigEndian.Uint64(b[atTransmit:]))
		g.wire.put(i, b)
		return
	}
	pl, b := g.places.take(now, 0), g.wire.plain[i][:]
	var origin uint64
	if g.Interleaved {
		if g.places.interleave(pl); pl.receive != 0 {
			origin = pl.server
		}
	}
	binary.BigEndian.PutUint64(b[atOrigin:], origin)
	binary.BigEndian.PutUint64(b[atReceive:], pl.receive)
	binary.BigEndian.PutUint64(b[atTransmit:], pl.transmit)
	g.wire.put(i, b)
}

// receive judges what has come at all ports that wait for something.
func (g *generator) receive() {
	for i := range g.ports {
		p := &g.ports[i]
		for p.underWay > 0 {
			n := g.wire.receive(p.fd)
			if n == 0 {
				break
			}
			now := g.now()
			for k := range n {
				g.answer(g.wire.datagram(k), now)
			}
			p.underWay -= n
			g.win.answered(n, now)
			if n < batch {
				break
			}
		}
	}
}
