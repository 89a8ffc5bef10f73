package server

import (
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ntp-daemon/internal/ntp"
)

// saveSent saves an answer and enters when it left.
func saveSent(t *testing.T, x *Interleaves, client uint64, received, sent ntp.Timestamp, proven bool) ntp.Timestamp {
	t.Helper()
	stamp, id, ok := x.save(client, received, Epoch{}, proven)
	if !ok {
		t.Fatalf("%x is not saved", received)
	}
	x.Sent(id, sent)
	return stamp
}

// oneSet is a table of a single set, in which everybody is.
func oneSet(seed [2]uint64) *Interleaves {
	x := NewInterleaves(seed)
	x.slots = x.slots[:saveWays]
	return x
}

func TestS26_AnswersAreFoundByAddressAndStampOnce(t *testing.T) {
	x := NewInterleaves([2]uint64{1, 2})
	one, other := x.client(netip.MustParseAddr("192.0.2.1")), x.client(netip.MustParseAddr("192.0.2.2"))
	t2, t3 := testNow|1, testNow.Add(40*time.Microsecond)&^1
	saveSent(t, x, one, t2, t3, false)
	for name, miss := range map[string]func() (ntp.Timestamp, bool){
		"another address": func() (ntp.Timestamp, bool) { return x.redeem(other, t2, t2, 0) },
		"another stamp":   func() (ntp.Timestamp, bool) { return x.redeem(one, t2+2, t2, 0) },
		"another epoch":   func() (ntp.Timestamp, bool) { return x.redeem(one, t2, t2, 1) },
		"hours later":     func() (ntp.Timestamp, bool) { return x.redeem(one, t2, t2.Add(3*time.Hour), 0) },
	} {
		if sent, proven := miss(); !sent.IsZero() || proven {
			t.Errorf("%s: %x, %v", name, sent, proven)
		}
	}
	if sent, proven := x.redeem(one, t2, t2.Add(2*time.Hour), 0); sent != t3 || !proven {
		t.Errorf("found %x, %v", sent, proven)
	}
	if sent, proven := x.redeem(one, t2, t2, 0); !sent.IsZero() || proven {
		t.Errorf("used twice: %x, %v", sent, proven)
	}
}

// TestS26_AUsedPlaceDoesNotHideAnother: two workers that saved the same at the same time leave one of the two places empty.
func TestS26_AUsedPlaceDoesNotHideAnother(t *testing.T) {
	x := NewInterleaves([2]uint64{4, 3})
	t2 := saveSent(t, x, 1<<3, testNow|1, 0, false)
	set, _, _ := x.place(1<<3, t2, 0)
	set[1].key.Store(set[0].key.Load())
	set[1].value.Store(uint64(testNow &^ 1))
	set[0].value.Store(0)
	if sent, proven := x.redeem(1<<3, t2, t2, 0); sent != testNow&^1 || !proven {
		t.Errorf("found %x, %v", sent, proven)
	}
}

// floods are the ways in which one real host asks under many names: all the addresses of its prefix.
var floods = map[string]func(i int) netip.Addr{
	"IPv4 address": func(int) netip.Addr { return netip.MustParseAddr("198.51.100.9") },
	"IPv6 /64": func(i int) netip.Addr {
		return netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 7: 1, 14: byte(i >> 8), 15: byte(i)})
	},
}

// flood runs many chains of requests side by side, sends each request again and again, and returns how often it was shown to be real.
func flood(x *Interleaves, at ntp.Timestamp, address func(i int) netip.Addr) (proofs int) {
	for chain := range 300 {
		client := x.client(address(chain))
		origin := at | 1
		for range 10 {
			sent := origin
			for range 5 { // one that is good, and four copies
				at = at.Add(time.Millisecond)
				_, proven := x.redeem(client, sent, at|1, 0)
				if proven {
					proofs++
				}
				if t2, id, ok := x.save(client, at|1, Epoch{}, proven); ok {
					x.Sent(id, at)
					origin = t2
				}
			}
		}
	}
	return proofs
}

