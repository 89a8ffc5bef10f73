package faultnet

import (
	"container/heap"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ntp-daemon/internal/suite"
)

const (
	seedEnv   = "FAULTNET_SEED"
	tunPath   = "/dev/net/tun"
	tunDevice = unix.IFNAMSIZ - 1 // longest name
	device    = "fault0"
	// maxPacket is what one read takes.
	maxPacket = 65536
	// maxQueued bounds the packets on their way in one direction.
	maxQueued = 1 << 16
)

// Verdict is what a hook says about a packet.
type Verdict uint8

// The verdicts of a hook.
const (
	Pass Verdict = iota // on to the link, as the hook left it
	Drop
)

// Hook sees every packet before the link does, may change it and may Inject others. Calls of one direction come one
// after the other; those of the two directions may come at the same time.
type Hook func(r *Router, p *Packet) Verdict

// Pair is a path.
type Pair struct{ Out, Back Link }

// Config is a network.
type Config struct {
	Near, Far []string // IPv4 or IPv6 addresses of the two namespaces; the first of Near is the source of its packets
	Pair               // the path to every far address that has none of its own
	Paths     map[string]Pair
	Hook      Hook
	Seed      uint64 // 0: from FAULTNET_SEED, or drawn
}

// Counters count packets.
type Counters struct{ Seen, Dropped, Duplicated, Corrupted, Refused, Injected, Delivered int }

// Router joins two namespaces. It lives as long as the test.
type Router struct {
	Seed uint64

	t     testing.TB
	ends  [2]*end // where the packets of a direction leave: ends[Out] is the far namespace
	ready sync.WaitGroup

	mu    sync.Mutex
	hook  Hook
	def   Pair
	paths map[netip.Addr]Pair
	dice  map[flow]*dice
	count [2]Counters
}

// flow is what has random numbers of its own.
type flow struct {
	far netip.Addr // of a path of its own; invalid: the default path
	dir Direction
	udp bool
}

// New joins the namespaces near and far with one TUN device each and routes everything between them.
func New(t testing.TB, near, far *suite.Namespace, c Config) *Router {
	t.Helper()
	r := &Router{t: t, Seed: seed(t, c.Seed), hook: c.Hook, def: c.Pair, paths: map[netip.Addr]Pair{}, dice: map[flow]*dice{}}
	for a, p := range c.Paths {
		r.paths[netip.MustParseAddr(a)] = p
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("faultnet: %s=%d repeats these decisions; packets out %+v, back %+v", seedEnv, r.Seed, r.Counters(Out), r.Counters(Back))
		}
	})
	r.ends[Back] = newEnd(t, near, c.Near)
	r.ends[Out] = newEnd(t, far, c.Far)
	for dir, from := range [2]*end{Out: r.ends[Back], Back: r.ends[Out]} {
		r.ready.Go(func() { r.read(Direction(dir), from) })
		r.ready.Go(r.ends[dir].deliver)
	}
	t.Cleanup(func() {
		for _, e := range r.ends {
			e.close()
		}
		r.ready.Wait()
	})
	return r
}

// seed decides the seed of a run.
func seed(t testing.TB, fixed uint64) uint64 {
	if s := os.Getenv(seedEnv); s != "" {
		v, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatalf("%s: %v", seedEnv, err)
		}
		return v
	}
	if fixed != 0 {
		return fixed
	}
	return rand.Uint64()
}

// SetHook replaces the hook.
func (r *Router) SetHook(h Hook) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hook = h
}

// SetPath replaces the default path.
func (r *Router) SetPath(p Pair) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.def = p
}

// SetPathTo replaces the path to one far address.
func (r *Router) SetPathTo(far string, p Pair) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.paths[netip.MustParseAddr(far)] = p
}

// Counters reads the counters of one direction.
func (r *Router) Counters(d Direction) Counters {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.count[d]
}

// Inject sends a whole IP packet in a direction after a while. Neither hook nor link see it.
func (r *Router) Inject(d Direction, pkt []byte, after time.Duration) {
	r.mu.Lock()
	r.count[d].Injected++
	r.mu.Unlock()
	r.ends[d].send(pkt, time.Now().Add(after))
}

