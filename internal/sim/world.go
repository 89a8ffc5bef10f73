package sim

import (
	"encoding/binary"
	"hash"
	"hash/fnv"
	"math/rand/v2"
	"net/netip"
	"time"

	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/server"
	"ntp-daemon/internal/source"
	"ntp-daemon/internal/system"
	"ntp-daemon/internal/timekeeper"
)

// World is the virtual world.
type World struct {
	queue   queue
	now     int64 // true ns since the start
	seconds int64 // whole seconds that were looked at
	start   ntp.Timestamp
	leap    time.Duration // added to true time by leap seconds so far
	seed    uint64
	streams uint64
	hash    hash.Hash64

	References []*Reference
	Clients    []*Client
	nextID     ntp.SourceID
	records    []Record
	work       time.Duration // between a request's arrival at a server and the departure of the reply

	second  func()       // called at each whole second instead of recording the first client; nil: record it
	sampled func(Sample) // called with each sample that a client accepts; may be nil
}

// Sample is what one exchange tells of the client's bare oscillator.
type Sample struct {
	Source ntp.SourceID
	Local  time.Duration // since the start, by the bare oscillator, at half way between request and reply
	Gap    time.Duration // the server's time minus Local
	Delay  time.Duration // true time on the way, there and back
}

// Record is the state of the first client at one whole second.
type Record struct {
	Offset    time.Duration // clock minus true time
	Frequency float64       // s/s, slewing included
	Bound     time.Duration // root distance served
	State     system.State
}

// New returns an empty world that begins at the given date.
func New(seed uint64, start time.Time) *World {
	return &World{seed: seed, start: ntp.FromTime(start), hash: fnv.New64a(), work: serverWork}
}

// stream returns a random stream of its own.
func (w *World) stream() *rand.ChaCha8 {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], w.seed)
	binary.LittleEndian.PutUint64(key[8:], w.streams)
	w.streams++
	return rand.NewChaCha8(key)
}

// pcg returns a random generator of its own.
func (w *World) pcg() *rand.Rand {
	w.streams++
	return rand.New(rand.NewPCG(w.seed, w.streams))
}

// True is the present true UTC.
func (w *World) True() ntp.Timestamp { return w.at(w.now) }

func (w *World) at(t int64) ntp.Timestamp { return w.start.Add(time.Duration(t) + w.leap) }

// Elapsed is the time since the start.
func (w *World) Elapsed() time.Duration { return time.Duration(w.now) }

// trace enters something that happened in the world's hash.
func (w *World) trace(who netip.AddrPort, values ...uint64) {
	var b [8]byte
	put := func(v uint64) {
		binary.LittleEndian.PutUint64(b[:], v)
		w.hash.Write(b[:])
	}
	put(uint64(w.now))
	put(uint64(who.Port()))
	for _, v := range values {
		put(v)
	}
}

// Hash identifies everything that happened so far.
func (w *World) Hash() uint64 { return w.hash.Sum64() }

// After does something at a time since the start.
func (w *World) After(d time.Duration, do func()) { w.queue.schedule(int64(d), do) }

// RunFor lets the world run, recording the first client once per second.
func (w *World) RunFor(d time.Duration) {
	end := w.now + int64(d)
	for {
		second := (w.seconds + 1) * second
		if e, ok := w.queue.next(min(end, second)); ok {
			w.now = e.at
			e.do()
			continue
		}
		if second > end {
			w.now = end
			return
		}
		w.now = second
		w.seconds++
		if w.second != nil {
			w.second()
		} else {
			w.record()
		}
	}
}

func (w *World) record() {
	var r Record
	if len(w.Clients) > 0 {
		c := w.Clients[0]
		v := c.published
		r = Record{Offset: c.Offset(), Frequency: c.Frequency(), State: c.report.State}
		if v != nil {
			r.Bound = v.RootDelay/2 + v.RootDispersion(c.clock.read(w.now))
		}
	}
	w.records = append(w.records, r)
}

