package source

import (
	"encoding/binary"
	"errors"
	"io"
	"math/bits"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"ntp-daemon/internal/ntp"
)

var (
	server = netip.MustParseAddrPort("192.0.2.1:123")
	begin  = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	clock  = ntp.FromTime(begin)
)

// dice is a reproducible source of randomness.
func dice(seed byte) io.Reader { return rand.NewChaCha8([32]byte{seed}) }

// association is a Source with its server, its time and its random numbers.
type association struct {
	*Source
	now time.Time
	rnd io.Reader
}

func plain(c Config) *association {
	if c.Server == (netip.AddrPort{}) {
		c.Server = server
	}
	c.ID = 1
	if c.PollMax == 0 {
		c.PollMin, c.PollMax, c.PollInitial = 4, 10, 4
	}
	return &association{Source: New(c, begin), now: begin, rnd: dice(1)}
}

// at is the reading of a perfect clock.
func (w *association) at() ntp.Timestamp { return clock.Add(w.now.Sub(begin)) }

// poll waits for the next poll and sends it; it returns the header of the request.
func (w *association) poll(t testing.TB) (Request, ntp.Header) {
	t.Helper()
	if next := w.Next(); next.After(w.now) {
		w.now = next
	}
	r, err := w.Poll(w.now, ntp.Stamp{Time: w.at()}, 7, w.rnd)
	if err != nil {
		t.Fatalf("poll: %v", err)
	}
	h, err := ntp.ParseHeader(r.Packet)
	if err != nil {
		t.Fatal(err)
	}
	return r, h
}

// reply is a good answer to the request with header q, 10 ms later, from a server whose clock is right.
func (w *association) reply(q ntp.Header) ntp.Header {
	return ntp.Header{
		Version: q.Version, Mode: ntp.ModeServer, Stratum: 2, Poll: q.Poll, Precision: -20,
		RootDelay: 0x100, RootDispersion: 0x80, RefID: ntp.RefIDFromString("GPS"), Reference: w.at().Add(-time.Minute),
		Origin: q.Transmit, Receive: w.at().Add(5 * time.Millisecond), Transmit: w.at().Add(5 * time.Millisecond),
	}
}

// receive hands in a datagram from the server.
func (w *association) receive(b []byte) Outcome {
	w.now = w.now.Add(10 * time.Millisecond)
	return w.Receive(w.now, b, server, ntp.Stamp{Time: w.at()})
}

// lapse lets the reply window pass.
func (w *association) lapse() {
	w.now = w.now.Add(replyWindow + time.Millisecond)
	w.Lapse(w.now)
}

// accept runs one good exchange.
func (w *association) accept(t testing.TB) Outcome {
	t.Helper()
	_, q := w.poll(t)
	h := w.reply(q)
	o := w.receive(h.AppendTo(nil))
	if o.Verdict != Accepted {
		t.Fatalf("good reply: %s", o.Verdict)
	}
	return o
}

// refuse demands that a datagram is refused with a verdict and changes nothing at all.
func (w *association) refuse(t testing.TB, want Verdict, b []byte) {
	t.Helper()
	before := *w.Source
	o := w.receive(b)
	if o.Verdict != want || o.Measurement != (ntp.Measurement{}) {
		t.Errorf("verdict %q, want %q; measurement %+v", o.Verdict, want, o.Measurement)
	}
	if !reflect.DeepEqual(before, *w.Source) {
		t.Errorf("refused packet (%s) changed the state:\n%+v\n%+v", o.Verdict, before, *w.Source)
	}
}

func edited(h ntp.Header, edit func(*ntp.Header)) []byte {
	edit(&h)
	return h.AppendTo(nil)
}

func TestC01_RequestSaysNothing(t *testing.T) {
	w := plain(Config{})
	var ones [64]int
	seen := map[ntp.Timestamp]bool{}
	for range 100 {
		r, _ := w.poll(t)
		if len(r.Packet) != ntp.HeaderLen || r.Packet[0] != 0x23 {
			t.Fatalf("request % x", r.Packet)
		}
		for i, b := range r.Packet[1:40] {
			if at := i + 1; b != 0 && at != 2 && !(at == 3 && b == 0x20) {
				t.Fatalf("byte %d is %#x", at, b)
			}
		}
		tx := binary.BigEndian.Uint64(r.Packet[40:])
		if seen[ntp.Timestamp(tx)] {
			t.Fatal("transmit field repeated")
		}
		seen[ntp.Timestamp(tx)] = true
		if d := ntp.Timestamp(tx).Sub(w.at()).Abs(); d < time.Hour {
			t.Fatalf("transmit field is %v off the clock", d)
		}
		for i := range ones {
			ones[i] += int(tx >> i & 1)
		}
		w.lapse()
	}
	for i, n := range ones {
		if n < 25 || n > 75 { // ±5 sigma of a fair coin
			t.Errorf("bit %d was set %d times of 100", i, n)
		}
	}
	if bits.OnesCount64(uint64(w.out.origin)) == 0 {
		t.Error("zero transmit field")
	}
}

