package server

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/nts"
	"ntp-daemon/internal/nts/aead"
)

// Senders of FuzzResponderSequence. The first four are different prefixes of the limiter, as many as its table holds.
var sequenceSenders = []netip.AddrPort{
	netip.MustParseAddrPort("192.0.2.7:50123"),
	netip.MustParseAddrPort("[2001:db8:1:2::7]:123"),
	netip.MustParseAddrPort("203.0.113.5:1024"), // on the deny list
	netip.MustParseAddrPort("10.9.8.7:123"),     // not on the allow list
	netip.MustParseAddrPort("192.0.2.7:50124"),  // the prefix of the first
	netip.MustParseAddrPort("[2001:db8:1:2:ffff::9]:40000"),
	netip.MustParseAddrPort("192.0.2.7:0"),
	netip.MustParseAddrPort("198.51.100.1:123"), // ourselves
	netip.MustParseAddrPort("127.0.0.1:4000"),
	netip.MustParseAddrPort("255.255.255.255:123"),
}

const (
	maxSequence      = 64                     // datagrams in one run
	sequenceInterval = 500 * time.Millisecond // the limiter's
	sequenceBurst    = 3
)

// sequence is a responder, its client and what the limiters must remember.
type sequence struct {
	*bench
	t       *testing.T
	client  *ntsClient
	script  []byte
	deny    Action
	other   Action
	limited bool
	full    map[netip.Addr]int64 // when the bucket is full again, in ticks of 1/1024 s
	kissed  map[netip.Addr]int64 // when the last kiss was sent
	jar     [][]byte             // cookies from replies
	last    []byte               // the datagram before
	reads   int                  // of the clock, for this datagram
}

// take is the next byte of the script, 0 behind its end.
func (s *sequence) take() byte {
	if len(s.script) == 0 {
		return 0
	}
	b := s.script[0]
	s.script = s.script[1:]
	return b
}

// newSequence reads the configuration from the mode.
func newSequence(t *testing.T, c *ntsClient, script []byte, mode uint8) *sequence {
	s := &sequence{
		t: t, client: c, script: script, deny: Action(mode & 3 % 3), other: Action(mode >> 2 & 3 % 3), limited: mode&16 != 0,
		full: map[netip.Addr]int64{}, kissed: map[netip.Addr]int64{},
	}
	access, err := NewAccess(
		Rule{Prefixes: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}, Action: s.deny},
		&Rule{Prefixes: []netip.Prefix{
			netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("203.0.113.0/24"),
			netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("198.51.100.0/24"),
		}, Action: s.other})
	if err != nil {
		t.Fatal(err)
	}
	conf := Config{Access: access}
	if s.limited {
		conf.Limiter = NewRateLimiter(RateLimit{Prefixes: 4, Interval: sequenceInterval, Burst: sequenceBurst})
		if mode&32 != 0 {
			conf.KissRate = NewKissLimiter(4, [2]uint64{})
		}
	}
	if mode&64 != 0 {
		conf.RequireNTS = Deny
	}
	c.rnd = 1 // the same input shall do the same
	s.bench = c.bench(conf)
	s.clock = func() ntp.Timestamp { s.reads++; return s.now.Add(20 * time.Microsecond) }
	return s
}

// action is what the access lists say, without the code that searches them.
func (s *sequence) action() Action {
	switch b := s.from.Addr().AsSlice(); {
	case bytes.HasPrefix(b, []byte{203, 0, 113}):
		return s.deny
	case b[0] == 10:
		return s.other
	}
	return Allow
}

