package source

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/nts"
	"ntp-daemon/internal/nts/aead"
)

// peer is an NTS server, made of the production server side of package nts.
type peer struct {
	keys   *nts.KeySet
	sealer *nts.Sealer
	rnd    io.Reader
}

func newPeer(t testing.TB) *peer {
	t.Helper()
	rnd := dice(99)
	k, err := nts.NewMasterKey(rnd)
	if err != nil {
		t.Fatal(err)
	}
	return &peer{keys: nts.NewKeySet(k, 1), sealer: nts.NewSealer(), rnd: rnd}
}

// session is what a key exchange with p would give, with n cookies; seed makes the keys.
func (p *peer) session(t testing.TB, n int, seed byte) *nts.Session {
	t.Helper()
	k := testKeys(seed)
	s, err := nts.NewSession(nts.SessionParams{Keys: k, Cookies: p.cookies(&k, n)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (p *peer) cookies(k *nts.Keys, n int) [][]byte {
	var list [][]byte
	for range n {
		list = append(list, p.sealer.Seal(nil, p.keys, k, p.rnd))
	}
	return list
}

func testKeys(seed byte) nts.Keys {
	return nts.Keys{Algorithm: aead.SIVCMAC256, C2S: bytes.Repeat([]byte{seed}, 32), S2C: bytes.Repeat([]byte{seed + 1}, 32)}
}

// open verifies a request.
func (p *peer) open(t testing.TB, pkt []byte) (*nts.Request, nts.RequestVerdict) {
	t.Helper()
	var f ntp.Fields
	if err := f.Trailer(pkt, 4); err != nil {
		t.Fatal(err)
	}
	r := new(nts.Request)
	return r, r.Open(pkt, &f, p.keys, p.sealer)
}

// seal answers request pkt with header h, authenticated and with cookies.
func (p *peer) seal(t testing.TB, pkt []byte, h ntp.Header) []byte {
	t.Helper()
	r, v := p.open(t, pkt)
	if v != nts.Valid {
		t.Fatalf("request is %v", v)
	}
	out, ok := r.AppendResponse(h.AppendTo(nil), p.keys, p.sealer, p.rnd, len(pkt))
	if !ok {
		t.Fatal("reply does not fit")
	}
	return out
}

// nak is an NTSN answer to request pkt.
func (p *peer) nak(t testing.TB, pkt []byte, q *ntp.Header) []byte {
	r, _ := p.open(t, pkt)
	return r.AppendNAK(nil, q)
}

func secured(t testing.TB) (*association, *peer) {
	p := newPeer(t)
	return plain(Config{Session: p.session(t, 8, 1)}), p
}

// good runs one authenticated exchange.
func (w *association) good(t testing.TB, p *peer) {
	t.Helper()
	r, q := w.poll(t)
	if o := w.receive(p.seal(t, r.Packet, w.reply(q))); o.Verdict != Accepted || !o.Measurement.Authenticated {
		t.Fatalf("%s, authenticated %v", o.Verdict, o.Measurement.Authenticated)
	}
}

func TestNTS_Exchange(t *testing.T) {
	w, p := secured(t)
	for range 20 {
		w.good(t, p)
		if st := w.Status(); st.Cookies != 8 || !st.NTS || st.Need != NeedNothing {
			t.Fatalf("status %+v", st)
		}
	}
}

// TestN13_N15_Refused: what an attacker off or on the path can send in answer to a protected request. The twin
// shows that cookies, keys and everything else stayed as they were: its next requests are the same bytes.
func TestN13_N15_Refused(t *testing.T) {
	for _, c := range []struct {
		name string
		want Verdict
		make func(t *testing.T, w *association, p *peer, r Request, q ntp.Header, old []byte) []byte
	}{
		{"N13 NAK without unique identifier", Unauthentic, func(_ *testing.T, w *association, _ *peer, _ Request, q ntp.Header, _ []byte) []byte {
			return edited(w.reply(q), kissWith("NTSN"))
		}},
		{"N13 NAK with wrong unique identifier", WrongUID, func(_ *testing.T, w *association, _ *peer, _ Request, q ntp.Header, _ []byte) []byte {
			return ntp.AppendField(edited(w.reply(q), kissWith("NTSN")), ntp.FieldUniqueID, make([]byte, 32))
		}},
		{"N13 NAK with wrong origin", WrongOrigin, func(t *testing.T, _ *association, p *peer, r Request, q ntp.Header, _ []byte) []byte {
			q.Transmit++
			return p.nak(t, r.Packet, &q)
		}},
		{"N15 plain reply", Unauthentic, func(_ *testing.T, w *association, _ *peer, _ Request, q ntp.Header, _ []byte) []byte {
			return edited(w.reply(q), func(*ntp.Header) {})
		}},
		{"N15 plain reply of version 3", Unauthentic, func(_ *testing.T, w *association, _ *peer, _ Request, q ntp.Header, _ []byte) []byte {
			return edited(w.reply(q), func(h *ntp.Header) { h.Version = 3 })
		}},
		{"N15 plain reply with the unique identifier", Unauthentic, func(_ *testing.T, w *association, _ *peer, _ Request, q ntp.Header, _ []byte) []byte {
			return ntp.AppendField(edited(w.reply(q), func(*ntp.Header) {}), ntp.FieldUniqueID, w.out.uid[:])
		}},
		{"N15 plain RATE with the unique identifier", Unauthentic, func(_ *testing.T, w *association, _ *peer, _ Request, q ntp.Header, _ []byte) []byte {
			return ntp.AppendField(edited(w.reply(q), kissWith("RATE")), ntp.FieldUniqueID, w.out.uid[:])
		}},
		{"N15 plain DENY", Unauthentic, func(_ *testing.T, w *association, _ *peer, _ Request, q ntp.Header, _ []byte) []byte {
			return edited(w.reply(q), kissWith("DENY"))
		}},
		{"N15 wrong S2C key", Unauthentic, func(t *testing.T, w *association, p *peer, r Request, q ntp.Header, _ []byte) []byte {
			forger, _ := p.open(t, r.Packet)
			forger.Keys.S2C = bytes.Repeat([]byte{9}, 32)
			h := w.reply(q)
			out, _ := forger.AppendResponse(h.AppendTo(nil), p.keys, p.sealer, p.rnd, len(r.Packet))
			return out
		}},
		{"N15 tampered header", Unauthentic, func(t *testing.T, w *association, p *peer, r Request, q ntp.Header, _ []byte) []byte {
			b := p.seal(t, r.Packet, w.reply(q))
			b[40]++
			return b
		}},
		{"N15 replay of an earlier good reply", WrongOrigin, func(_ *testing.T, _ *association, _ *peer, _ Request, _ ntp.Header, old []byte) []byte {
			return old
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, p := secured(t)
			twin := plain(Config{Session: p2session(t)})
			var old []byte
			for _, a := range []*association{w, twin} {
				r, q := a.poll(t)
				peerOf := p
				if a == twin {
					peerOf = newTwinPeer(t)
				}
				b := peerOf.seal(t, r.Packet, a.reply(q))
				if o := a.receive(b); o.Verdict != Accepted {
					t.Fatal(o.Verdict)
				}
				if a == w {
					old = b
				}
			}
			r, q := w.poll(t)
			twin.poll(t)
			bad := c.make(t, w, p, r, q, old)
			before, cookies := *w.Source, w.session.Cookies()
			o := w.receive(bad)
			twin.now = w.now
			if o.Verdict != c.want || !o.Verdict.Refused() {
				t.Errorf("verdict %s, want %s", o.Verdict, c.want)
			}
			if before.out != w.out || before.rate != w.rate || before.reach != w.reach || before.kiss != w.kiss ||
				!before.next.Equal(w.next) || before.last != w.last || cookies != w.session.Cookies() {
				t.Error("state changed")
			}
			for range 9 {
				w.lapse()
				twin.lapse()
				if w.session.Cookies() == 0 {
					break
				}
				r1, _ := w.poll(t)
				r2, _ := twin.poll(t)
				if !bytes.Equal(r1.Packet, r2.Packet) {
					t.Fatal("a later request differs from that of an association that never saw the packet")
				}
			}
		})
	}
}

// newTwinPeer and p2session repeat the random numbers of secured, so that both associations start with equal cookies.
func newTwinPeer(t testing.TB) *peer {
	p := newPeer(t)
	p.session(t, 8, 1) // draws the same random numbers
	return p
}

func p2session(t testing.TB) *nts.Session { return newPeer(t).session(t, 8, 1) }

func TestN14_NAKThenGoodReply(t *testing.T) {
	w, p := secured(t)
	for range 5 {
		r, q := w.poll(t)
		if o := w.receive(p.nak(t, r.Packet, &q)); o.Verdict != KissNAK || o.Kiss != ntp.KissNTSN {
			t.Fatal(o.Verdict)
		}
		if o := w.receive(p.seal(t, r.Packet, w.reply(q))); o.Verdict != Accepted {
			t.Fatal(o.Verdict)
		}
		if need := w.Status().Need; need != NeedNothing {
			t.Fatalf("need %s", need)
		}
	}
}

func TestN14_NAKOnly(t *testing.T) {
	for _, second := range []string{"lost", "NAK"} {
		w, p := secured(t)
		w.good(t, p)
		r, q := w.poll(t)
		w.receive(p.nak(t, r.Packet, &q))
		w.lapse()
		if need := w.Status().Need; need != NeedNothing {
			t.Fatalf("%s after one NAK", need)
		}
		r, q = w.poll(t)
		if second == "NAK" {
			w.receive(p.nak(t, r.Packet, &q))
		}
		w.lapse()
		if need := w.Status().Need; need != NeedKeyExchange {
			t.Fatalf("%s after the next poll was %s", need, second)
		}
		// The association goes on polling with what it has, and the fresh session restores order.
		w.poll(t)
		w.SwapSession(p.session(t, 8, 5))
		w.good(t, p)
		if st := w.Status(); st.Need != NeedNothing || st.Reach&1 == 0 {
			t.Errorf("after the swap: %+v", st)
		}
	}
}

func TestN14_NAKForgivenByNextGoodReply(t *testing.T) {
	w, p := secured(t)
	r, q := w.poll(t)
	w.receive(p.nak(t, r.Packet, &q))
	w.lapse()
	w.good(t, p)
	w.poll(t)
	w.lapse()
	if need := w.Status().Need; need != NeedNothing {
		t.Errorf("need %s", need)
	}
}

func TestKC17_AlternateKeysAfterNAK(t *testing.T) {
	p := newPeer(t)
	wrong := nts.Keys{Algorithm: aead.GCMSIV128, C2S: bytes.Repeat([]byte{1}, 16), S2C: bytes.Repeat([]byte{2}, 16)}
	right := nts.Keys{Algorithm: aead.GCMSIV128, C2S: bytes.Repeat([]byte{3}, 16), S2C: bytes.Repeat([]byte{4}, 16)}
	s, err := nts.NewSession(nts.SessionParams{Keys: wrong, Alternate: &right, Cookies: p.cookies(&right, 8)})
	if err != nil {
		t.Fatal(err)
	}
	w := plain(Config{Session: s})
	r, q := w.poll(t)
	if _, v := p.open(t, r.Packet); v != nts.SendNAK {
		t.Fatalf("server says %v to the wrong keys", v)
	}
	w.receive(p.nak(t, r.Packet, &q))
	w.lapse()
	w.good(t, p)
	if need := w.Status().Need; need != NeedNothing {
		t.Errorf("need %s", need)
	}
}

func TestC17_AuthenticatedDenyStopsAtOnce(t *testing.T) {
	w, p := secured(t)
	r, q := w.poll(t)
	h := w.reply(q)
	kissWith("DENY")(&h)
	if o := w.receive(p.seal(t, r.Packet, h)); o.Verdict != KissDeny || w.Status().Need != NeedStop {
		t.Errorf("%s, need %s", o.Verdict, w.Status().Need)
	}
}

// An authentic reply whose time is of no use still brings cookies, once.
func TestNTS_UnsynchronizedServerRefills(t *testing.T) {
	w, p := secured(t)
	for range 20 {
		r, q := w.poll(t)
		b := p.seal(t, r.Packet, func() ntp.Header { h := w.reply(q); h.Leap = ntp.LeapUnknown; return h }())
		if o := w.receive(b); o.Verdict != Unsynchronized {
			t.Fatal(o.Verdict)
		}
		if o := w.receive(b); o.Verdict != NoRequest {
			t.Fatalf("replay: %s", o.Verdict)
		}
		if st := w.Status(); st.Cookies != 8 || st.Reach != 0 {
			t.Fatalf("%+v", st)
		}
	}
	if need := w.Status().Need; need != NeedReplace {
		t.Errorf("need %s: a server that never has the time should be replaced", need)
	}
}

// TestN17_CookiesOnce: 1000 polls with 20 % loss. No cookie travels twice, and the placeholders are what the jar
// lacked before the request.
func TestN17_CookiesOnce(t *testing.T) {
	w, p := secured(t)
	random := rand.New(rand.NewPCG(3, 4))
	seen := map[string]bool{}
	for range 1000 {
		held := w.session.Cookies()
		r, q := w.poll(t)
		if len(r.Packet) > nts.MaxRequest {
			t.Fatalf("request of %d bytes", len(r.Packet))
		}
		var f ntp.Fields
		if err := f.Trailer(r.Packet, 4); err != nil {
			t.Fatal(err)
		}
		placeholders := 0
		for _, field := range f.All() {
			switch field.Type {
			case ntp.FieldCookie:
				if seen[string(field.Value)] {
					t.Fatal("cookie sent twice")
				}
				seen[string(field.Value)] = true
			case ntp.FieldCookiePlaceholder:
				placeholders++
			}
		}
		if placeholders != 8-held {
			t.Fatalf("%d placeholders with %d cookies in the jar", placeholders, held)
		}
		switch n := random.IntN(10); {
		case n == 0: // request lost
			w.lapse()
		case n == 1: // reply lost
			p.seal(t, r.Packet, w.reply(q))
			w.lapse()
		default:
			if o := w.receive(p.seal(t, r.Packet, w.reply(q))); o.Verdict != Accepted {
				t.Fatal(o.Verdict)
			}
		}
	}
}

func TestNTS_LastCookies(t *testing.T) {
	p := newPeer(t)
	w := plain(Config{Session: p.session(t, 7, 1)})
	w.good(t, p) // 8 again
	for left := 7; left >= 0; left-- {
		w.poll(t)
		w.lapse()
		st := w.Status()
		want := NeedNothing
		switch {
		case left == 0: // eight lost polls
			want = NeedReplace
		case left <= fewCookies:
			want = NeedKeyExchange
		}
		if st.Cookies != left || st.Need != want {
			t.Fatalf("%d cookies, need %s", st.Cookies, st.Need)
		}
	}
	w.now = w.Next()
	_, err := w.Poll(w.now, ntp.Stamp{Time: w.at()}, 7, w.rnd)
	if !errors.Is(err, nts.ErrNoCookies) || w.Waiting() {
		t.Errorf("error %v", err)
	}
	if st := w.Status(); !w.Next().After(w.now) || st.Need != NeedReplace || st.Unanswered != 9 {
		t.Errorf("after the last cookie: next in %v, %+v", w.Next().Sub(w.now), st)
	}
}

// A request under way when the session is swapped is still judged by the keys that sealed it.
func TestSwapSession_RequestUnderWay(t *testing.T) {
	w, p := secured(t)
	r, q := w.poll(t)
	w.SwapSession(p.session(t, 3, 7))
	if o := w.receive(p.seal(t, r.Packet, w.reply(q))); o.Verdict != Accepted {
		t.Fatal(o.Verdict)
	}
	if c := w.Status().Cookies; c != 3 {
		t.Errorf("%d cookies in the fresh jar; those of the old keys must not get there", c)
	}
	w.good(t, p)
}

// N14: what the old keys were told does not count against the new ones.
func TestN14_NAKOfTheOldSession(t *testing.T) {
	w, p := secured(t)
	w.good(t, p)
	r, q := w.poll(t)
	w.receive(p.nak(t, r.Packet, &q))
	w.lapse()
	w.SwapSession(p.session(t, 8, 7))
	w.poll(t)
	w.lapse() // lost, as packets are
	if need := w.Status().Need; need != NeedNothing {
		t.Errorf("%s after one lost poll with fresh keys", need)
	}
}

// FuzzReceiveNTS throws arbitrary trailers at a protected association: nothing but a reply sealed for the
// request may change anything, a NAK with its unique identifier excepted.
func FuzzReceiveNTS(f *testing.F) {
	w, p := secured(f)
	r, q := w.poll(f)
	f.Add(p.seal(f, r.Packet, w.reply(q)), false)
	f.Add(p.nak(f, r.Packet, &q), true)
	f.Add(ntp.AppendField(edited(w.reply(q), func(*ntp.Header) {}), ntp.FieldUniqueID, make([]byte, 32)), true)
	f.Fuzz(func(t *testing.T, pkt []byte, uid bool) {
		w := plain(Config{Session: newPeer(t).session(t, 8, 50)}) // keys that no seed of this target was sealed with
		w.poll(t)
		if len(pkt) >= ntp.HeaderLen+36 {
			pkt = append([]byte(nil), pkt...)
			origin := ntp.Header{Origin: w.out.origin}
			copy(pkt[24:32], origin.AppendTo(nil)[24:32])
			if uid {
				copy(pkt[ntp.HeaderLen:], ntp.AppendField(nil, ntp.FieldUniqueID, w.out.uid[:]))
			}
		}
		before, cookies := *w.Source, w.session.Cookies()
		o := w.Receive(w.now, pkt, server, ntp.Stamp{Time: w.at()})
		if o.Verdict == Accepted || o.Verdict == KissRate || o.Verdict == KissDeny {
			t.Fatalf("%s without the key", o.Verdict)
		}
		after := *w.Source
		if o.Verdict == KissNAK {
			after.out.nak = false
		}
		if before.out != after.out || before.rate != after.rate || before.reach != after.reach || before.kiss != after.kiss ||
			!before.next.Equal(after.next) || before.last != after.last || cookies != w.session.Cookies() {
			t.Fatalf("%s changed the state", o.Verdict)
		}
		if from := netip.MustParseAddrPort("198.51.100.7:123"); w.Receive(w.now, pkt, from, ntp.Stamp{}).Verdict != WrongAddress {
			t.Fatal("accepted from elsewhere")
		}
	})
}

// TestN25_OutsideCertificate: the time of the first reply must be inside the validity of the certificate that the keys
// came under. Afterwards the certificate may run out: the keys do not.
func TestN25_OutsideCertificate(t *testing.T) {
	for _, c := range []struct {
		name     string
		from, to time.Duration // validity, relative to the server's time
		later    time.Duration // the server's second reply, relative to its first
		first    Verdict
	}{
		{"inside", -time.Hour, time.Hour, 0, Accepted},
		{"runs out between first and second reply", -time.Hour, time.Second, time.Minute, Accepted},
		{"certificate of the past", -2 * time.Hour, -time.Minute, 0, OffCertificate},
		{"certificate of the future", time.Minute, time.Hour, 0, OffCertificate},
		{"certificate of another century", -100 * 365 * 24 * time.Hour, -99 * 365 * 24 * time.Hour, 0, OffCertificate},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPeer(t)
			k := testKeys(1)
			w := plain(Config{})
			_, q := w.poll(t)
			h := w.reply(q)
			server := h.Transmit.Time(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
			s, err := nts.NewSession(nts.SessionParams{
				Keys: k, Cookies: p.cookies(&k, 8), NotBefore: server.Add(c.from), NotAfter: server.Add(c.to),
			})
			if err != nil {
				t.Fatal(err)
			}
			w = plain(Config{Session: s})
			r, q := w.poll(t)
			if o := w.receive(p.seal(t, r.Packet, w.reply(q))); o.Verdict != c.first {
				t.Fatalf("first reply: %s", o.Verdict)
			}
			if c.first != Accepted {
				if st := w.Status(); st.Need != NeedReject || st.Reach != 0 || !st.Need.Final() {
					t.Errorf("status %+v", st)
				}
				return
			}
			r, q = w.poll(t)
			h = w.reply(q)
			h.Receive, h.Transmit = h.Receive.Add(c.later), h.Transmit.Add(c.later)
			if o := w.receive(p.seal(t, r.Packet, h)); o.Verdict != Accepted {
				t.Errorf("second reply: %s", o.Verdict)
			}
		})
	}
}
