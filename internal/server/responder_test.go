package server

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"ntp-daemon/internal/ntp"
)

func TestS01_PlainReply(t *testing.T) {
	for _, first := range []byte{0x23, 0x63, 0xa3, 0xe3, 0x1b, 0xdb} {
		t.Run(fmt.Sprintf("%02x", first), func(t *testing.T) {
			b := newBench(Config{})
			req := header(first)
			req[2] = 6
			reply := b.expect(t, req, Answered, 48)
			h := parse(t, reply)
			if reply[0] != first&0x38|4 {
				t.Errorf("first byte %02x", reply[0])
			}
			if h.Origin != testXmt {
				t.Errorf("origin %x", h.Origin)
			}
			if h.Receive != testNow || h.Transmit != b.clock() || !h.Receive.Before(h.Transmit) {
				t.Errorf("receive %x transmit %x", h.Receive, h.Transmit)
			}
			if h.Poll != 6 || h.Stratum != 2 || h.RefID != b.view.RefID || h.Precision != -24 || h.Reference != b.view.Reference {
				t.Errorf("header %+v", h)
			}
			if h.RootDelay != ntp.ShortFrom(b.view.RootDelay) || !boundFor(&h, b.view, testNow) {
				t.Errorf("root delay %x dispersion %x", h.RootDelay, h.RootDispersion)
			}
		})
	}
}

// boundFor reports whether a reply's root dispersion is that of a request that came at t, or of the milliseconds after it.
func boundFor(h *ntp.Header, v *ntp.View, t ntp.Timestamp) bool {
	return h.RootDispersion >= ntp.ShortFrom(v.RootDispersion(t)) && h.RootDispersion <= ntp.ShortFrom(v.RootDispersion(t.Add(4*time.Millisecond)))
}

// The system variables are those of the View and the moment, however they follow each other.
func TestRespond_SystemVariablesFollow(t *testing.T) {
	b := newBench(Config{})
	fast, other := testView(), testView()
	fast.Wander = 0.01 // grows by a unit of the root dispersion in 1.5 ms
	other.Stratum, other.RootDelay = 5, time.Second
	for i, step := range []struct {
		view *ntp.View
		time time.Duration
	}{
		{fast, 0}, {fast, time.Millisecond}, {fast, 3 * time.Millisecond}, {fast, 4 * time.Millisecond}, {fast, time.Hour},
		{other, time.Hour}, {fast, time.Hour}, {fast, time.Millisecond}, {nil, time.Millisecond}, {other, time.Millisecond}, {other, -time.Second},
	} {
		b.view, b.now = step.view, testNow.Add(step.time)
		h := parse(t, b.expect(t, header(0x23), Answered, 48))
		if step.view == nil {
			if h.Stratum != 0 || h.Leap != ntp.LeapUnknown {
				t.Errorf("%d: %+v", i, h)
			}
			continue
		}
		if h.Stratum != step.view.Stratum || h.RootDelay != ntp.ShortFrom(step.view.RootDelay) || !boundFor(&h, step.view, b.now) {
			t.Errorf("%d: %+v", i, h)
		}
	}
}

func TestS01_PollClamped(t *testing.T) {
	for in, want := range map[int8]int8{0: 0, 6: 6, 17: 17, 18: 17, 127: 17, -6: -6, -7: -6, -128: -6} {
		b := newBench(Config{})
		req := header(0x23)
		req[2] = byte(in)
		if got := parse(t, b.expect(t, req, Answered, 48)).Poll; got != want {
			t.Errorf("poll %d became %d, want %d", in, got, want)
		}
	}
}