// TestIL03_OnePrefixFillsItsSets: a real host, with all the addresses of its prefix and as many requests as it likes, holds no more than
// the sets of its prefix, 128 places or the 512th part of the table.
func TestIL03_OnePrefixFillsItsSets(t *testing.T) {
	for name, address := range floods {
		x := NewInterleaves([2]uint64{13, 14})
		flood(x, testNow, address)
		if n := held(x); n <= saveWays || n > prefixSets*saveWays || 512*n > len(x.slots) {
			t.Errorf("%s: holds %d of %d slots", name, n, len(x.slots))
		}
	}
}

// TestIL03_AFloodPushesOutOfItsSetsAlone: in a table full of answers to others that are proven, a real host that floods displaces those
// in its own sets, and everybody else keeps his.
func TestIL03_AFloodPushesOutOfItsSetsAlone(t *testing.T) {
	for name, address := range floods {
		x := NewInterleaves([2]uint64{21, 22})
		const other = savedProven | 0xabc<<savedOwnerAt
		for i := range x.slots {
			x.slots[i].key.Store(other | uint64(testNow>>32)&savedSeconds)
			x.slots[i].value.Store(2)
		}
		proofs := 0
		for range 20 { // a stamp of before is needed to begin with: what is of another epoch or stale makes room
			x.slots[x.first(x.client(address(0)), 0)].value.Store(0)
			proofs += flood(x, testNow.Add(time.Minute), address)
		}
		lost := map[int]bool{}
		for i := range x.slots {
			if x.slots[i].key.Load()>>savedOwnerAt != 0xabc {
				lost[i/saveWays] = true
			}
		}
		for n := range uint64(prefixSets) {
			delete(lost, x.first(x.client(address(0)), n)/saveWays)
		}
		if len(lost) != 0 || proofs == 0 {
			t.Errorf("%s: %d sets of others lost places, %d proofs", name, len(lost), proofs)
		}
	}
}

// TestIL03_PrefixesShareFewSets: the sets of a prefix are sixteen, and whoever fills those of one prefix leaves those of another.
func TestIL03_PrefixesShareFewSets(t *testing.T) {
	x := NewInterleaves([2]uint64{13, 14})
	of := map[int][]int{} // prefixes by set
	const hosts = 1000
	for i := range hosts {
		client := x.client(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}))
		mine := map[int]bool{}
		for n := range uint64(prefixSets) {
			mine[x.first(client, n)] = true
		}
		if len(mine) != prefixSets {
			t.Fatalf("host %d has %d sets", i, len(mine))
		}
		for first := range mine {
			of[first] = append(of[first], i)
		}
	}
	shared, most := map[[2]int]int{}, 0
	for _, list := range of {
		for i, a := range list {
			for _, b := range list[:i] {
				shared[[2]int{a, b}]++
				most = max(most, shared[[2]int{a, b}])
			}
		}
	}
	if most > prefixSets/2 || len(of) < 6000 {
		t.Errorf("two hosts share %d sets, all have %d", most, len(of))
	}
}

// TestInterleaves_ManyClientsBehindOneAddress: 64 clients with one address between them, who poll at any time within two minutes, have
// interleaved answers, all but the odd one.
func TestInterleaves_ManyClientsBehindOneAddress(t *testing.T) {
	const clients, rounds = 64, 100
	x := NewInterleaves([2]uint64{3, 9})
	nat := x.client(netip.MustParseAddr("198.51.100.9"))
	r := rand.New(rand.NewPCG(1, 2))
	var origins [clients]ntp.Timestamp
	at, found := testNow, 0
	for range rounds {
		for _, i := range r.Perm(clients) {
			at = at.Add(time.Duration(r.Int64N(int64(2 * time.Minute / clients))))
			sent, proven := x.redeem(nat, origins[i], at|1, 0)
			if !sent.IsZero() {
				found++
			}
			t2, id, ok := x.save(nat, at|1, Epoch{}, proven)
			if ok {
				x.Sent(id, at)
			}
			origins[i] = t2
		}
	}
	if found < clients*rounds*97/100 {
		t.Errorf("%d of %d answers were interleaved", found, clients*rounds)
	}
}

