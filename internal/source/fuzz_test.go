package source

import (
	"net/netip"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"ntp-daemon/internal/ntp"
)

// judge hands a datagram to an association with one open request and checks the promise of the package: no
// measurement without the origin, and a refused packet changes nothing.
func judge(t interface{ Fatalf(string, ...any) }, w *association, pkt []byte, from netip.AddrPort) {
	before := *w.Source
	o := w.Receive(w.now, pkt, from, ntp.Stamp{Time: w.at()})
	h, err := ntp.ParseHeader(pkt)
	matched := err == nil && before.out.open && h.Origin == before.out.origin && from == server
	if !matched && (!o.Verdict.Refused() || o.Measurement != (ntp.Measurement{})) {
		t.Fatalf("%s without the origin of our request", o.Verdict)
	}
	if o.Verdict.Refused() && !reflect.DeepEqual(before, *w.Source) {
		t.Fatalf("refused packet (%s) changed the state:\n%+v\n%+v", o.Verdict, before, *w.Source)
	}
	m := o.Measurement
	if o.Verdict == Accepted && (m.Stratum < 1 || m.Stratum > 15 || m.Leap == ntp.LeapUnknown || m.Precision <= 0 ||
		m.RootDelay/2+m.RootDispersion >= maxDistance) {
		t.Fatalf("accepted %+v", m)
	}
	if wait := w.Next().Sub(w.now); wait > 1100*time.Second {
		t.Fatalf("next poll in %v", wait)
	}
}

// FuzzReceive throws arbitrary datagrams at a client association. With match set, the origin is made right, so
// that the fuzzer gets past the first gate.
func FuzzReceive(f *testing.F) {
	w := plain(Config{})
	_, q := w.poll(f)
	good := w.reply(q)
	for _, edit := range []func(*ntp.Header){
		func(*ntp.Header) {}, kissWith("RATE"), kissWith("DENY"), kissWith("NTSN"), kissWith("XFUN"),
		func(h *ntp.Header) { h.Version = 3 }, func(h *ntp.Header) { h.Leap = 3 }, func(h *ntp.Header) { h.Origin = 0 },
	} {
		f.Add(edited(good, edit), true)
		f.Add(edited(good, edit), false)
	}
	f.Add(append(good.AppendTo(nil), 0, 0, 0, 0), true)
	f.Add(ntp.AppendField(good.AppendTo(nil), ntp.FieldUniqueID, make([]byte, 32)), true)
	f.Add([]byte{}, false)
	f.Fuzz(func(t *testing.T, pkt []byte, match bool) {
		w := plain(Config{})
		w.accept(t)
		w.poll(t)
		if match && len(pkt) >= ntp.HeaderLen {
			pkt = append([]byte(nil), pkt...)
			origin := ntp.Header{Origin: w.out.origin}
			copy(pkt[24:32], origin.AppendTo(nil)[24:32])
		}
		judge(t, w, pkt, server)
		judge(t, w, pkt, netip.MustParseAddrPort("198.51.100.7:123"))
		w.lapse()
		judge(t, w, pkt, server)
	})
}

// TestProperty_RefusedChangesNothing drives an association through random histories of good replies, losses,
// kisses and near misses.
func TestProperty_RefusedChangesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := plain(Config{Burst: rapid.IntRange(0, 9).Draw(t, "burst"), PollMin: 2, PollMax: 9, PollInitial: 3})
		var old ntp.Header
		for range rapid.IntRange(1, 40).Draw(t, "polls") {
			if next := w.Next(); next.After(w.now) {
				w.now = next
			}
			if _, err := w.Poll(w.now, ntp.Stamp{Time: w.at()}, 7, w.rnd); err != nil {
				t.Fatal(err)
			}
			h := w.reply(ntp.Header{Version: 4, Transmit: w.out.origin})
			for range rapid.IntRange(0, 3).Draw(t, "packets") {
				from := server
				p := h
				switch rapid.IntRange(0, 9).Draw(t, "kind") {
				case 0:
					p = old
				case 1:
					p.Origin = ntp.Timestamp(rapid.Uint64().Draw(t, "origin"))
				case 2:
					p.Mode = ntp.Mode(rapid.IntRange(0, 7).Draw(t, "mode"))
				case 3:
					p.Stratum = ntp.Stratum(rapid.Byte().Draw(t, "stratum"))
				case 4:
					p.Stratum, p.RefID = 0, rapid.SampledFrom([]ntp.KissCode{ntp.KissRATE, ntp.KissDENY, ntp.KissRSTR, ntp.KissNTSN, 7}).Draw(t, "kiss")
				case 5:
					p.Receive = ntp.Timestamp(rapid.Uint64().Draw(t, "receive"))
				case 6:
					from = netip.MustParseAddrPort("192.0.2.1:1234")
				case 7:
					p.RootDelay = ntp.Short(rapid.Uint32().Draw(t, "delay"))
				}
				judge(t, w, p.AppendTo(nil), from)
			}
			old = h
			if rapid.Bool().Draw(t, "lapse") {
				w.lapse()
			}
			if rapid.Bool().Draw(t, "advice") {
				w.Advise(w.now, ntp.Advice{Poll: ntp.PollExp(rapid.Int8().Draw(t, "poll")), PollNow: rapid.Bool().Draw(t, "now")})
			}
			if w.Next().Before(w.rate.last) {
				t.Fatal("next poll before the last")
			}
		}
	})
}