func TestS02_VersionsModesLengths(t *testing.T) {
	rows := []struct {
		name     string
		versions Versions
		packet   []byte
		want     Verdict
	}{
		{"v4 client", 0, header(0x23), Answered},
		{"v3 client", 0, header(0x1b), Answered},
		{"v2 client", 0, header(0x13), WrongVersion},
		{"v1 client", 0, header(0x0b), WrongVersion},
		{"v1 mode 0", 0, header(0x08), WrongVersion},
		{"v0 client", 0, header(0x03), WrongVersion},
		{"v5 client", 0, header(0x2b), WrongVersion},
		{"v5 client asked for in vain", VersionSet(3, 4, 5), header(0x2b), WrongVersion},
		{"v2 opted in", VersionSet(1, 2, 3, 4), header(0x13), Answered},
		{"v1 opted in", VersionSet(1, 2, 3, 4), header(0x0b), Answered},
		{"v1 mode 0 opted in", VersionSet(1, 2, 3, 4), header(0x08), Answered},
		{"v2 mode 0 opted in", VersionSet(1, 2, 3, 4), header(0x10), WrongMode},
		{"only v4", VersionSet(4), header(0x1b), WrongVersion},
		{"mode 2", 0, header(0x22), WrongMode},
		{"mode 4", 0, header(0x24), WrongMode},
		{"mode 5", 0, header(0x25), WrongMode},
		{"47 bytes", 0, header(0x23)[:47], TooShort},
		{"empty", 0, nil, TooShort},
		{"49 bytes", 0, append(header(0x23), 0), BadTrailer},
		{"crypto-NAK", 0, append(header(0x23), 0, 0, 0, 0), BadTrailer},
		{"too long", 0, append(header(0x23), make([]byte, ntp.MaxPacket)...), TooLong},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			length := 0
			if row.want == Answered {
				length = 48
			}
			reply := newBench(Config{Versions: row.versions}).expect(t, row.packet, row.want, length)
			if length > 0 && reply[0] != row.packet[0]&0x38|4 {
				t.Errorf("first byte %02x", reply[0])
			}
		})
	}
}

// S03: who is answered in which mode, for every version, mode and source port that matters.
func TestS03_OnlyRequestsAreAnswered(t *testing.T) {
	for _, versions := range []Versions{0, VersionSet(1, 2, 3, 4), VersionSet(4)} {
		for _, port := range []uint16{123, 50123} {
			b := newBench(Config{Versions: versions})
			b.from = netip.AddrPortFrom(testClient.Addr(), port)
			for first := range 256 {
				version, mode, want := byte(first>>3&7), byte(first&7), byte(0)
				if versions == 0 && (version == 3 || version == 4) || versions>>version&1 == 1 {
					switch {
					case mode == 3, mode == 0 && version == 1 && port != 123:
						want = 4
					case mode == 1:
						want = 2
					}
				}
				reply, verdict := b.ask(header(byte(first)))
				if want == 0 {
					if reply != nil || verdict != WrongMode && verdict != WrongVersion {
						t.Errorf("versions %08b, port %d, first byte %02x: %v, %d bytes", versions, port, first, verdict, len(reply))
					}
					continue
				}
				if len(reply) != 48 || verdict != Answered || reply[0] != version<<3|want {
					t.Errorf("versions %08b, port %d, first byte %02x: %v, %x", versions, port, first, verdict, reply)
				}
			}
		}
	}
	b := newBench(Config{Versions: VersionSet(1, 2, 3, 4)})
	for _, probe := range []string{"1700032a", "160200010000000000000000"} {
		p, _ := hex.DecodeString(probe)
		for _, length := range []int{len(p), 48, 192} {
			q := append(bytes.Clone(p), make([]byte, length)...)[:length]
			if reply, _ := b.ask(q); reply != nil {
				t.Errorf("probe %s of %d bytes was answered", probe, length)
			}
		}
	}
}

// S03: a symmetric active request gets time in an answer of the same length, refusals in the same mode, and
// nothing when it is more than a header that an answer without key can serve.
func TestS03_SymmetricActive(t *testing.T) {
	for _, first := range []byte{0xd9, 0xe1, 0x21, 0x19} { // w32tm, a router, and both synchronised
		b := newBench(Config{})
		b.from = netip.AddrPortFrom(testClient.Addr(), 123)
		req := header(first)
		req[2] = 6
		reply := b.expect(t, req, Answered, 48)
		h := parse(t, reply)
		if h.Mode != ntp.ModeSymmetricPassive || h.Version != first>>3&7 || h.Leap != ntp.LeapNone || h.Poll != 6 ||
			h.Origin != testXmt || h.Receive != testNow || h.Transmit != b.clock() || h.Stratum != 2 || h.RefID != b.view.RefID {
			t.Errorf("%02x: %+v", first, h)
		}
	}
	uid := field(header(0x21), ntp.FieldUniqueID, 36, make([]byte, 32))
	for name, row := range map[string]struct {
		packet []byte
		want   Verdict
	}{
		"v3 with MAC":           {append(header(0x19), make([]byte, 20)...), WrongMode},
		"v4 with MAC":           {append(header(0x21), make([]byte, 20)...), WrongMode},
		"v4 with long MAC":      {append(header(0x21), make([]byte, 24)...), WrongMode},
		"field and MAC":         {append(field(header(0x21), 0x4242, 16, make([]byte, 12)), make([]byte, 20)...), WrongMode},
		"unknown field":         {field(header(0x21), 0x4242, 28, make([]byte, 24)), Answered},
		"unique identifier":     {uid, BadNTS},
		"long identifier":       {field(header(0x21), ntp.FieldUniqueID, 104, make([]byte, 100)), BadNTS},
		"cookie":                {field(header(0x21), ntp.FieldCookie, 104, make([]byte, 100)), BadNTS},
		"placeholder":           {field(header(0x21), ntp.FieldCookiePlaceholder, 104, make([]byte, 100)), BadNTS},
		"authenticator":         {field(header(0x21), ntp.FieldAuthenticator, 40, make([]byte, 36)), BadNTS},
		"field of v3":           {field(header(0x19), 0x4242, 28, make([]byte, 24)), BadTrailer},
		"4 bytes, crypto-NAK":   {append(header(0x21), 0, 0, 0, 0), BadTrailer},
		"12 bytes behind":       {append(header(0x21), make([]byte, 12)...), BadTrailer},
		"as long as can be":     {append(header(0x21), make([]byte, ntp.MaxPacket)...), TooLong},
		"shorter than a header": {header(0x21)[:47], TooShort},
	} {
		length := 0
		if row.want == Answered {
			length = 48
		}
		if reply := newBench(Config{}).expect(t, row.packet, row.want, length); length > 0 && reply[0]&7 != 2 {
			t.Errorf("%s: first byte %02x", name, reply[0])
		}
	}
	newBench(Config{RequireNTS: Ignore}).expect(t, header(0x21), PlainIgnored, 0)
	kiss := newBench(Config{RequireNTS: Deny}).expect(t, header(0x21), Denied, 48)
	if h := parse(t, kiss); h.Mode != ntp.ModeSymmetricPassive || h.RefID != ntp.KissDENY || !h.IsKiss() {
		t.Errorf("kiss %+v", h)
	}
}