func TestReceive_Measurement(t *testing.T) {
	w := plain(Config{})
	r, q := w.poll(t)
	sent := ntp.Stamp{Time: w.at().Add(100 * time.Microsecond), Origin: ntp.OriginKernel}
	w.Sent(r.ID+1, ntp.Stamp{Time: 1}) // another request's stamp is ignored
	w.Sent(r.ID, sent)
	w.Sent(r.ID, ntp.Stamp{}) // as is one that is unknown
	h := w.reply(q)
	h.Leap, h.RootDelay, h.RootDispersion = ntp.LeapInsert, 0x8000, 0x4000
	o := w.receive(h.AppendTo(nil))
	want := ntp.Measurement{
		Source: 1, T1: sent, T2: ntp.Stamp{Time: h.Receive}, T3: ntp.Stamp{Time: h.Transmit}, T4: ntp.Stamp{Time: w.at()},
		RootDelay: 500 * time.Millisecond, RootDispersion: 250 * time.Millisecond, Precision: ntp.PrecisionExp(-20).Duration(),
		Poll: 4, PollMin: 4, Stratum: 2, Leap: ntp.LeapInsert, RefID: h.RefID, Reference: h.Reference, Version: 4, Epoch: 7,
	}
	if o.Verdict != Accepted || o.Measurement != want {
		t.Errorf("got %s %+v\nwant %+v", o.Verdict, o.Measurement, want)
	}
	if st := w.Status(); st.Reach != 1 || st.Unanswered != 0 || st.LastVerdict != Accepted || w.Waiting() {
		t.Errorf("status %+v", st)
	}
}

// A transmit stamp counts for its own request only: one that the kernel delivers late must not become the next one's T1.
func TestSent_OwnRequestOnly(t *testing.T) {
	w := plain(Config{})
	first, _ := w.poll(t)
	late := ntp.Stamp{Time: w.at().Add(time.Microsecond), Origin: ntp.OriginKernel}
	second, q := w.poll(t)
	own := ntp.Stamp{Time: w.at().Add(2 * time.Microsecond), Origin: ntp.OriginKernel}
	for _, x := range []struct {
		id uint64
		tx ntp.Stamp
	}{{second.ID, own}, {first.ID, late}, {second.ID + 1, late}, {0, late}, {second.ID, ntp.Stamp{}}} {
		w.Sent(x.id, x.tx)
	}
	h := w.reply(q)
	if o := w.receive(h.AppendTo(nil)); o.Verdict != Accepted || o.Measurement.T1 != own {
		t.Errorf("%s, T1 %+v, want %+v", o.Verdict, o.Measurement.T1, own)
	}
}

func TestC03_SameReplyTwice(t *testing.T) {
	w := plain(Config{})
	_, q := w.poll(t)
	h := w.reply(q)
	if o := w.receive(h.AppendTo(nil)); o.Verdict != Accepted {
		t.Fatal(o.Verdict)
	}
	w.refuse(t, NoRequest, h.AppendTo(nil))
}