// read takes packets of one direction from their origin until the device closes.
func (r *Router) read(d Direction, from *end) {
	buf := make([]byte, maxPacket)
	for {
		n, err := from.tun.Read(buf)
		if err != nil {
			if errors.Is(err, os.ErrClosed) {
				return
			}
			continue // the device is down for a moment
		}
		r.route(&Packet{Data: append([]byte(nil), buf[:n]...), Dir: d})
	}
}

// route decides about one packet.
func (r *Router) route(p *Packet) {
	now := time.Now()
	r.mu.Lock()
	r.count[p.Dir].Seen++
	hook := r.hook
	r.mu.Unlock()
	if hook != nil && hook(r, p) == Drop {
		r.tally(p.Dir, func(c *Counters) { c.Dropped++ })
		return
	}
	link, f, ok := r.draw(p, now)
	switch {
	case !ok || f.drop || link.Dark:
		r.tally(p.Dir, func(c *Counters) { c.Dropped++ })
		return
	case link.MaxNTP > 0 && len(p.NTP()) > link.MaxNTP:
		r.tally(p.Dir, func(c *Counters) { c.Refused++ })
		return
	case link.MTU > 0 && len(p.Data) > link.MTU:
		r.tooBig(p, link.MTU, now.Add(f.delay))
		return
	}
	if f.corrupt && corrupt(p.Data, f.flip, link.FixSum) {
		r.tally(p.Dir, func(c *Counters) { c.Corrupted++ })
	}
	r.ends[p.Dir].send(p.Data, now.Add(f.delay))
	if f.copyAfter > 0 {
		r.tally(p.Dir, func(c *Counters) { c.Duplicated++ })
		r.ends[p.Dir].send(p.Data, now.Add(f.delay+f.copyAfter))
	}
	r.tally(p.Dir, func(c *Counters) { c.Delivered++ })
}

// draw finds the link of a packet and its fate on it; false if the queue is full.
func (r *Router) draw(p *Packet, now time.Time) (Link, fate, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	pair, own := r.paths[p.Far()]
	key := flow{dir: p.Dir, udp: p.IsUDP()}
	if own {
		key.far = p.Far()
	} else {
		pair = r.def
	}
	link := pair.Out
	if p.Dir == Back {
		link = pair.Back
	}
	if !link.All && !key.udp {
		link.Loss, link.Duplicate, link.Reorder, link.Corrupt = 0, 0, 0, 0
	}
	d := r.dice[key]
	if d == nil {
		d = newDice(r.Seed, key.stream())
		r.dice[key] = d
	}
	f := d.next(&link)
	wait, ok := d.queue(&link, now, len(p.Data))
	f.delay += wait
	return link, f, ok
}

// stream selects the random numbers of a flow.
func (f flow) stream() uint64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%v %v %v", f.far, f.dir, f.udp)
	return h.Sum64()
}

func (r *Router) tally(d Direction, f func(*Counters)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(&r.count[d])
}

// tooBig cuts a packet, or tells its sender why it cannot pass.
func (r *Router) tooBig(p *Packet, mtu int, at time.Time) {
	r.tally(p.Dir, func(c *Counters) { c.Refused++ })
	if parts := fragment(p.Data, mtu); parts != nil {
		for _, f := range parts {
			r.ends[p.Dir].send(f, at)
		}
		return
	}
	if src, dst := addrs(p.Data); src.Is4() {
		r.ends[1-p.Dir].send(Unreachable(RouterAddr, CodeFragNeeded, uint16(mtu), p.Data), at)
	} else {
		r.ends[1-p.Dir].send(PacketTooBig(dst, uint32(mtu), p.Data), at) // the router has no IPv6 address of its own
	}
}

// corrupt flips one bit behind the ports; false if the packet has nothing there.
func corrupt(b []byte, flip uint64, fix bool) bool {
	_, at, proto, ok := layout(b)
	if ok && proto == protoUDP {
		at += udpHeader
	} else {
		at += ip4Header // a TCP header's worth
	}
	if !ok || at >= len(b) {
		return false
	}
	bit := int(flip % uint64(8*(len(b)-at)))
	b[at+bit/8] ^= 1 << (bit % 8)
	if fix {
		FixChecksum(b)
	}
	return true
}

// end is the router's place in one namespace: a device, and the packets on their way to it.
type end struct {
	tun *os.File

	mu     sync.Mutex
	queue  flight
	seq    uint64
	wake   chan struct{}
	closed bool
}