// S04: two servers wired to each other, both on port 123 or not, a forged packet of any first byte starts it.
func TestS04_NoLoopBetweenServers(t *testing.T) {
	versions := VersionSet(1, 2, 3, 4)
	for i := range 512 {
		a, b, seed := newBench(Config{Versions: versions}), newBench(Config{Versions: versions}), byte(i)
		other := netip.AddrPortFrom(testClient.Addr(), []uint16{123, 10123}[i>>8])
		a.from, a.to = testServer, other
		b.from, b.to = other, testServer
		packet, sent := header(seed), 0
		for turn := 0; packet != nil && sent < 10; turn++ {
			who := b
			if turn%2 == 1 {
				who = a
			}
			reply, _ := who.ask(packet)
			if packet = bytes.Clone(reply); packet != nil {
				sent++
			}
		}
		if sent > 1 {
			t.Errorf("seed %02x from port %d: %d packets", seed, other.Port(), sent)
		}
	}
}

func TestS07_UnknownFieldsAreNotEchoed(t *testing.T) {
	b := newBench(Config{})
	one := field(header(0x23), 0x4242, 16, make([]byte, 12))
	long := field(header(0x23), 0x4242, 28, make([]byte, 24))
	three := field(field(one, 0x4243, 16, make([]byte, 12)), 0x4244, 28, make([]byte, 24))
	for _, p := range [][]byte{one, long, three} {
		b.expect(t, p, Answered, 48)
	}
}

func TestS08_BrokenFields(t *testing.T) {
	b := newBench(Config{})
	for _, length := range []int{0, 1, 2, 3, 5, 17, 0xfffc, 0xffff} {
		b.expect(t, field(header(0x23), 0x4242, length, make([]byte, 60)), BadTrailer, 0)
	}
	many := header(0x23)
	for range 17 {
		many = field(many, 0x4242, 28, make([]byte, 24))
	}
	b.expect(t, many, BadTrailer, 0)
	tiny := header(0x23)
	for len(tiny) < 60000 {
		tiny = field(tiny, 0x4242, 4, nil)
	}
	b.expect(t, tiny[:2048], BadTrailer, 0)
	start := time.Now()
	const rounds = 100
	for range rounds {
		b.expect(t, tiny, TooLong, 0)
		b.expect(t, many, BadTrailer, 0)
	}
	if per := time.Since(start) / (2 * rounds); per > 20*time.Microsecond {
		t.Errorf("%v for one broken packet", per)
	}
}

func TestS09_UniqueIDEcho(t *testing.T) {
	b := newBench(Config{})
	uid := bytes.Repeat([]byte{0xa5, 0x5a}, 16)
	req := field(header(0x23), ntp.FieldUniqueID, 36, uid)
	reply := b.expect(t, req, Answered, 84)
	if !bytes.Equal(reply[48:], req[48:]) {
		t.Errorf("echo %x", reply[48:])
	}
}

