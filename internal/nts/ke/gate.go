package ke

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"sync"
	"time"
)

// What a TLS record that begins a connection looks like (RFC 8446 §5.1, §4).
const (
	recordHeader    = 5
	recordHandshake = 22
	clientHello     = 1
	longestRecord   = 1 << 14
	// helloBuffer is room for a ClientHello with the key of a hybrid, which is then read in one piece.
	helloBuffer = 2 << 10
)

// Why a connection does not come to its handshake.
var (
	errNotHello = errors.New("the peer does not begin with a TLS ClientHello")
	// ErrOverBudget says that the budget of handshakes was used up for longer than a peer should wait.
	ErrOverBudget = errors.New("too many handshakes for the processor time that is set aside for them")
	// ErrLeft says that the peer was no longer there when its turn had come.
	ErrLeft = errors.New("the peer left before its turn")
)

// Gate limits how many handshakes compute at one time, so that a flood of them leaves a processor to those who answer
// NTP (row KS18), and decides in which order (see line). A handshake that waits for its peer holds no place: places are
// held from the end of a read to the start of the next read or write, so nobody can keep one by being slow. What is
// computed is worth it: a place is asked for when the ClientHello is there as a whole, and given up at once if the peer has
// left meanwhile (docs/rules/key-exchange.md#turns). Safe for concurrent use.
type Gate struct {
	mu    sync.Mutex // guards line and armed
	line  line
	armed bool // wake is going to be called
	start time.Time
}

// NewGate makes a gate with so many places; with 0 it leaves one processor free, if there is more than one.
func NewGate(places int) *Gate {
	if places == 0 {
		places = max(1, runtime.GOMAXPROCS(0)-1)
	}
	return &Gate{start: time.Now(), line: newLine(places)}
}

// places is who gives places to handshakes: a Gate, or the desk of a thread.
type places interface {
	// enter waits for a place and fails if the connection ends or its deadline comes before.
	enter(t *ticket, c *GatedConn) error
	// leave gives a place back.
	leave(t *ticket)
	// note changes the standing of a prefix.
	note(prefix netip.Prefix, change func(*standing))
}

// gatePeer is what a gate wants to know of a connection; an *accept.Conn tells it. Others have no prefix, and stay.
type gatePeer interface {
	Prefix() netip.Prefix
	Gone() <-chan struct{}
	Present() bool
}

// Conn puts a connection behind the gate until Done. During that time one goroutine at a time may read or write,
// which is how crypto/tls does a handshake; Close may come from any.
func (g *Gate) Conn(c net.Conn) *GatedConn { return newGated(c, g) }

func newGated(c net.Conn, places places) *GatedConn {
	p, _ := c.(gatePeer)
	return &GatedConn{Conn: c, places: places, peer: p, gated: true, closed: make(chan struct{})}
}

// enter waits for a place.
func (g *Gate) enter(t *ticket, c *GatedConn) error {
	t.ready = make(chan struct{})
	g.mu.Lock()
	g.line.join(t, time.Since(g.start))
	g.serve()
	g.mu.Unlock()
	var gone <-chan struct{}
	if c.peer != nil {
		gone = c.peer.Gone()
	}
	select {
	case <-t.ready: // as it is most of the time
		return nil
	default:
		t.queued = true
	}
	var late <-chan time.Time
	if !c.readBy.IsZero() {
		timer := time.NewTimer(time.Until(c.readBy))
		defer timer.Stop()
		late = timer.C
	}
	err := net.ErrClosed
	select {
	case <-t.ready:
		return nil
	case <-late:
		err = os.ErrDeadlineExceeded
	case <-gone:
	case <-c.closed:
	}
	g.mu.Lock()
	waiting := g.line.quit(t)
	g.mu.Unlock()
	if !waiting {
		return nil // the place has come at the same moment
	}
	return err
}

// leave gives a place back.
func (g *Gate) leave(t *ticket) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.line.leave(t, time.Since(g.start))
	g.serve()
}

// serve hands out the places that are free, and sees to it that it is called again when the line wants that. The
// caller has the lock.
func (g *Gate) serve() {
	for {
		t, wait := g.line.serve(time.Since(g.start))
		switch {
		case t != nil:
			close(t.ready)
			continue
		case wait > 0 && !g.armed:
			g.armed = true
			time.AfterFunc(wait, g.wake)
		}
		return
	}
}

// wake serves after a pause.
func (g *Gate) wake() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.armed = false
	g.serve()
}

// note changes the standing of a prefix.
func (g *Gate) note(prefix netip.Prefix, change func(*standing)) {
	g.mu.Lock()
	change(g.line.known.of(prefix, time.Since(g.start)))
	g.mu.Unlock()
}

