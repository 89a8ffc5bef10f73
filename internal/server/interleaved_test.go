package server

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/nts/aead"
)

const (
	testR = ntp.Timestamp(0x5555666677778888)
	testX = ntp.Timestamp(0x9999aaaabbbbcccc)
)

// interleaveBench is a bench whose answers leave 40 µs after they are made.
func interleaveBench() *bench {
	b := newBench(Config{Interleaves: NewInterleaves([2]uint64{1, 2}), Versions: VersionSet(1, 2, 3, 4)})
	b.clock = func() ntp.Timestamp { return b.now.Add(20 * time.Microsecond) }
	return b
}

// interleaving is a request with the three stamps.
func interleaving(first byte, origin, receive, transmit ntp.Timestamp) []byte {
	p := header(first)
	binary.BigEndian.PutUint64(p[24:], uint64(origin))
	binary.BigEndian.PutUint64(p[32:], uint64(receive))
	binary.BigEndian.PutUint64(p[40:], uint64(transmit))
	return p
}

// exchange asks, lets the answer leave, and goes on to a minute later. It returns the answer and when it left.
func (b *bench) exchange(t *testing.T, p []byte) (h ntp.Header, left ntp.Timestamp) {
	t.Helper()
	h = parse(t, b.expect(t, p, Answered, 48))
	left = b.now.Add(40 * time.Microsecond)
	if s := b.Sending(); s.Stamped {
		b.config.Interleaves.Sent(s.ID, left)
	}
	if h.Receive == h.Transmit || h.Receive&1 == 0 || h.Transmit&1 != 0 {
		t.Errorf("receive %x transmit %x", h.Receive, h.Transmit)
	}
	b.now = b.now.Add(time.Minute)
	return h, left &^ 1
}

// TestS26_FigureOfTheRFC goes through RFC 9769 figure 1: two answers in basic mode, then interleaved ones, each with the time at
// which the one before really left.
func TestS26_FigureOfTheRFC(t *testing.T) {
	b := interleaveBench()
	first, _ := b.exchange(t, interleaving(0x23, 0, 0, testX))
	if first.Origin != testX || b.Sending() != (Sending{}) {
		t.Fatalf("first answer %+v, %+v", first, b.Sending())
	}
	last, left := b.exchange(t, interleaving(0x23, first.Receive, testR, testX))
	if last.Origin != testX || !b.Sending().Stamped || b.Sending().Interleaved {
		t.Fatalf("second answer %+v, %+v", last, b.Sending())
	}
	for i := range 5 {
		r, at := testR+ntp.Timestamp(i), b.now
		h, l := b.exchange(t, interleaving(0x23, last.Receive, r, testX))
		if h.Origin != r || h.Transmit != left || h.Receive != at|1 || !b.Sending().Interleaved || !b.Sending().Stamped {
			t.Fatalf("answer %d: %+v, %+v", i+3, h, b.Sending())
		}
		last, left = h, l
	}
}

func TestS26_InterleavedOnceThenBasic(t *testing.T) {
	b := interleaveBench()
	a, _ := b.exchange(t, interleaving(0x23, 0, 0, testX))
	a, left := b.exchange(t, interleaving(0x23, a.Receive, testR, testX))
	seen := map[ntp.Timestamp]bool{a.Receive: true}
	for i, basic := range []bool{false, true, true} {
		h, _ := b.exchange(t, interleaving(0x23, a.Receive, testR, testX))
		if (h.Origin == testX) != basic || (h.Transmit == left) == basic {
			t.Errorf("answer %d to the same origin: %+v", i, h)
		}
		if seen[h.Receive] {
			t.Errorf("receive stamp %x again", h.Receive)
		}
		seen[h.Receive] = true
	}
}