// newEnd makes the device, gives it the addresses, and routes everything to it.
func newEnd(t testing.TB, n *suite.Namespace, addresses []string) *end {
	t.Helper()
	if err := haveTUN(); err != nil {
		t.Skipf("skipped: no TUN devices: %v", err)
	}
	e := &end{wake: make(chan struct{}, 1)}
	err := In(n, func() (err error) {
		if e.tun, err = openTUN(device); err != nil {
			return err
		}
		for _, kv := range [][2]string{
			{"ipv6/conf/" + device + "/accept_dad", "0"}, {"ipv6/conf/" + device + "/router_solicitations", "0"},
			{"ipv4/conf/all/rp_filter", "0"}, {"ipv4/conf/default/rp_filter", "0"}, {"ipv4/conf/" + device + "/rp_filter", "0"},
			{"ipv4/icmp_ratelimit", "0"},
		} {
			_ = os.WriteFile("/proc/sys/net/"+kv[0], []byte(kv[1]), 0) // without IPv6 some of them are not there
		}
		return nil
	})
	if err != nil {
		t.Skipf("skipped: no TUN device: %v", err)
	}
	for _, a := range addresses {
		addr := netip.MustParseAddr(a)
		args := []string{"addr", "add", netip.PrefixFrom(addr, addr.BitLen()).String(), "dev", device}
		if addr.Is6() {
			args = append(args, "nodad")
		}
		n.IP(args...)
	}
	n.IP("link", "set", device, "up")
	n.IP("route", "add", "default", "dev", device)
	for _, a := range addresses {
		if netip.MustParseAddr(a).Is6() {
			n.IP("-6", "route", "add", "default", "dev", device)
			break
		}
	}
	return e
}

// haveTUN makes the device node if it is missing.
func haveTUN() error {
	if _, err := os.Stat(tunPath); err == nil {
		return nil
	}
	if err := os.MkdirAll("/dev/net", 0o755); err != nil {
		return err
	}
	return unix.Mknod(tunPath, unix.S_IFCHR|0o600, int(unix.Mkdev(10, 200)))
}

// openTUN makes a TUN device in the namespace of this thread.
func openTUN(name string) (*os.File, error) {
	fd, err := unix.Open(tunPath, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	req, err := unix.NewIfreq(name[:min(len(name), tunDevice)])
	if err == nil {
		req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("make TUN device: %w", err)
	}
	return os.NewFile(uintptr(fd), tunPath), nil
}

// send puts a packet on its way; it arrives at the given time, those with the same time in the order of sending.
func (e *end) send(b []byte, at time.Time) {
	e.mu.Lock()
	if len(e.queue) < maxQueued && !e.closed {
		e.seq++
		heap.Push(&e.queue, inFlight{at: at, seq: e.seq, data: append([]byte(nil), b...)})
	}
	e.mu.Unlock()
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// deliver hands packets to the namespace when their time has come, until the end closes.
func (e *end) deliver() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		e.mu.Lock()
		wait := time.Hour
		for len(e.queue) > 0 {
			if wait = time.Until(e.queue[0].at); wait > 0 {
				break
			}
			_, _ = e.tun.Write(heap.Pop(&e.queue).(inFlight).data)
			wait = time.Hour
		}
		closed := e.closed
		e.mu.Unlock()
		if closed {
			return
		}
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-e.wake:
		}
	}
}

func (e *end) close() {
	e.mu.Lock()
	e.closed = true
	e.mu.Unlock()
	_ = e.tun.Close()
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// inFlight is a packet on its way.
type inFlight struct {
	at   time.Time
	seq  uint64
	data []byte
}

// flight is a heap of packets, the next to arrive first.
type flight []inFlight

func (f flight) Len() int { return len(f) }
func (f flight) Less(i, j int) bool {
	if f[i].at.Equal(f[j].at) {
		return f[i].seq < f[j].seq
	}
	return f[i].at.Before(f[j].at)
}
func (f flight) Swap(i, j int) { f[i], f[j] = f[j], f[i] }

// Push and Pop are for container/heap.
func (f *flight) Push(x any) { *f = append(*f, x.(inFlight)) }

// Pop takes the last element.
func (f *flight) Pop() any {
	old := *f
	x := old[len(old)-1]
	*f = old[:len(old)-1]
	return x
}