// S10: the one table of what a trailer may be.
func TestS10_TrailerLengths(t *testing.T) {
	b := newBench(Config{})
	for n := range 65 {
		raw := bytes.Repeat([]byte{0xff}, n) // bytes 3 and 4 never a fitting length
		want, length := BadTrailer, 0
		if n == 0 || n == 20 || n == 24 {
			want, length = Answered, 48
		}
		t.Run(fmt.Sprintf("random %d", n), func(t *testing.T) { b.expect(t, append(header(0x23), raw...), want, length) })
		t.Run(fmt.Sprintf("random v3 %d", n), func(t *testing.T) { b.expect(t, append(header(0x1b), raw...), want, length) })
		if n < 4 {
			continue
		}
		want, length = BadTrailer, 0
		if n == 16 || n == 20 || n == 24 || n == 28 || n >= 32 && n%4 == 0 {
			want, length = Answered, 48
		}
		t.Run(fmt.Sprintf("field %d", n), func(t *testing.T) {
			b.expect(t, field(header(0x23), 0x4242, n, make([]byte, n-4)), want, length)
		})
	}
}

func TestS11_Unsynchronised(t *testing.T) {
	rows := map[string]func(v *ntp.View) *ntp.View{
		"no view yet":       func(*ntp.View) *ntp.View { return nil },
		"flag":              func(v *ntp.View) *ntp.View { v.Synchronized = false; return v },
		"stratum 16":        func(v *ntp.View) *ntp.View { v.Stratum = ntp.MaxStratum; return v },
		"stratum 0":         func(v *ntp.View) *ntp.View { v.Stratum = 0; return v },
		"leap unknown":      func(v *ntp.View) *ntp.View { v.Leap = ntp.LeapUnknown; return v },
		"refid DENY":        func(v *ntp.View) *ntp.View { v.Synchronized, v.RefID = false, ntp.KissDENY; return v },
		"refid RATE":        func(v *ntp.View) *ntp.View { v.Synchronized, v.RefID = false, ntp.KissRATE; return v },
		"refid RSTR":        func(v *ntp.View) *ntp.View { v.Synchronized, v.RefID = false, ntp.KissRSTR; return v },
		"refid NTSN":        func(v *ntp.View) *ntp.View { v.Synchronized, v.RefID = false, ntp.KissNTSN; return v },
		"refid of a source": func(v *ntp.View) *ntp.View { v.Synchronized = false; return v },
	}
	for name, change := range rows {
		t.Run(name, func(t *testing.T) {
			b := newBench(Config{})
			b.view = change(b.view)
			h := parse(t, b.expect(t, header(0x23), Answered, 48))
			if h.Leap != ntp.LeapUnknown || h.Stratum != 0 {
				t.Errorf("leap %v stratum %d", h.Leap, h.Stratum)
			}
			switch h.RefID {
			case 0, ntp.KissRATE, ntp.KissDENY, ntp.KissRSTR, ntp.KissNTSN:
				t.Errorf("reference identifier %q", h.RefID.Text())
			}
			if !h.Receive.Before(h.Transmit) || h.Origin != testXmt {
				t.Errorf("stamps %+v", h)
			}
		})
	}
}

func TestS12_ZeroTransmit(t *testing.T) {
	b := newBench(Config{})
	req := make([]byte, 48)
	req[0] = 0x23
	if h := parse(t, b.expect(t, req, Answered, 48)); !h.Origin.IsZero() {
		t.Errorf("origin %x", h.Origin)
	}
}

func TestS13_TransmitIsLater(t *testing.T) {
	for name, row := range map[string]struct{ received, read ntp.Timestamp }{
		"stepped back 1 s":     {testNow, testNow.Add(-time.Second)},
		"stepped back 30 y":    {testNow, testNow.Add(-30 * 365 * 24 * time.Hour)},
		"same tick":            {testNow, testNow},
		"one tick later":       {testNow, testNow + 1},
		"no receive stamp":     {0, testNow},
		"no clock":             {testNow, 0},
		"neither":              {0, 0},
		"era ends between":     {^ntp.Timestamp(0), 0},
		"just into the era":    {^ntp.Timestamp(0), 1},
		"stepped back to zero": {testNow, 1},
		"era 1, no stamp":      {0, 1 << 40},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(Config{})
			b.now, b.clock = row.received, func() ntp.Timestamp { return row.read }
			h := parse(t, b.expect(t, header(0x23), Answered, 48))
			if !h.Receive.Before(h.Transmit) || h.Receive.IsZero() || h.Transmit.IsZero() {
				t.Errorf("receive %x transmit %x", h.Receive, h.Transmit)
			}
		})
	}
}