func TestS26_WhoGetsBasicAnswers(t *testing.T) {
	rows := []struct {
		name string
		ask  func(b *bench, origin ntp.Timestamp) []byte
		want Verdict
	}{
		{"version 3", func(_ *bench, o ntp.Timestamp) []byte { return interleaving(0x1b, o, testR, testX) }, Answered},
		{"symmetric", func(_ *bench, o ntp.Timestamp) []byte { return interleaving(0x21, o, testR, testX) }, Answered},
		{"receive is transmit", func(_ *bench, o ntp.Timestamp) []byte { return interleaving(0x23, o, testX, testX) }, Answered},
		{"another origin", func(_ *bench, o ntp.Timestamp) []byte { return interleaving(0x23, o+2, testR, testX) }, Answered},
		{"our transmit stamp", func(_ *bench, o ntp.Timestamp) []byte { return interleaving(0x23, o+1, testR, testX) }, Answered},
		{"no origin", func(_ *bench, _ ntp.Timestamp) []byte { return interleaving(0x23, 0, testR, testX) }, Answered},
		{"another address", func(b *bench, o ntp.Timestamp) []byte {
			b.from = netip.AddrPortFrom(netip.MustParseAddr("192.0.2.8"), b.from.Port())
			return interleaving(0x23, o, testR, testX)
		}, Answered},
		{"the clock was stepped", func(b *bench, o ntp.Timestamp) []byte {
			b.epoch.Number++
			return interleaving(0x23, o, testR, testX)
		}, Answered},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			b := interleaveBench()
			a, _ := b.exchange(t, interleaving(0x23, 0, 0, testX))
			a, left := b.exchange(t, interleaving(0x23, a.Receive, testR, testX))
			h := parse(t, b.expect(t, row.ask(b, a.Receive), row.want, 48))
			if h.Origin != testX || h.Transmit == left || b.Sending().Interleaved {
				t.Errorf("%+v", h)
			}
		})
	}
	t.Run("another port", func(t *testing.T) { // RFC 9109: a client has a new one for each request
		b := interleaveBench()
		a, _ := b.exchange(t, interleaving(0x23, 0, 0, testX))
		a, left := b.exchange(t, interleaving(0x23, a.Receive, testR, testX))
		b.from = netip.AddrPortFrom(b.from.Addr(), 1024)
		if h, _ := b.exchange(t, interleaving(0x23, a.Receive, testR, testX)); h.Origin != testR || h.Transmit != left {
			t.Errorf("%+v", h)
		}
	})
}

func TestS26_AccessAndRateComeFirst(t *testing.T) {
	b := interleaveBench()
	b.config.Limiter = NewRateLimiter(RateLimit{Prefixes: 16, Interval: time.Hour})
	b.random = 0
	b.exchange(t, interleaving(0x23, (testNow-1<<32)|1, testR, testX))
	b.config.Interleaves = NewInterleaves([2]uint64{})
	for range 40 {
		if reply, v := b.ask(interleaving(0x23, (b.now-1<<32)|1, testR, testX)); v == RateLimited && (reply != nil || b.Sending() != (Sending{})) {
			t.Fatalf("%v %+v", v, b.Sending())
		} else if v == RateLimited {
			return
		}
	}
	t.Error("never limited")
}

func TestS26_AStepBackDuringAnAnswerIsNotKept(t *testing.T) {
	b := interleaveBench()
	b.clock = func() ntp.Timestamp { return testNow.Add(-time.Hour) }
	h, _ := b.exchange(t, interleaving(0x23, (testNow-1<<32)|1, testR, testX))
	if b.Sending().Stamped || !h.Receive.Before(h.Transmit) {
		t.Errorf("%+v, %+v", h, b.Sending())
	}
}

// TestS26_AStepBackBeforeAnInterleavedAnswerIsNotKept: the answer tells when the one before left, and its own receive stamp, which is in
// the future of the clock that was stepped back, is no part of another.
func TestS26_AStepBackBeforeAnInterleavedAnswerIsNotKept(t *testing.T) {
	b := interleaveBench()
	a, _ := b.exchange(t, interleaving(0x23, 0, 0, testX))
	a, _ = b.exchange(t, interleaving(0x23, a.Receive, testR, testX))
	b.clock = func() ntp.Timestamp { return b.now.Add(-time.Second) }
	if b.expect(t, interleaving(0x23, a.Receive, testR, testX), Answered, 48); b.Sending() != (Sending{Interleaved: true, ID: b.Sending().ID}) {
		t.Errorf("%+v", b.Sending())
	}
}