// GatedConn is a connection behind a Gate.
type GatedConn struct {
	net.Conn
	places places
	peer   gatePeer
	rooms  *helloRooms        // where room is from; nil: nobody else uses it
	room   *[helloBuffer]byte // of the first record, nil before it and when crypto/tls has it
	hello  []byte             // what is left of the first record, in room unless it is longer
	readBy time.Time          // deadline of reads; zero: none
	prefix netip.Prefix       // that began is noted under

	curve  tls.CurveID // for this client, if chosen
	chosen bool

	gated  bool    // until Done
	ticket *ticket // of the place that it holds; nil if it holds none
	heard  bool    // the first record is complete
	began  bool    // a place was had, so the end will be noted
	signed bool    // the server's signature is made, or about to be

	once   sync.Once
	closed chan struct{}
}

// Read waits for the peer without a place and for a place afterwards.
func (c *GatedConn) Read(b []byte) (int, error) {
	if len(c.hello) > 0 {
		return c.handOver(b), nil
	}
	if !c.gated {
		return c.Conn.Read(b)
	}
	c.leave()
	if !c.heard {
		if err := c.hear(); err != nil {
			return 0, err
		}
		c.heard = true
		c.curve, c.chosen = chooseCurve(c.hello)
		if err := c.enter(); err != nil {
			return 0, err
		}
		return c.handOver(b), nil
	}
	n, err := c.Conn.Read(b)
	if err != nil {
		return n, err
	}
	return n, c.enter()
}

// hear reads the first record, which is or begins a ClientHello, or is refused. A part of it gets no further, and
// takes little more memory than has arrived.
func (c *GatedConn) hear() error {
	c.room = c.rooms.take()
	c.hello = c.room[:0]
	for {
		if len(c.hello) == cap(c.hello) {
			c.hello = slices.Grow(c.hello, helloBuffer)
		}
		n, err := c.Conn.Read(c.hello[len(c.hello):cap(c.hello)])
		c.hello = c.hello[:len(c.hello)+n]
		complete, refused := isHello(c.hello)
		switch {
		case refused != nil:
			return refused
		case complete:
			return nil
		case err != nil:
			return fmt.Errorf("read ClientHello: %w", err)
		}
	}
}

// handOver gives crypto/tls a part of the first record, and the room back with the last one.
func (c *GatedConn) handOver(b []byte) int {
	n := copy(b, c.hello)
	c.hello = c.hello[n:]
	if len(c.hello) == 0 {
		c.rooms.put(c.room)
		c.hello, c.room = nil, nil
	}
	return n
}

// isHello reports whether b begins with a whole TLS record that is or begins a ClientHello, or that it never will.
func isHello(b []byte) (complete bool, err error) {
	for i, want := range [...]byte{0: recordHandshake, 1: 3, recordHeader: clientHello} {
		if i < len(b) && want != 0 && b[i] != want {
			return false, errNotHello
		}
	}
	if len(b) < recordHeader {
		return false, nil
	}
	n := int(binary.BigEndian.Uint16(b[recordHeader-2:]))
	if n < 4 || n > longestRecord {
		return false, errNotHello
	}
	return len(b) >= recordHeader+n, nil
}

// Write needs no place: nothing is computed between a flight of ours and the peer's next one, and a full window
// must not keep it either.
func (c *GatedConn) Write(b []byte) (int, error) {
	c.leave()
	return c.Conn.Write(b)
}

// Close also ends the wait for a place.
func (c *GatedConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// Done gives the place back for good and says whether the handshake was finished; call it when it is over, either way.
func (c *GatedConn) Done(finished bool) {
	c.leave()
	c.gated = false
	if c.began {
		c.began = false
		c.places.note(c.prefix, func(s *standing) { s.end(finished) })
	}
}

// enter waits for a place. Once the signature is made none is needed: what is left is a fraction of it, nobody gets
// there without having had a place, and the peer that has answered need not wait for other signatures.
func (c *GatedConn) enter() error {
	if c.signed {
		return nil
	}
	if c.peer != nil && !c.began {
		c.prefix = c.peer.Prefix()
	}
	t := &ticket{prefix: c.prefix, begun: c.began}
	if err := c.places.enter(t, c); err != nil {
		return err
	}
	c.ticket = t
	// Whoever has just been heard is there.
	if t.queued && c.peer != nil && !c.peer.Present() {
		if !c.began {
			c.places.note(c.prefix, (*standing).cancel)
		}
		c.leave()
		return ErrLeft
	}
	c.began = true
	return nil
}

// SetDeadline also ends the wait for a place.
func (c *GatedConn) SetDeadline(t time.Time) error {
	c.readBy = t
	return c.Conn.SetDeadline(t)
}

// SetReadDeadline also ends the wait for a place.
func (c *GatedConn) SetReadDeadline(t time.Time) error {
	c.readBy = t
	return c.Conn.SetReadDeadline(t)
}

func (c *GatedConn) leave() {
	if t := c.ticket; t != nil {
		c.ticket = nil
		c.places.leave(t)
	}
}