// TestS13_AStepBetweenStampAndAnswer: both times of an answer are of one time scale.
func TestS13_AStepBetweenStampAndAnswer(t *testing.T) {
	for name, interleaves := range map[string]*Interleaves{"alone": nil, "with a table": NewInterleaves([2]uint64{1, 2})} {
		b := newBench(Config{Interleaves: interleaves})
		after := testNow.Add(time.Hour)
		b.clock = func() ntp.Timestamp { return after.Add(30 * time.Microsecond) }
		b.epoch = Epoch{Number: 1, Since: after}
		if h := parse(t, b.expect(t, header(0x23), Answered, 48)); h.Transmit.Sub(b.clock()).Abs() > time.Nanosecond || h.Transmit.Sub(h.Receive) > time.Nanosecond || !h.Receive.Before(h.Transmit) {
			t.Errorf("%s: receive %x transmit %x", name, h.Receive, h.Transmit)
		}
		b.now = after.Add(time.Microsecond)
		if h := parse(t, b.expect(t, header(0x23), Answered, 48)); h.Receive|1 != b.now|1 {
			t.Errorf("%s: receive %x, want %x", name, h.Receive, b.now)
		}
	}
}

func TestS25_LeapFollowsTheView(t *testing.T) {
	b := newBench(Config{})
	for _, leap := range []ntp.LeapIndicator{ntp.LeapNone, ntp.LeapInsert, ntp.LeapDelete, ntp.LeapNone} {
		b.view = testView()
		b.view.Leap = leap
		if h := parse(t, b.expect(t, header(0x23), Answered, 48)); h.Leap != leap {
			t.Errorf("served %v, want %v", h.Leap, leap)
		}
	}
}

func TestRespond_RequireNTS(t *testing.T) {
	newBench(Config{RequireNTS: Ignore}).expect(t, header(0x23), PlainIgnored, 0)
	b := newBench(Config{RequireNTS: Deny})
	checkKiss(t, b.expect(t, header(0x23), Denied, 48), ntp.KissDENY)
}

// checkKiss checks that a kiss tells no time.
func checkKiss(t *testing.T, reply []byte, code ntp.KissCode) {
	t.Helper()
	h := parse(t, reply)
	if h.Leap != ntp.LeapUnknown || !h.IsKiss() || h.RefID != code || h.Origin != testXmt || h.Mode != ntp.ModeServer {
		t.Errorf("kiss %+v (%q)", h, h.RefID.Text())
	}
	if d := h.Receive.Sub(testXmt); d > time.Microsecond || d < -time.Microsecond {
		t.Errorf("kiss tells time: receive %x", h.Receive)
	}
	if !h.Reference.IsZero() || h.RootDelay != 0 || h.RootDispersion != 0 {
		t.Errorf("kiss tells system variables: %+v", h)
	}
}

func TestRespond_PlainAllocatesNothing(t *testing.T) {
	limiter := NewRateLimiter(RateLimit{Prefixes: 1024, Interval: time.Millisecond, Burst: 8, Seed: [2]uint64{1, 2}})
	access, err := NewAccess(Rule{Prefixes: prefixes("10.0.0.0/8", "2001:db8::/32"), Action: Deny}, nil)
	if err != nil {
		t.Fatal(err)
	}
	b := newBench(Config{Limiter: limiter, Access: access})
	plain, uid := header(0x23), field(header(0x23), ntp.FieldUniqueID, 36, make([]byte, 32))
	broken := append(header(0x23), 1, 2, 3)
	for name, p := range map[string][]byte{"plain": plain, "uid": uid, "broken": broken} {
		if n := testing.AllocsPerRun(1000, func() { b.ask(p) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkRespond_Plain(b *testing.B) {
	s := newBench(Config{})
	p := header(0x23)
	b.ReportAllocs()
	for b.Loop() {
		if _, v := s.ask(p); v != Answered {
			b.Fatal(v)
		}
	}
}

func BenchmarkRespond_PlainWithListsAndLimiter(b *testing.B) {
	access, _ := NewAccess(Rule{Prefixes: prefixes("10.0.0.0/8", "172.16.0.0/12", "2001:db8::/32"), Action: Deny}, nil)
	s := newBench(Config{Access: access, Limiter: NewRateLimiter(RateLimit{Prefixes: 1 << 16, Interval: time.Second, Burst: 8})})
	p := header(0x23)
	b.ReportAllocs()
	for b.Loop() {
		s.now = s.now.Add(2 * time.Second)
		if _, v := s.ask(p); v != Answered {
			b.Fatal(v)
		}
	}
}
