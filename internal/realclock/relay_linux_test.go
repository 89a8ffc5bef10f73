package realclock_test

import (
	"math"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// Each way through the relay takes relayDelay and, on the average, relayJitter more, exponentially distributed.
	relayDelay, relayJitter = time.Millisecond, 300 * time.Microsecond
	relayPatience           = time.Second // for the server's reply
	relaySeed               = 20261129
)

// relay is a network between the client and a server: UDP on loopback, held back by random times. The same seed gives the
// same delays to the same sequence of packets; what the busy machine adds comes on top, for everybody.
type relay struct {
	listen  *net.UDPConn
	server  netip.AddrPort
	packets atomic.Int64 // requests

	mu  sync.Mutex
	rnd *rand.Rand
}

// newRelay starts a relay to the server; it runs until the test ends.
func newRelay(t *testing.T, server netip.AddrPort) *relay {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{listen: c, server: server, rnd: rand.New(rand.NewPCG(relaySeed, 0))}
	t.Cleanup(func() { _ = c.Close() })
	go r.run()
	return r
}

func (r *relay) addr() netip.AddrPort { return r.listen.LocalAddr().(*net.UDPAddr).AddrPort() }

// run takes requests until the socket is closed; each has a goroutine and a socket of its own until its reply.
func (r *relay) run() {
	buf := make([]byte, 2048)
	for {
		n, from, err := r.listen.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		r.packets.Add(1)
		there, back := r.delay(), r.delay()
		go r.pass(append([]byte(nil), buf[:n]...), from, there, back)
	}
}

// pass takes one request to the server and the reply back.
func (r *relay) pass(request []byte, from netip.AddrPort, there, back time.Duration) {
	c, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(r.server))
	if err != nil {
		return
	}
	defer c.Close()
	pause(there) // the way itself
	_ = c.SetDeadline(time.Now().Add(relayPatience))
	if _, err := c.Write(request); err != nil {
		return
	}
	reply := make([]byte, 2048)
	n, err := c.Read(reply)
	if err != nil {
		return
	}
	pause(back)
	_, _ = r.listen.WriteToUDPAddrPort(reply[:n], from)
}

// pause waits to some 0.1 ms. time.Sleep does not: a program that is otherwise idle waits in whole milliseconds, and delays would come in steps.
func pause(d time.Duration) {
	ts := unix.NsecToTimespec(int64(d))
	for unix.Nanosleep(&ts, &ts) == unix.EINTR { // what is left is in ts
	}
}

// delay draws the time of one way.
func (r *relay) delay() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return relayDelay + time.Duration(-math.Log(1-r.rnd.Float64())*float64(relayJitter))
}