// datagram makes the next packet of the script; kind 7 changes the world first.
func (s *sequence) datagram(kind byte) []byte {
	var p []byte
	switch kind & 15 {
	case 0:
		p = header(0x23)
	case 1:
		p = header(0x1b)
	case 2:
		p = s.client.request(int(s.take() & 7))
	case 3: // with a cookie from a reply, spent or not
		if len(s.jar) == 0 {
			return header(0x23)
		}
		cookie := s.jar[int(s.take())%len(s.jar)]
		p = ntp.AppendField(s.client.start(), ntp.FieldCookie, cookie)
		p = s.client.seal(p, s.client.keys.Algorithm.NonceSize(), nil, 0)
	case 4: // a replay, maybe from elsewhere
		p = bytes.Clone(s.last)
	case 5: // a cookie of nobody's
		p = ntp.AppendField(s.client.start(), ntp.FieldCookie, s.client.nonce(100))
		p = s.client.seal(p, s.client.keys.Algorithm.NonceSize(), nil, 0)
	case 6:
		n := min(int(s.take())*8, len(s.script))
		p, s.script = bytes.Clone(s.script[:n]), s.script[n:]
	default:
		s.change(kind >> 4)
		p = s.client.request(1)
	}
	if kind&0x80 != 0 && len(p) > 0 {
		at := binary.BigEndian.Uint16([]byte{s.take(), s.take()})
		p[int(at)%len(p)] ^= s.take()
	}
	return p
}

// change is what happens to a server between two requests.
func (s *sequence) change(what byte) {
	switch what & 7 {
	case 0:
		s.view = nil
	case 1:
		s.view = testView()
	case 2:
		s.view = testView()
		s.view.Synchronized = false
	case 3:
		s.keys = nil
	case 4:
		s.keys = s.client.set
	case 5:
		master, err := nts.NewMasterKey(&s.client.rnd)
		if err != nil {
			s.t.Fatal(err)
		}
		s.client.set = s.client.set.Rotate(master)
		s.keys = s.client.set
	}
}

// sender picks the address of the next packet and lets time pass.
func (s *sequence) sender() {
	b := s.take()
	s.from = sequenceSenders[int(b&15)%len(sequenceSenders)]
	s.now = s.now.Add(time.Duration(b>>4) * 100 * time.Millisecond)
}

// key is what the limiter knows the sender by.
func (s *sequence) key() netip.Addr {
	if a := s.from.Addr(); !a.Is4() {
		return netip.PrefixFrom(a, 64).Masked().Addr()
	}
	return s.from.Addr()
}

// over takes a token of the model and reports whether there was none.
func (s *sequence) over() bool {
	if !s.limited {
		return false
	}
	t, interval := int64(s.now>>22), int64(sequenceInterval*1024/time.Second)
	full := max(s.full[s.key()], t)
	if full-t > (sequenceBurst-1)*interval {
		return true
	}
	s.full[s.key()] = full + interval
	return false
}

// step sends one datagram and judges the answer by the rules of the configuration.
func (s *sequence) step() {
	p := s.datagram(s.take())
	s.sender()
	if len(p) > ntp.MaxPacket {
		p = p[:ntp.MaxPacket+1]
	}
	sent := bytes.Clone(p)
	s.reads = 0
	reply, v := s.ask(p)
	if !bytes.Equal(sent, p) || s.reads > 1 {
		s.t.Fatalf("request changed: %v; clock read %d times", !bytes.Equal(sent, p), s.reads)
	}
	oracle(s.t, s.client, p, reply, v)
	s.gates(p, reply, v)
	if v == AnsweredNTS {
		s.harvest(reply)
	}
	s.last = sent
}

// gates checks what lies before the content of a packet: shape, address, access, rate; each in its order, so that a
// packet that one of them refuses costs nothing behind it.
func (s *sequence) gates(p, reply []byte, v Verdict) {
	s.t.Helper()
	bad := len(p) < 48 || len(p) > ntp.MaxPacket || p[0]&7 != 3 && p[0]&7 != 1 || p[0]>>3&7 != 3 && p[0]>>3&7 != 4
	a := s.from.Addr()
	wrong := s.from.Port() == 0 || s.from == s.to || a.IsLoopback() || a == netip.MustParseAddr("255.255.255.255")
	if bad || wrong {
		if reply != nil || v < RateLimited || v == RateLimited {
			s.t.Fatalf("%v for a packet from %v that begins %x", v, s.from, p[:min(len(p), 1)])
		}
		return
	}
	action := s.action()
	if (v == AccessIgnored) != (action == Ignore) {
		s.t.Fatalf("%v from %v, whose action is %v", v, s.from, action)
	}
	if action == Ignore {
		return
	}
	if action == Deny && (v == Answered || v == AnsweredNTS || v == AnsweredNAK) {
		s.t.Fatalf("%v for a denied client", v)
	}
	over := s.over()
	limited := v == RateLimited || v == KissedRate
	if limited && !over || over && action == Deny && !limited {
		s.t.Fatalf("%v from %v, over its rate %v", v, s.from, over)
	}
	if v == KissedRate {
		now := int64(s.now >> 22)
		if then, ok := s.kissed[s.key()]; ok && now-then < 1024 {
			s.t.Fatalf("two RATE kisses within %d/1024 s", now-then)
		}
		s.kissed[s.key()] = now
	}
	if v == AnsweredNTS && s.keys == nil {
		s.t.Fatal("authenticated without keys")
	}
	if v == Answered && s.config.RequireNTS == Deny {
		s.t.Fatal("plain time where NTS is required")
	}
	s.time(reply, v)
}