// TestInterleaves_AFullSetGivesWayToAnother: before anybody is pushed out, the set of a receive stamp a half nanosecond later is tried.
func TestInterleaves_AFullSetGivesWayToAnother(t *testing.T) {
	x := NewInterleaves([2]uint64{23, 24})
	client := x.client(netip.MustParseAddr("192.0.2.1"))
	t2 := testNow | 1
	_, full, _ := x.place(client, t2, 0)
	_, free, _ := x.place(client, t2+2, 0)
	if full == free {
		t.Fatal("this seed has both stamps in one set")
	}
	for i := range saveWays {
		x.slots[full+i].key.Store(uint64(testNow>>32) & savedSeconds) // not proven
		x.slots[full+i].value.Store(2)
	}
	stamp, id, ok := x.save(client, t2, Epoch{}, true)
	if slot := int(id) & (len(x.slots) - 1); !ok || stamp != t2+2 || slot&^(saveWays-1) != free {
		t.Errorf("saved %v, at %x in slot %d", ok, stamp, slot)
	}
}

// held counts the slots that were ever written.
func held(x *Interleaves) (n int) {
	for i := range x.slots {
		if x.slots[i].key.Load() != 0 {
			n++
		}
	}
	return n
}

// TestIL03_WhatWasUsedProvesNothing: the place of an answer whose stamp was used stays as it is until another answer takes it, and proves
// nothing any more.
func TestIL03_WhatWasUsedProvesNothing(t *testing.T) {
	x := NewInterleaves([2]uint64{15, 16})
	client := x.client(netip.MustParseAddr("192.0.2.1"))
	t2 := saveSent(t, x, client, testNow|1, testNow, false)
	for i := range 3 {
		if _, proven := x.redeem(client, t2, t2, 0); proven != (i == 0) {
			t.Errorf("request %d: proven %v", i, proven)
		}
	}
}

// TestIL03_ARepeatedRequestProvesOnce: after its stamp was used, a request takes no place of a proven client's.
func TestIL03_ARepeatedRequestProvesOnce(t *testing.T) {
	x := oneSet([2]uint64{15, 16})
	const attacker, victims = 1 << 60, 1 << 61
	t2 := saveSent(t, x, attacker, testNow|1, testNow, false)
	for i := range saveWays - 1 {
		saveSent(t, x, victims, testNow.Add(time.Duration(i+1)*time.Second)|1, testNow, true)
	}
	at := testNow.Add(time.Minute)
	for i := range 10 {
		at = at.Add(time.Second)
		_, proven := x.redeem(attacker, t2, at|1, 0)
		if proven != (i == 0) {
			t.Fatalf("request %d: proven %v", i, proven)
		}
		if _, id, ok := x.save(attacker, at|1, Epoch{}, proven); ok {
			x.Sent(id, at)
		}
	}
	for i := range saveWays - 1 {
		if sent, _ := x.redeem(victims, testNow.Add(time.Duration(i+1)*time.Second)|1, at, 0); sent.IsZero() {
			t.Errorf("answer %d was pushed out", i)
		}
	}
}

// TestIL02_LostAnswersTakeNoPlaceForGood: a client whose every second answer is lost asks again with the stamp that it used; the answers
// that were lost are given up for new ones, and one that has not been asked for yet never is.
func TestIL02_LostAnswersTakeNoPlaceForGood(t *testing.T) {
	x := oneSet([2]uint64{17, 18})
	const client, others = 1 << 59, 1 << 60
	at := testNow
	kept := saveSent(t, x, others, at|1, at, true) // of a client that sleeps
	origin := saveSent(t, x, client, at.Add(time.Second)|1, at, false)
	for i := range 200 {
		at = at.Add(10 * time.Second)
		sent, proven := x.redeem(client, origin, at|1, 0)
		if fresh := i%2 == 0; sent.IsZero() == fresh || proven != fresh {
			t.Fatalf("request %d: %x, %v", i, sent, proven)
		}
		t2 := saveSent(t, x, client, at|1, at, proven)
		if i%2 == 1 { // the others are lost
			origin = t2
		}
	}
	if sent, _ := x.redeem(others, kept, at, 0); sent.IsZero() {
		t.Error("the answer to another client was given up")
	}
}

// TestIL03_AForgedRequestDoesNotTakeTheOnlyPlace: whoever forges a client's address in a full set finds the client's place kept.
func TestIL03_AForgedRequestDoesNotTakeTheOnlyPlace(t *testing.T) {
	x := oneSet([2]uint64{19, 20})
	for i := range saveWays {
		saveSent(t, x, uint64(i)<<60, testNow.Add(time.Duration(i)*time.Second)|1, testNow, true)
	}
	if _, _, ok := x.save(3<<60, testNow.Add(time.Minute)|1, Epoch{}, false); ok {
		t.Error("the only answer to a proven client was given up for a forged request")
	}
}

