package server

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ntp-daemon/internal/ntp"
)

func testLimiter(prefixes int, interval time.Duration, burst int) *RateLimiter {
	return NewRateLimiter(RateLimit{Prefixes: prefixes, Interval: interval, Burst: burst, Seed: [2]uint64{0x1234, 0x5678}})
}

func TestS14_BucketAndLeak(t *testing.T) {
	b := newBench(Config{Limiter: testLimiter(1024, 8*time.Second, 8), Seed: 99})
	const rate, seconds = 1000, 10
	answered := 0
	for i := range rate * seconds {
		b.now = testNow.Add(time.Duration(i) * time.Second / rate)
		b.from = netip.AddrPortFrom(testClient.Addr(), uint16(1024+i))
		reply, verdict := b.ask(header(0x23))
		switch {
		case verdict == Answered:
			answered++
		case verdict != RateLimited || reply != nil:
			t.Fatalf("verdict %v", verdict)
		}
	}
	if most := 8 + 2 + rate*seconds*27/100; answered > most || answered < 1 {
		t.Errorf("%d answered, at most %d", answered, most)
	}
	if least := rate * seconds * 23 / 100; answered < least {
		t.Errorf("%d answered: the leak is not 1 in 4", answered)
	}
}

func TestRateLimiter_Bucket(t *testing.T) {
	l := testLimiter(64, time.Second, 3)
	a := netip.MustParseAddr("192.0.2.1")
	for _, row := range []struct {
		at   time.Duration
		want bool
	}{
		{0, false}, {0, false}, {0, false}, {0, true}, // burst of three
		{900 * time.Millisecond, true},
		{1001 * time.Millisecond, false}, {1001 * time.Millisecond, true}, // one token a second
		{10 * time.Second, false}, {10 * time.Second, false}, {10 * time.Second, false}, {10 * time.Second, true}, // full again, no fuller
		{9500 * time.Millisecond, true},        // out of order by less than a second
		{-time.Hour, false},                    // clock stepped back: a new bucket
		{-time.Hour, false},                    //
		{-time.Hour + time.Second, false},      //
		{1000 * time.Hour, false},              // clock stepped forward
		{1000 * time.Hour, false},              //
		{1000 * time.Hour, false},              //
		{1000*time.Hour + time.Second/2, true}, //
	} {
		if got := l.Limited(a, testNow.Add(row.at)); got != row.want {
			t.Fatalf("at %v: limited %v", row.at, got)
		}
	}
}

// In a full set a newcomer takes the place of the one that has most left, not of one that is over its rate.
func TestRateLimiter_ForgetsTheFullest(t *testing.T) {
	for greedy := range 4 {
		l := testLimiter(4, time.Minute, 3) // one set
		addr := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}) }
		for i := range 4 {
			l.Limited(addr(i), testNow)
		}
		l.Limited(addr(greedy), testNow)
		l.Limited(addr(greedy), testNow)
		for i := 4; i < 7; i++ {
			if l.Limited(addr(i), testNow) {
				t.Errorf("newcomer %d is limited", i)
			}
		}
		if !l.Limited(addr(greedy), testNow) {
			t.Errorf("the greedy one, number %d, was forgotten", greedy)
		}
	}
}

func TestRateLimiter_Prefixes(t *testing.T) {
	l := testLimiter(1024, time.Minute, 1)
	for _, row := range []struct {
		addr string
		want bool
	}{
		{"192.0.2.1", false}, {"192.0.2.2", false}, {"192.0.2.1", true},
		{"2001:db8:0:1::1", false}, {"2001:db8:0:1:ffff::2", true}, {"2001:db8:0:2::1", false},
		{"::c000:201", false}, {"::1", true}, // one /64, and not the IPv4 address
	} {
		if got := l.Limited(netip.MustParseAddr(row.addr), testNow); got != row.want {
			t.Errorf("%s: limited %v", row.addr, got)
		}
	}
}