// TestS26_AStepBetweenStampAndAnswerIsNotKept: a request that came before a step and is answered after it gets a basic answer, and so does the
// next one; then all is as before.
func TestS26_AStepBetweenStampAndAnswerIsNotKept(t *testing.T) {
	b := interleaveBench()
	a, _ := b.exchange(t, interleaving(0x23, 0, 0, testX))
	a, _ = b.exchange(t, interleaving(0x23, a.Receive, testR, testX))
	b.epoch = Epoch{Number: 1, Since: b.now.Add(time.Second)}
	for i, want := range []Sending{{}, {Stamped: true}, {Stamped: true, Interleaved: true}} {
		a, _ = b.exchange(t, interleaving(0x23, a.Receive, testR, testX))
		got := b.Sending()
		if got.ID = 0; got != want {
			t.Errorf("answer %d: %+v, want %+v", i, got, want)
		}
	}
}

func TestS26_WithNTS(t *testing.T) {
	c := newNTSClient(t, aead.SIVCMAC256)
	b := c.bench(Config{Interleaves: NewInterleaves([2]uint64{1, 2})})
	b.clock = func() ntp.Timestamp { return b.now.Add(20 * time.Microsecond) }
	ask := func(origin, receive, transmit ntp.Timestamp) ntp.Header {
		p := ntp.AppendField(interleaving(0x23, origin, receive, transmit), ntp.FieldUniqueID, c.uid)
		p = ntp.AppendField(p, ntp.FieldCookie, c.cookie())
		reply, v := b.ask(c.seal(p, c.keys.Algorithm.NonceSize(), nil, 0))
		if v != AnsweredNTS {
			t.Fatal(v)
		}
		if _, ok := c.open(reply); !ok {
			t.Fatal("the answer does not open")
		}
		if s := b.Sending(); s.Stamped {
			b.config.Interleaves.Sent(s.ID, b.now.Add(70*time.Microsecond))
		}
		b.now = b.now.Add(time.Minute)
		return parse(t, reply)
	}
	a := ask(0, 0, testX)
	a = ask(a.Receive, testR, testX)
	left := b.now.Add(-time.Minute).Add(70*time.Microsecond) &^ 1
	if h := ask(a.Receive, testR, testX); h.Origin != testR || h.Transmit != left {
		t.Errorf("%+v", h)
	}
}

// TestIL05_PlainRequestsLeaveTheTableUntouched sends a million requests of clients that do not interleave.
func TestIL05_PlainRequestsLeaveTheTableUntouched(t *testing.T) {
	b := interleaveBench()
	var last ntp.Header
	p := header(0x23)
	n := 1_000_000
	if testing.Short() || raceDetector {
		n = 100_000
	}
	for i := range n {
		b.from = netip.AddrPortFrom(netip.AddrFrom4([4]byte{100, byte(i >> 16), byte(i >> 8), byte(i)}), 123)
		b.now = b.now.Add(time.Microsecond)
		switch i & 3 {
		case 0:
			clear(p[24:40])
		case 1: // as ntpd
			binary.BigEndian.PutUint64(p[24:], uint64(last.Transmit))
			binary.BigEndian.PutUint64(p[32:], uint64(b.now))
		case 2: // noise
			binary.BigEndian.PutUint64(p[24:], uint64(i)*0x9e3779b97f4a7c15>>3)
		}
		reply, v := b.ask(p)
		if v != Answered || b.Sending() != (Sending{}) {
			t.Fatal(v, b.Sending())
		}
		if i&0xfff == 0 {
			last = parse(t, reply)
		}
	}
	for i := range b.config.Interleaves.slots {
		if s := &b.config.Interleaves.slots[i]; s.key.Load() != 0 || s.value.Load() != 0 {
			t.Fatalf("slot %d was written", i)
		}
	}
}