func TestS26_WithoutItsTransmitStampNothingIsKnown(t *testing.T) {
	x := NewInterleaves([2]uint64{3, 4})
	t2, id, ok := x.save(7, testNow|1, Epoch{}, false)
	if !ok {
		t.Fatal("not saved")
	}
	if sent, proven := x.redeem(7, t2, t2, 0); !sent.IsZero() || !proven {
		t.Fatalf("before the stamp: %x, %v", sent, proven)
	}
	x.Sent(id^1<<slotBits, testNow) // of an answer that had the slot before
	if sent, _ := x.redeem(7, t2, t2, 0); !sent.IsZero() {
		t.Fatalf("another answer's stamp was taken: %x", sent)
	}
	x.Sent(id, testNow|3)
	x.Sent(id, testNow+100) // what comes a second time is too late
	if sent, _ := x.redeem(7, t2, t2, 0); sent != testNow|2 {
		t.Fatalf("%x", sent)
	}
	x.Sent(id, testNow)
	if sent, _ := x.redeem(7, t2, t2, 0); !sent.IsZero() {
		t.Fatal("a stamp for an answer that was used")
	}
	if id < 1<<30 || id >= 1<<31 {
		t.Errorf("id %x", id)
	}
}

func TestS26_ReceiveStampsOfAnAddressAreUnique(t *testing.T) {
	x := NewInterleaves([2]uint64{5, 6})
	seen := map[ntp.Timestamp]bool{}
	for range saveTries {
		stamp := saveSent(t, x, 9, testNow|1, testNow+10, true)
		if seen[stamp] || stamp&1 == 0 {
			t.Fatalf("%x again, or even", stamp)
		}
		seen[stamp] = true
	}
	if _, _, ok := x.save(9, testNow|1, Epoch{}, true); ok {
		t.Error("saved in a place that is not looked at any more")
	}
}

// crowd saves answers to so many forged clients.
func crowd(x *Interleaves, clients int, at ntp.Timestamp) (saved int) {
	r := rand.New(rand.NewPCG(1, 2))
	for i := range clients {
		if _, id, ok := x.save(r.Uint64(), at.Add(time.Duration(i)*time.Microsecond)|1, Epoch{}, false); ok {
			x.Sent(id, at)
			saved++
		}
	}
	return saved
}

func TestIL03_AForgedCrowdDoesNotPushOutClientsThatAreProven(t *testing.T) {
	x := NewInterleaves([2]uint64{7, 8})
	x.slots = x.slots[:1<<13]
	type exchange struct {
		client uint64
		t2     ntp.Timestamp
	}
	var clients []exchange
	for i := range 2000 { // a quarter of the table
		c := exchange{client: x.client(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}))}
		c.t2 = saveSent(t, x, c.client, testNow.Add(time.Duration(i)*time.Millisecond)|1, testNow, true)
		clients = append(clients, c)
	}
	crowd(x, 8*len(x.slots), testNow.Add(time.Minute))
	for i, c := range clients {
		if sent, _ := x.redeem(c.client, c.t2, testNow.Add(time.Minute), 0); sent.IsZero() {
			t.Fatalf("client %d lost its place", i)
		}
	}
}

func TestIL03_AFullTableTurnsAwayWhoIsNotProven(t *testing.T) {
	x := NewInterleaves([2]uint64{9, 1})
	x.slots = x.slots[:1<<10]
	r := rand.New(rand.NewPCG(3, 4))
	for range 8 * len(x.slots) {
		if _, id, ok := x.save(r.Uint64(), testNow|1, Epoch{}, true); ok {
			x.Sent(id, testNow)
		}
	}
	if n := crowd(x, 1000, testNow.Add(time.Minute)); n != 0 {
		t.Errorf("%d of 1000 found a place in a full table", n)
	}
	if _, _, ok := x.save(1, testNow.Add(time.Minute)|1, Epoch{}, true); !ok {
		t.Error("a proven client does not take the place of the oldest")
	}
	if n := crowd(x, 1000, testNow.Add(3*time.Hour)); n != 1000 {
		t.Errorf("%d of 1000 found a place among those that are of no use any more", n)
	}
}