func TestRateLimiter_Off(t *testing.T) {
	if NewRateLimiter(RateLimit{Prefixes: 0, Interval: time.Second}) != nil || NewRateLimiter(RateLimit{Prefixes: 9}) != nil {
		t.Error("a limiter without slots or interval")
	}
	var l *RateLimiter
	if l.Limited(testClient.Addr(), testNow) {
		t.Error("no limiter limits")
	}
	big := NewRateLimiter(RateLimit{Prefixes: 5, Interval: 1 << 62, Burst: 1 << 30})
	if len(big.slots) != 8 || big.interval > timeMask/4 || big.reach+big.interval > timeMask/2 {
		t.Errorf("%d slots, interval %d, reach %d", len(big.slots), big.interval, big.reach)
	}
}

func TestS15_SpoofedCrowd(t *testing.T) {
	l := testLimiter(4096, time.Second, 2)
	size := len(l.slots)
	var b [4]byte
	for i := range uint32(1_000_000) {
		binary.BigEndian.PutUint32(b[:], 0x0b000000+i)
		l.Limited(netip.AddrFrom4(b), testNow.Add(time.Duration(i)*time.Microsecond))
	}
	if len(l.slots) != size || size*8 > 32<<10 {
		t.Errorf("table of %d words", len(l.slots))
	}
	if l.Limited(testClient.Addr(), testNow.Add(time.Second)) {
		t.Error("an innocent client is limited")
	}
	var v6 [16]byte
	v6[0], v6[1] = 0x20, 0x01
	passed := 0
	for i := range uint64(100_000) {
		binary.BigEndian.PutUint64(v6[8:], i*0x9e3779b97f4a7c15)
		if !l.Limited(netip.AddrFrom16(v6), testNow.Add(2*time.Second)) {
			passed++
		}
	}
	if passed != 2 {
		t.Errorf("%d passed from one /64", passed)
	}
}

// S15: a crowd that would meet a victim in a table without seed does not meet it in one with a seed.
func TestS15_SeedHidesTheTable(t *testing.T) {
	const prefixes = 4096
	set := func(a netip.Addr) uint64 {
		family, value := prefix(a)
		return siphash([2]uint64{}, family, value) & (prefixes - 1) &^ (ways - 1)
	}
	victim := testClient.Addr()
	var crowd []netip.Addr
	for i := uint32(0); len(crowd) < 64; i++ {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], 0x0b000000+i)
		if a := netip.AddrFrom4(b); set(a) == set(victim) {
			crowd = append(crowd, a)
		}
	}
	// forgets reports whether the limiter lets the victim pass again after the crowd has come.
	forgets := func(seed [2]uint64) bool {
		l := NewRateLimiter(RateLimit{Prefixes: prefixes, Interval: time.Minute, Burst: 1, Seed: seed})
		if l.Limited(victim, testNow) || !l.Limited(victim, testNow) {
			t.Fatal("no bucket of one token")
		}
		for _, a := range crowd {
			l.Limited(a, testNow.Add(time.Second))
		}
		return !l.Limited(victim, testNow.Add(2*time.Second))
	}
	if !forgets([2]uint64{}) {
		t.Error("the crowd is not one: the test shows nothing")
	}
	for _, seed := range [][2]uint64{{1, 0}, {0, 1}, {0x1234, 0x5678}} {
		if forgets(seed) {
			t.Errorf("seed %x: a crowd chosen without it pushes the victim out", seed)
		}
	}
}

