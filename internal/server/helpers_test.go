package server

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/nts"
)

// The world of the tests: a synchronised stratum 2 server and a client of it.
var (
	testClient = netip.MustParseAddrPort("192.0.2.7:50123")
	testServer = netip.MustParseAddrPort("198.51.100.1:123")
	testNow    = ntp.FromTime(time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC))
	testXmt    = ntp.Timestamp(0x0123456789abcdef)
)

func testView() *ntp.View {
	return &ntp.View{
		Leap: ntp.LeapNone, Stratum: 2, RefID: ntp.RefIDFromAddr(netip.MustParseAddr("203.0.113.9")),
		Reference: testNow.Add(-20 * time.Second), RootDelay: 10 * time.Millisecond, Dispersion: time.Millisecond,
		Precision: -24, Synchronized: true,
	}
}

// header is H(b) of the acceptance rows: 48 bytes, first byte b, zeros and a random-looking transmit field.
func header(b byte) []byte {
	p := make([]byte, ntp.HeaderLen)
	p[0] = b
	binary.BigEndian.PutUint64(p[40:], uint64(testXmt))
	return p
}

// field appends a raw extension field with the given total length in its header.
func field(p []byte, t ntp.FieldType, length int, value []byte) []byte {
	p = binary.BigEndian.AppendUint16(p, uint16(t))
	p = binary.BigEndian.AppendUint16(p, uint16(length))
	return append(p, value...)
}

// bench is a Responder with what goes into it.
type bench struct {
	*Responder
	view   *ntp.View
	keys   *nts.KeySet
	from   netip.AddrPort
	to     netip.AddrPort
	now    ntp.Timestamp
	epoch  Epoch
	clock  func() ntp.Timestamp
	buffer []byte
}

func newBench(c Config) *bench {
	if c.Rand == nil {
		c.Rand = new(testRand)
	}
	return &bench{
		Responder: NewResponder(c), view: testView(), from: testClient, to: testServer, now: testNow,
		clock:  func() ntp.Timestamp { return testNow.Add(20 * time.Microsecond) },
		buffer: make([]byte, 0, ntp.MaxPacket),
	}
}

func (b *bench) ask(p []byte) ([]byte, Verdict) {
	return b.Respond(b.buffer, b.view, b.keys, &Datagram{Data: p, From: b.from, To: b.to, Received: b.now, Epoch: b.epoch}, b.clock)
}

// expect asks and checks verdict and length; -1 skips the length.
func (b *bench) expect(t *testing.T, p []byte, want Verdict, length int) []byte {
	t.Helper()
	reply, got := b.ask(p)
	if got != want {
		t.Fatalf("verdict %v, want %v (reply %d bytes)", got, want, len(reply))
	}
	if length >= 0 && len(reply) != length {
		t.Fatalf("reply of %d bytes, want %d", len(reply), length)
	}
	if len(reply) > len(p) {
		t.Fatalf("reply of %d bytes to a request of %d", len(reply), len(p))
	}
	return reply
}

func parse(t *testing.T, reply []byte) ntp.Header {
	t.Helper()
	h, err := ntp.ParseHeader(reply)
	if err != nil {
		t.Fatalf("reply: %v", err)
	}
	return h
}

// testRand is a deterministic source of bytes (xorshift64).
type testRand uint64

func (r *testRand) Read(p []byte) (int, error) {
	x := uint64(*r) | 0x9e3779b97f4a7c15
	for i := range p {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		p[i] = byte(x)
	}
	*r = testRand(x)
	return len(p), nil
}