func TestInterleaves_AStepMakesRoom(t *testing.T) {
	x := NewInterleaves([2]uint64{2, 1})
	for i := range 8 {
		i, id, ok := x.save(uint64(i), testNow|1, Epoch{}, true)
		if !ok {
			t.Fatal(i)
		}
		x.Sent(id, testNow)
	}
	for i := range x.slots {
		x.slots[i].key.Store(savedProven | uint64(testNow>>32)&savedSeconds) // every place is a proven client's
		x.slots[i].value.Store(2)
	}
	if _, _, ok := x.save(1<<60, testNow|1, Epoch{}, false); ok {
		t.Error("there was room")
	}
	if _, _, ok := x.save(1<<60, testNow|1, Epoch{Number: 1}, false); !ok {
		t.Error("no room after a step, when nothing in the table is of use")
	}
}

// TestInterleaves_AStampOfBeforeAStepIsNotSaved: a request is stamped, then the clock is stepped and the epoch goes on, and then a
// worker, which finds the new epoch, saves. Only what came after the limit that the clock gives is kept.
func TestInterleaves_AStampOfBeforeAStepIsNotSaved(t *testing.T) {
	client := uint64(1) << 60
	for name, epoch := range map[string]Epoch{
		"forward": {Number: 1, Since: testNow.Add(time.Hour)},
		"back":    {Number: 1, Since: testNow.Add(time.Millisecond)}, // by more than a millisecond: it was the clock's highest reading
		"just so": {Number: 1, Since: testNow | 1},
	} {
		x := NewInterleaves([2]uint64{25, 26})
		if _, _, ok := x.save(client, testNow|1, epoch, true); ok || held(x) != 0 {
			t.Errorf("%s: saved", name)
		}
		t2, id, ok := x.save(client, epoch.Since.Add(time.Microsecond)|1, epoch, true)
		if !ok {
			t.Fatalf("%s: what came after the step is not saved", name)
		}
		x.Sent(id, t2)
		if sent, _ := x.redeem(client, t2, t2, epoch.Number); sent.IsZero() {
			t.Errorf("%s: what came after the step is not found", name)
		}
	}
}

// TestInterleaves_ManyWorkers lets workers save, stamp and redeem side by side, for the same clients at the same times. What is
// found belongs to what was asked for, and no two of them hold the same receive stamp of a client.
func TestInterleaves_ManyWorkers(t *testing.T) {
	const workers, rounds = 8, 20000
	x := NewInterleaves([2]uint64{11, 12})
	var clock atomic.Uint64
	var mu sync.Mutex
	held := map[[2]uint64]bool{}
	hold := func(client uint64, t2 ntp.Timestamp, want bool) {
		mu.Lock()
		defer mu.Unlock()
		k := [2]uint64{client, uint64(t2)}
		if held[k] == want {
			t.Errorf("%x of %d is held twice", t2, client)
		}
		held[k] = want
	}
	work := func(r *rand.Rand) (found int) {
		for range rounds {
			client := r.Uint64() & 1
			t2, id, ok := x.save(client, testNow.Add(time.Duration(clock.Add(1)>>3*10))|1, Epoch{}, r.Uint64()&1 == 0)
			if !ok {
				continue
			}
			hold(client, t2, true)
			x.Sent(id, answerOf(client, t2))
			hold(client, t2, false)
			sent, _ := x.redeem(client, t2, t2, 0)
			if !sent.IsZero() && sent != answerOf(client, t2) {
				t.Errorf("asked for %x of %d, found %x", t2, client, sent)
			}
			if !sent.IsZero() {
				found++
			}
		}
		return found
	}
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			if n := work(rand.New(rand.NewPCG(uint64(w), 5))); n < rounds*9/10 {
				t.Errorf("a worker found %d of %d", n, rounds)
			}
		})
	}
	wg.Wait()
}

// answerOf is a transmit stamp that tells what it belongs to.
func answerOf(client uint64, t2 ntp.Timestamp) ntp.Timestamp {
	return even(ntp.Timestamp(siphash([2]uint64{}, client, uint64(t2))))
}