// TestRefused holds the rows whose packets must change nothing, one story each.
func TestRefused(t *testing.T) {
	mode := func(m ntp.Mode) func(*ntp.Header) { return func(h *ntp.Header) { h.Mode = m } }
	version := func(v uint8) func(*ntp.Header) { return func(h *ntp.Header) { h.Version = v } }
	for _, c := range []struct {
		name string
		want Verdict
		edit func(*ntp.Header)
	}{
		{"C04 random origin", WrongOrigin, func(h *ntp.Header) { h.Origin ^= 1 << 40 }},
		{"C05 zero origin", WrongOrigin, func(h *ntp.Header) { h.Origin = 0 }},
		{"C08 mode 0", WrongMode, mode(0)},
		{"C08 mode 1", WrongMode, mode(1)},
		{"C08 mode 2", WrongMode, mode(2)},
		{"C08 mode 3", WrongMode, mode(3)},
		{"C08 mode 5", WrongMode, mode(5)},
		{"C08 mode 6", WrongMode, mode(6)},
		{"C08 mode 7", WrongMode, mode(7)},
		{"C09 version 0", WrongVersion, version(0)},
		{"C09 version 1", WrongVersion, version(1)},
		{"C09 version 2", WrongVersion, version(2)},
		{"C09 version 5", WrongVersion, version(5)},
		{"C09 version 6", WrongVersion, version(6)},
		{"C09 version 7", WrongVersion, version(7)},
		{"C10 leap 3", Unsynchronized, func(h *ntp.Header) { h.Leap = ntp.LeapUnknown }},
		{"C10 stratum 0 without kiss", Unsynchronized, func(h *ntp.Header) { h.Stratum, h.RefID = 0, 0 }},
		{"C10 stratum 16", BadStratum, func(h *ntp.Header) { h.Stratum = 16 }},
		{"C10 stratum 255", BadStratum, func(h *ntp.Header) { h.Stratum = 255 }},
		{"C11 dispersion 16 s", BadDistance, func(h *ntp.Header) { h.RootDispersion = 0x00100000 }},
		{"C11 dispersion largest", BadDistance, func(h *ntp.Header) { h.RootDispersion = 0xFFFFFFFF }},
		{"C11 delay largest", BadDistance, func(h *ntp.Header) { h.RootDelay = 0xFFFFFFFF }},
		{"C11 both largest", BadDistance, func(h *ntp.Header) { h.RootDelay, h.RootDispersion = 0xFFFFFFFF, 0xFFFFFFFF }},
		{"C11 half the delay counts", BadDistance, func(h *ntp.Header) { h.RootDelay, h.RootDispersion = 0x00100000, 0x00080000 }},
		{"C13 receive zero", NoTimestamps, func(h *ntp.Header) { h.Receive = 0 }},
		{"C13 transmit zero", NoTimestamps, func(h *ntp.Header) { h.Transmit = 0 }},
		{"C13 transmit before receive", Backward, func(h *ntp.Header) { h.Transmit = h.Receive - 1<<16 }},
		{"C13 5 s in the server", Sluggish, func(h *ntp.Header) { h.Transmit = h.Receive.Add(5 * time.Second) }},
		{"C13 held longer than it was away", Impossible, func(h *ntp.Header) { h.Transmit = h.Receive.Add(12 * time.Millisecond) }},
		{"C13 held for 3 s of 10 ms", Impossible, func(h *ntp.Header) { h.Transmit = h.Receive.Add(3 * time.Second) }},
		{"C18 XFUN", KissUnknown, kissWith("XFUN")},
		{"C18 AAAA", KissUnknown, kissWith("AAAA")},
		{"C18 INIT", Unsynchronized, kissWith("INIT")},
		{"C18 NTSN to a plain request", KissUnknown, kissWith("NTSN")},
		{"C22 origin is our receive field", WrongOrigin, func(h *ntp.Header) { h.Origin = 0 }},
		{"C22 origin is the time of our request", WrongOrigin, func(h *ntp.Header) { h.Origin = clock }},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := plain(Config{})
			w.accept(t)
			_, q := w.poll(t)
			w.refuse(t, c.want, edited(w.reply(q), c.edit))
			h := w.reply(q)
			if o := w.receive(h.AppendTo(nil)); o.Verdict != Accepted {
				t.Errorf("the good reply after it: %s", o.Verdict)
			}
		})
	}
}

func kissWith(code string) func(*ntp.Header) {
	return func(h *ntp.Header) { h.Stratum, h.RefID, h.Leap = 0, ntp.RefIDFromString(code), ntp.LeapUnknown }
}

func TestC05_NoRequestOutstanding(t *testing.T) {
	w := plain(Config{})
	w.refuse(t, NoRequest, edited(ntp.Header{Version: 4, Mode: ntp.ModeServer, Stratum: 2}, func(*ntp.Header) {}))
	w.accept(t)
	w.refuse(t, NoRequest, edited(w.reply(ntp.Header{Version: 4}), func(*ntp.Header) {}))
}

func TestC06_OtherAddress(t *testing.T) {
	w := plain(Config{})
	_, q := w.poll(t)
	h := w.reply(q)
	for _, from := range []string{"192.0.2.2:123", "192.0.2.1:124", "[2001:db8::1]:123"} {
		before := *w.Source
		o := w.Receive(w.now, h.AppendTo(nil), netip.MustParseAddrPort(from), ntp.Stamp{Time: w.at()})
		if o.Verdict != WrongAddress || !reflect.DeepEqual(before, *w.Source) {
			t.Errorf("from %s: %s", from, o.Verdict)
		}
	}
	mapped := netip.MustParseAddrPort("[::ffff:192.0.2.1]:123") // the same address on a dual-stack socket
	if o := w.Receive(w.now, h.AppendTo(nil), mapped, ntp.Stamp{Time: w.at()}); o.Verdict != Accepted {
		t.Errorf("from %s: %s", mapped, o.Verdict)
	}
}

