package server

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// spreadList is n prefixes of IPv4 and n of IPv6, spread as those of a country are, and none of them holds testClient.
func spreadList(rnd *rand.Rand, n int) (list []netip.Prefix) {
	for range n {
		var b [16]byte
		binary.BigEndian.PutUint32(b[:], rnd.Uint32N(0xc6000000)|1<<24)
		list = append(list, netip.PrefixFrom(netip.AddrFrom4([4]byte(b[:4])), 20+rnd.IntN(13)).Masked())
		binary.BigEndian.PutUint64(b[:], 0x2a00<<48|rnd.Uint64N(1<<48))
		list = append(list, netip.PrefixFrom(netip.AddrFrom16(b), 32+rnd.IntN(33)).Masked())
	}
	return list
}

// The index finds what looking at every prefix finds: for lists that are spread, that crowd in one place, that are a single
// address, that reach from end to end; for the ends of every span and their neighbours.
func TestSpans_SameAsLinearSearch(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	crowded := func(n int) (list []netip.Prefix) {
		for range n {
			var b [16]byte
			binary.BigEndian.PutUint64(b[8:], rnd.Uint64N(1<<12))
			b[0] = 0x20
			list = append(list, netip.PrefixFrom(netip.AddrFrom16(b), 120+rnd.IntN(9)).Masked(),
				netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, b[14], b[15]}), 24+rnd.IntN(9)).Masked())
		}
		return list
	}
	for name, list := range map[string][]netip.Prefix{
		"none": nil, "spread": spreadList(rnd, 300), "few": spreadList(rnd, 2), "crowded": crowded(100),
		"one": prefixes("192.0.2.7/32", "2001:db8::7/128"), "two far": prefixes("0.0.0.0/32", "255.255.255.255/32", "::/128", "ffff::/16"),
		"all": prefixes("0.0.0.0/0", "::/0"), "crowded and far": append(crowded(60), prefixes("223.0.0.0/8", "fe80::/10")...),
		"neighbours": prefixes("10.0.0.0/25", "10.0.0.128/25", "2001:db8::/65", "2001:db8:0:0:8000::/65"),
	} {
		set, err := newPrefixSet(list)
		if err != nil {
			t.Fatal(err)
		}
		var asked []netip.Addr
		for _, p := range list {
			s, _ := prefixSpan(p)
			asked = append(asked, s.first, s.last, s.first.Prev(), s.last.Next())
		}
		for range 1000 {
			var b [16]byte
			binary.BigEndian.PutUint64(b[:], rnd.Uint64())
			asked = append(asked, netip.AddrFrom16(b), netip.AddrFrom4([4]byte(b[:4])))
		}
		for _, a := range asked {
			want := slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(a) })
			if got := set.contains(a); got != want {
				t.Errorf("%s: %v: %v, want %v", name, a, got, want)
			}
		}
		if n := len(set.v4.starts); n > 1<<maxIndexBits+1 || n > 16*len(list)+2 {
			t.Errorf("%s: index of %d for %d prefixes", name, n, len(list))
		}
	}
}

// sources are n addresses as a flood forges them.
func sources(n int) []netip.AddrPort {
	rnd := rand.New(rand.NewPCG(3, 4))
	list := make([]netip.AddrPort, n)
	for i := range list {
		list[i] = netip.AddrPortFrom(netip.AddrFrom4([4]byte{byte(1 + rnd.IntN(99)), byte(rnd.IntN(256)), byte(rnd.IntN(256)), byte(rnd.IntN(256))}), 5000)
	}
	return list
}

// BenchmarkRespond_Guards is the cost of access lists and rate limiter in Respond, for benchstat: bare has none of them;
// guarded has three prefixes and one client; spoofed has a million clients in turn; lists has 16 000 prefixes of each family;
// and the last both. The sources alone cost cache misses of the benchmark's own list, which the first row has, too.
func BenchmarkRespond_Guards(b *testing.B) {
	few := prefixes("10.0.0.0/8", "172.16.0.0/12", "2001:db8::/32")
	many := spreadList(rand.New(rand.NewPCG(5, 6)), 16000)
	for _, row := range []struct {
		name    string
		list    []netip.Prefix
		sources int
	}{
		{"bare", nil, 1}, {"guarded", few, 1}, {"spoofed", few, 1 << 20}, {"lists", many, 1}, {"spoofed+lists", many, 1 << 20},
		{"bare+spoofed", nil, 1 << 20},
	} {
		b.Run(row.name, func(b *testing.B) {
			c := Config{}
			if row.list != nil {
				c.Access, _ = NewAccess(Rule{Prefixes: row.list, Action: Ignore}, nil)
				c.Limiter = NewRateLimiter(RateLimit{Prefixes: 1 << 15, Interval: time.Millisecond, Burst: 8, Seed: [2]uint64{7, 8}})
			}
			s, from, p := newBench(c), sources(row.sources), header(0x23)
			b.ReportAllocs()
			b.ResetTimer()
			for i := 0; b.Loop(); i++ {
				s.from = from[i&(len(from)-1)]
				s.now = s.now.Add(2 * time.Millisecond)
				s.ask(p)
			}
		})
	}
}