func TestS16_RateKiss(t *testing.T) {
	b := newBench(Config{Limiter: testLimiter(1024, 60*time.Second, 1), KissRate: NewKissLimiter(1024, [2]uint64{3, 4}), Seed: 7})
	kisses := map[time.Duration]int{}
	for i := range 5000 {
		at := time.Duration(i) * time.Millisecond
		b.now = testNow.Add(at)
		reply, verdict := b.ask(header(0x23))
		switch verdict {
		case KissedRate:
			kisses[at/time.Second]++
			checkKiss(t, reply, ntp.KissRATE)
			if h := parse(t, reply); h.Poll != 6 || len(reply) != 48 {
				t.Errorf("poll %d for an interval of 60 s", h.Poll)
			}
		case Answered, RateLimited:
		default:
			t.Fatalf("verdict %v", verdict)
		}
	}
	for second, n := range kisses {
		if n > 1 {
			t.Errorf("%d kisses in second %v", n, second)
		}
	}
	if len(kisses) < 4 {
		t.Errorf("kisses in %d seconds of 5", len(kisses))
	}
}

// S16: a crowd must not make the limiter of kisses forget whom it kissed.
func TestS16_KissesUnderFlood(t *testing.T) {
	l := NewKissLimiter(64, [2]uint64{5, 6})
	kissed := map[netip.Addr]int{}
	for i := range uint32(100_000) {
		a := netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
		if !l.Limited(a, testNow.Add(time.Duration(i)*9*time.Microsecond)) {
			kissed[a]++
		}
	}
	for a, n := range kissed {
		if n > 1 {
			t.Errorf("%v kissed %d times within 0.9 s", a, n)
		}
	}
	if len(kissed) == 0 || len(kissed) > 64 {
		t.Errorf("%d prefixes kissed", len(kissed))
	}
}

// An access list that denies does not lift the limit, and the leak is for time only.
func TestS14_DeniedAreLimitedWithoutLeak(t *testing.T) {
	b := newBench(Config{
		Limiter: testLimiter(1024, time.Minute, 2),
		Access:  mustAccess(t, Rule{prefixes("192.0.2.0/24"), Deny}, nil),
	})
	count := map[Verdict]int{}
	for range 1000 {
		_, v := b.ask(header(0x23))
		count[v]++
	}
	if count[Denied] != 2 || count[RateLimited] != 998 {
		t.Errorf("%v", count)
	}
}

func TestRateLimiter_SharedByWorkers(t *testing.T) {
	l := testLimiter(64, time.Hour, 100)
	var passed atomic.Int64
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 1000 {
				if !l.Limited(testClient.Addr(), testNow) {
					passed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if n := passed.Load(); n < 90 || n > 100 {
		t.Errorf("%d of a burst of 100 passed", n)
	}
}

// The reference implementation's vectors are for SipHash-2-4; what matters here is that the seed and every bit
// of the input reach the set index and the tag.
func TestSiphash_Avalanche(t *testing.T) {
	base := siphash([2]uint64{1, 2}, 4, 0xc0000201)
	for bit := range 64 {
		for _, h := range []uint64{
			siphash([2]uint64{1, 2}, 4, 0xc0000201^1<<bit), siphash([2]uint64{1 ^ 1<<bit, 2}, 4, 0xc0000201),
			siphash([2]uint64{1, 2 ^ 1<<bit}, 4, 0xc0000201), siphash([2]uint64{1, 2}, 4^1<<bit, 0xc0000201),
		} {
			if (h^base)&0xffff == 0 || (h^base)>>timeBits == 0 {
				t.Errorf("bit %d does not reach index and tag", bit)
			}
		}
	}
}

func TestRateLimiter_AllocatesNothing(t *testing.T) {
	l := testLimiter(64, time.Hour, 1)
	a := testClient.Addr()
	if n := testing.AllocsPerRun(100, func() { l.Limited(a, testNow) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkRateLimiter(b *testing.B) {
	l := testLimiter(1<<16, time.Second, 8)
	now := testNow
	var addr [4]byte
	var i uint32
	for b.Loop() {
		i++
		binary.BigEndian.PutUint32(addr[:], i*2654435761)
		now += ntp.Timestamp(1 << 20)
		l.Limited(netip.AddrFrom4(addr), now)
	}
}