func TestC07_LateReply(t *testing.T) {
	w := plain(Config{})
	r, q := w.poll(t)
	if d := r.Deadline.Sub(w.now); d != 5*time.Second {
		t.Errorf("window %v", d)
	}
	h := w.reply(q)
	w.now = w.now.Add(10 * time.Second)
	w.refuse(t, Late, h.AppendTo(nil))
	w.Lapse(w.now)
	w.refuse(t, NoRequest, h.AppendTo(nil))
}

func TestOutstanding_LaterRequestReplacesEarlier(t *testing.T) {
	w := plain(Config{Burst: 4})
	_, first := w.poll(t)
	_, second := w.poll(t)
	w.refuse(t, WrongOrigin, edited(w.reply(first), func(*ntp.Header) {}))
	if st := w.Status(); st.Unanswered != 1 {
		t.Errorf("unanswered %d, want 1: the first", st.Unanswered)
	}
	h := w.reply(second)
	if o := w.receive(h.AppendTo(nil)); o.Verdict != Accepted {
		t.Error(o.Verdict)
	}
}

func TestC09_Version3Reply(t *testing.T) {
	w := plain(Config{})
	_, q := w.poll(t)
	if o := w.receive(edited(w.reply(q), func(h *ntp.Header) { h.Version = 3 })); o.Verdict != Accepted || o.Measurement.Version != 3 {
		t.Errorf("%s, version %d", o.Verdict, o.Measurement.Version)
	}
	w = plain(Config{Version: 3})
	if r, _ := w.poll(t); r.Packet[0] != 0x1b {
		t.Errorf("version 3 request begins with %#x", r.Packet[0])
	}
}

func TestC12_HostilePrecisionAndPoll(t *testing.T) {
	for _, precision := range []int8{127, -128, 0, -32} {
		for _, poll := range []int8{127, -128, 0} {
			w := plain(Config{})
			_, q := w.poll(t)
			o := w.receive(edited(w.reply(q), func(h *ntp.Header) { h.Precision, h.Poll = precision, poll }))
			if p := o.Measurement.Precision; o.Verdict != Accepted || p <= 0 || p > time.Second {
				t.Errorf("precision %d poll %d: %s, %v", precision, poll, o.Verdict, p)
			}
			if wait := w.Next().Sub(w.now); wait > 20*time.Second {
				t.Errorf("poll %d: next in %v", poll, wait)
			}
		}
	}
}

func TestC19_FourZeroBytes(t *testing.T) {
	w := plain(Config{})
	_, q := w.poll(t)
	w.refuse(t, MalformedFields, append(edited(w.reply(q), func(*ntp.Header) {}), 0, 0, 0, 0))
	if w.Status().Need != NeedNothing {
		t.Error("demobilised")
	}
}

func TestC20_Lengths(t *testing.T) {
	for n := range 69 {
		if n == ntp.HeaderLen {
			continue
		}
		w := plain(Config{})
		_, q := w.poll(t)
		want := MalformedFields
		switch {
		case n < ntp.HeaderLen:
			want = Short
		case n == 68:
			want = UnexpectedMAC
		}
		b := append(edited(w.reply(q), func(*ntp.Header) {}), make([]byte, 32)...)
		w.refuse(t, want, b[:n])
	}
	w := plain(Config{})
	w.poll(t)
	w.refuse(t, Long, make([]byte, 65507))
}

func TestPoll_Errors(t *testing.T) {
	w := plain(Config{})
	_, err := w.Poll(w.now, ntp.Stamp{Time: clock}, 0, &io.LimitedReader{R: w.rnd, N: 3})
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("error %v", err)
	}
	if !w.Next().After(w.now) {
		t.Error("a failing source of randomness makes a busy loop")
	}
}

func TestVerdict_Names(t *testing.T) {
	seen := map[string]bool{}
	for v := range verdicts {
		if s := v.String(); s == "" || seen[s] {
			t.Errorf("verdict %d is called %q", v, s)
		} else {
			seen[s] = true
		}
	}
	if s := verdicts.String(); s != "verdict(27)" {
		t.Error(s)
	}
	for _, v := range []Verdict{None, Accepted, KissRate, KissDeny, KissNAK, NoReply} {
		if v.Refused() {
			t.Errorf("%s counts as refusal", v)
		}
	}
}

// TestImpossible_OwnStep: a reply that came before its request tells of a step of our own clock; the timekeeper drops it by its
// epoch, the server is not blamed.
func TestImpossible_OwnStep(t *testing.T) {
	w := plain(Config{})
	_, q := w.poll(t)
	h := w.reply(q)
	w.now = w.now.Add(10 * time.Millisecond)
	o := w.Receive(w.now, h.AppendTo(nil), server, ntp.Stamp{Time: w.at().Add(-time.Minute)})
	if o.Verdict != Accepted || o.Measurement.Epoch != 7 {
		t.Errorf("%v", o.Verdict)
	}
}