func TestIL05_NoAllocations(t *testing.T) {
	b := interleaveBench()
	plain, origin := header(0x23), testNow|1
	if n := testing.AllocsPerRun(1000, func() { b.ask(plain) }); n != 0 {
		t.Errorf("basic: %v allocations", n)
	}
	p := interleaving(0x23, 0, testR, testX)
	interleavedAnswers := 0
	n := testing.AllocsPerRun(1000, func() {
		b.now = b.now.Add(time.Second)
		binary.BigEndian.PutUint64(p[24:], uint64(origin))
		reply, _ := b.ask(p)
		s := b.Sending()
		if s.Interleaved {
			interleavedAnswers++
		}
		b.config.Interleaves.Sent(s.ID, b.now.Add(time.Microsecond))
		origin = ntp.Timestamp(binary.BigEndian.Uint64(reply[32:]))
	})
	if n != 0 || interleavedAnswers < 900 {
		t.Errorf("interleaved: %v allocations, %d interleaved answers", n, interleavedAnswers)
	}
}

// FuzzInterleavedSequence sends a server requests of some clients, with origins that were given to them, to others or to nobody,
// while stamps come or stay away and the clock is stepped. A map of what left when says which answers are interleaved.
func FuzzInterleavedSequence(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9})
	f.Add([]byte{0x01, 0x01, 0x01, 0x01, 0x41, 0x01, 0x01, 0x81, 0x01, 0x01})
	f.Add([]byte{0x10, 0x10, 0x11, 0x10, 0x20, 0x30, 0x00, 0x00, 0x08, 0x08})
	type key struct {
		from  netip.Addr
		t2    ntp.Timestamp
		epoch uint64
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		b := interleaveBench()
		left := map[key]ntp.Timestamp{}
		given := []ntp.Timestamp{0}
		for i, c := range script[:min(len(script), 200)] {
			b.from = netip.AddrPortFrom(sequenceSenders[c&1].Addr(), 1024+uint16(i))
			if c&0x40 != 0 {
				b.epoch.Number++
			}
			origin := given[max(len(given)-1-int(c>>1&3), 0)]
			r, x := testR+ntp.Timestamp(i), testX
			if c&0x08 != 0 {
				r = x
			}
			k := key{from: b.from.Addr(), t2: origin, epoch: b.epoch.Number}
			want := left[k]
			if r == x || !origin.Before(b.now|1) { // nobody has the answer before it was made
				want = 0
			} else {
				delete(left, k)
			}
			h := parse(t, b.expect(t, interleaving(0x23, origin, r, x), Answered, 48))
			if s := b.Sending(); s.Interleaved != !want.IsZero() || s.Interleaved && (h.Origin != r || h.Transmit != want) {
				t.Fatalf("request %d from %v, origin %x: %+v, want %x", i, b.from, origin, h, want)
			} else if s.Stamped && c&0x20 == 0 {
				at := b.now.Add(time.Duration(c) * time.Microsecond)
				b.config.Interleaves.Sent(s.ID, at)
				left[key{from: b.from.Addr(), t2: h.Receive, epoch: b.epoch.Number}] = at &^ 1
			}
			if !b.Sending().Interleaved && (h.Origin != x || !h.Receive.Before(h.Transmit)) {
				t.Fatalf("basic answer %+v", h)
			}
			given = append(given, h.Receive)
			if c&0x10 != 0 { // else the next request comes at the same time
				b.now = b.now.Add(time.Duration(c) * 10 * time.Millisecond)
			}
		}
	})
}

func BenchmarkRespond_Interleaved(b *testing.B) {
	x := interleaveBench()
	p, origin := interleaving(0x23, 0, testR, testX), testNow|1
	b.ReportAllocs()
	for b.Loop() {
		x.now += 1 << 12
		binary.BigEndian.PutUint64(p[24:], uint64(origin))
		reply, _ := x.ask(p)
		x.config.Interleaves.Sent(x.Sending().ID, x.now)
		origin = ntp.Timestamp(binary.BigEndian.Uint64(reply[32:]))
	}
}