// leapAt announces a leap second of the given sign from the start on, lets all references count it at d, and
// the clients' kernels too if they were told.
func (w *World) leapAt(d, size time.Duration) {
	for _, r := range w.References {
		r.View.Leap = ntp.LeapInsert
		if size > 0 {
			r.View.Leap = ntp.LeapDelete
		}
	}
	if size > 0 {
		d -= size // the day is shorter
	}
	w.After(d, func() {
		w.leap += size
		for _, r := range w.References {
			r.View.Leap = ntp.LeapNone
		}
		for _, c := range w.Clients {
			c.leap(size)
		}
	})
}

// AddReference adds a stratum 1 server with a constant clock error.
func (w *World) AddReference(err time.Duration) *Reference {
	n := byte(len(w.References) + 1)
	r := &Reference{
		Error: func(time.Duration) time.Duration { return err },
		View: ntp.View{
			Stratum: 1, RefID: ntp.RefIDFromString("GPS"), Dispersion: 2 * time.Microsecond, Precision: -23,
			Wander: 1e-12, Synchronized: true,
		},
	}
	r.node = node{
		w: w, addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, n}), 123),
		responder: server.NewResponder(server.Config{Rand: w.reader()}),
		read: func(t int64) ntp.Timestamp {
			return w.at(t).Add(r.Error(time.Duration(t)))
		},
	}
	r.view = func() *ntp.View {
		v := r.View
		v.Reference = r.read(w.now)
		return &v
	}
	w.References = append(w.References, r)
	return r
}

// Machine describes a client's hardware and system process.
type Machine struct {
	Offset    time.Duration // clock minus true time at the start
	Frequency float64       // of the oscillator, s/s: positive runs fast
	Wander    float64       // s/s per sqrt(s)
	Rate      *Expr         // of the oscillator at each whole second, s/s, in place of Frequency and Wander; nil: those
	Grain     time.Duration // resolution of the timestamps of packets; 0: full
	System    system.Params
}

// AddClient adds a client; its sources come with Connect.
func (w *World) AddClient(m Machine) *Client {
	n := byte(len(w.Clients) + 1)
	osc := newOscillator(m.Frequency, m.Wander, w.pcg())
	osc.read(w.now)
	if m.Rate != nil {
		osc.drive(m.Rate, nil)
	}
	c := &Client{osc: osc, grain: m.Grain}
	c.clock = newClock(osc, func() int64 { return w.now }, w.True().Add(m.Offset), &c.Commands)
	c.keeper = timekeeper.New(c.clock, 0, m.System)
	c.node = node{
		w: w, addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, n}), 123),
		responder: server.NewResponder(server.Config{Rand: w.reader()}),
		view:      func() *ntp.View { return c.published },
		read:      func(t int64) ntp.Timestamp { return c.clock.read(t) },
	}
	w.Clients = append(w.Clients, c)
	c.handle(system.Tick{}) // the first turn, before anything is heard
	return c
}

// Path is both directions between a client and a server.
type Path struct{ Out, Back Link }

// Connect makes c poll a server from now on and returns the source's identity.
func (w *World) Connect(c *Client, s *node, p Path, cfg source.Config) ntp.SourceID {
	w.nextID++
	a := &association{
		c: c, id: w.nextID, server: s, rnd: w.reader(),
		out: &link{Link: p.Out, rng: w.pcg()}, back: &link{Link: p.Back, rng: w.pcg()},
	}
	cfg.ID, cfg.Server = a.id, s.addr
	cfg.Delay = startDelay * time.Duration(1+len(c.assocs)%8)
	a.src = source.New(cfg, c.now())
	c.assocs = append(c.assocs, a)
	c.handle(system.Added{ID: a.id, Name: s.addr.String(), Address: s.addr})
	a.arm()
	return a.id
}