// time checks that nobody gets the time of a clock that is not synchronised for good.
func (s *sequence) time(reply []byte, v Verdict) {
	s.t.Helper()
	if v != Answered && v != AnsweredNTS {
		return
	}
	h := parse(s.t, reply)
	good := s.view != nil && s.view.Synchronized
	if good != (h.Stratum == 2) || good != (h.Leap != ntp.LeapUnknown) {
		s.t.Fatalf("stratum %d, leap %d; synchronised %v", h.Stratum, h.Leap, good)
	}
	if !h.Receive.Before(h.Transmit) || h.Receive.IsZero() {
		s.t.Fatalf("received %v, sent %v", h.Receive, h.Transmit)
	}
}

// harvest keeps the cookies of a reply, which must be for the client's keys.
func (s *sequence) harvest(reply []byte) {
	s.t.Helper()
	cookies, ok := s.client.open(reply)
	if !ok || len(cookies) > 8 {
		s.t.Fatalf("authentic %v, %d cookies", ok, len(cookies))
	}
	for _, c := range cookies {
		if !s.client.holds(c) {
			s.t.Fatalf("cookie %x is for other keys", c)
		}
		if len(s.jar) < 32 {
			s.jar = append(s.jar, bytes.Clone(c))
		}
	}
}

// FuzzResponderSequence sends a server several datagrams, with and without NTS, from clients that the access lists and
// the rate limits treat differently, while its keys and its clock change. A model of the limits and the lists, which
// shares no code with them, says who may get an answer.
func FuzzResponderSequence(f *testing.F) {
	for _, script := range [][]byte{
		{}, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, {2, 7, 0, 3, 0, 0, 3, 0, 0, 3, 5, 0x10}, {0, 2, 0, 3, 0, 6, 0, 7, 0, 8, 0, 9},
		{2, 0, 2, 2, 0, 3, 5, 0, 4, 0, 1, 1}, {0x57, 0, 0x57, 0, 0x57, 0, 3, 0, 0}, {0x37, 0, 2, 0, 0, 0x47, 0, 2, 0, 0}, {0x07, 0, 0, 0, 0x17, 0, 0, 0, 0x27, 0, 0, 0},
		{0x82, 1, 0, 60, 1, 0}, {0x80, 0, 0, 7, 0}, append([]byte{6, 6}, append(header(0x23), 0)...), {0, 0xf1, 0, 0xf5, 0, 1, 0, 1, 0, 5, 0, 0xf1},
		bytes.Repeat([]byte{0, 2}, 20),
	} {
		for _, mode := range []uint8{0, 1 | 2<<2, 2 | 1<<2 | 16, 2 | 16 | 32, 64} {
			f.Add(script, mode)
		}
	}
	clients := []*ntsClient{newNTSClient(f, aead.SIVCMAC256), newNTSClient(f, aead.GCMSIV128)}
	sets := []*nts.KeySet{clients[0].set, clients[1].set}
	f.Fuzz(func(t *testing.T, script []byte, mode uint8) {
		c := clients[mode>>7]
		c.set = sets[mode>>7]
		s := newSequence(t, c, script, mode)
		for n := 0; n < maxSequence && (n == 0 || len(s.script) > 0); n++ {
			s.step()
		}
	})
}
