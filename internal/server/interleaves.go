package server

import (
	"encoding/binary"
	"net/netip"
	"sync/atomic"

	"ntp-daemon/internal/ntp"
)

const (
	// slotBits: 2^16 answers are remembered, 1 MiB. A client takes one slot from one of its requests to the next.
	slotBits = 16
	// saveWays are the slots of a set, two cache lines: an answer is in one of them.
	saveWays = 8
	// prefixSets are the sets in which the answers to one prefix may be. So it holds 128 places at most, of 512 parts of the
	// table one: enough for the clients behind a shared address, and a host that floods leaves 511.
	prefixSets = 16
	// saveTries is how often save looks for another receive stamp, or another slot, when a worker was faster.
	saveTries = 8
	// longestGap is the age, in seconds, at which an answer is forgotten: twice the interval of poll exponent 12.
	longestGap = 1 << 13
	// lateness is how late, in seconds, a worker may be with a request that waited in its socket.
	lateness = 16

	savedSeconds = 1<<17 - 1 // of a key: when the request came, in seconds; wraps after 36 hours, longer than any origin is believed
	savedProven  = 1 << 17   // of a key: the client had shown a receive stamp that is in the table
	savedEpochs  = 15        // of a key, from bit 18: the epoch of our clock
	savedEpochAt = 18
	savedName    = ^uint64(savedSeconds | savedProven) // of a key: what must agree for it to be found
	savedOwnerAt = 52                                  // of a key, from this bit: which client of the set's it is, roughly

	idMarkBits = 14      // of an id, above the slot: bits of the mark
	idOurs     = 1 << 30 // of every id, so that none is taken for a number of the kernel's own
)

// Interleaves remembers, for clients that want interleaved answers (RFC 9769), when an answer really left: the key is
// the client's address, never its port, with the receive stamp that the answer carried, the value the kernel's
// transmit stamp. One table of fixed size serves all workers of the daemon; nobody waits for anybody.
//
// A slot is two words. The key holds twelve bits of a keyed hash of the address and 30 of one of address and stamp, four of the
// clock's epoch, whether the client is proven, and the second in which the request came. The value says what the slot holds:
//
//	0     nothing, or an answer whose stamp was used: each is used once (S26)
//	odd   the mark of its key: the answer is on its way and its stamp not known yet
//	even  the transmit stamp
//
// Invariants: who replaces the value by a mark owns the slot until the key is written, because a mark that is not the
// mark of the key beside it is left alone by everybody. A stamp replaces only the mark it belongs to. Two slots never
// offer the same key, so that receive stamps of one address are unique within the table.
//
// A client is proven by a receive stamp that it can only have from an answer of ours, sent to its address, once for each:
// what was used proves nothing any more. One that is not proven never takes the place of one that is, so that forged
// addresses push out each other alone; only of two and more that are its own it takes the oldest, because answers that were lost
// on their way are never asked for. The slots are those of the client's prefix, an IPv4 address or an IPv6 /64, as
// the RateLimiter has it: however often a host asks, it fills its prefixSets and no other. The receive stamp says which of
// them, so that one set is looked at. Whoever finds no place gets basic answers. A step of our clock is another epoch: what was saved before it is not found any more,
// since the two stamps of an answer must be of one time scale. Slews do not matter, both stamps are the past's.
type Interleaves struct {
	seed  [2]uint64
	slots []savedAnswer
}

// savedAnswer is one slot.
type savedAnswer struct{ key, value atomic.Uint64 }

// NewInterleaves returns an empty table; seed makes its order unpredictable, random for each start.
func NewInterleaves(seed [2]uint64) *Interleaves {
	return &Interleaves{seed: seed, slots: make([]savedAnswer, 1<<slotBits)}
}

// client is the hash of an address, once for a request. Its low half is the prefix's: it chooses the sets.
func (x *Interleaves) client(a netip.Addr) uint64 {
	const ofPrefix = 1<<32 - 1
	family, value := prefix(a)
	h := siphash([2]uint64{x.seed[1], x.seed[0]}, family, value)
	if a.Is4() { // a prefix of its own
		return h
	}
	b := a.As16()
	return siphash(x.seed, binary.BigEndian.Uint64(b[:]), binary.BigEndian.Uint64(b[8:]))&^ofPrefix | h&ofPrefix
}

// first is the number of the first slot of the n-th set of a client's prefix. The sets follow each other around the table at a
// distance that is the prefix's own, so that two prefixes that share one set hardly ever share another, and odd, so that
// the sixteen are different sets.
func (x *Interleaves) first(client, n uint64) int {
	return int((client+n*(client>>16|1))*saveWays) & (len(x.slots) - 1)
}

// place returns the slots where the answer to client with that receive stamp may be, the number of the first, and the name that its
// key must have.
func (x *Interleaves) place(client uint64, received ntp.Timestamp, epoch uint64) (set []savedAnswer, first int, name uint64) {
	h := siphash([2]uint64{x.seed[1], client}, uint64(received), epoch)
	first = x.first(client, h%prefixSets)
	name = client>>savedOwnerAt<<savedOwnerAt | h>>(64-savedOwnerAt)&^(1<<(savedEpochAt+4)-1) | epoch&savedEpochs<<savedEpochAt
	return x.slots[first:][:saveWays], first, name
}

// redeem returns the transmit stamp of the answer to client that carried the receive stamp received, and forgets it;
// zero if it is not known. proven reports whether there was such an answer, not used yet.
func (x *Interleaves) redeem(client uint64, received, now ntp.Timestamp, epoch uint64) (sent ntp.Timestamp, proven bool) {
	set, _, name := x.place(client, received, epoch)
	for i := range set {
		s := &set[i]
		key := s.key.Load()
		if key&savedName != name || stale(key, now) {
			continue
		}
		switch v := s.value.Load(); {
		case v == markOf(key):
			proven = true // it is on its way
		case v != 0 && v&1 == 0 && s.value.CompareAndSwap(v, 0) && s.key.Load() == key:
			return ntp.Timestamp(v), true
		}
	}
	return 0, proven
}

// save keeps a place for the transmit stamp of an answer to client whose request came at received, an odd stamp. It
// returns the receive stamp to put into the answer, a little later where the table has that one for this client
// already, and the id for Sent. Not ok means that nothing is kept: there is no place, or the request may have come before a step of the
// clock that its answer comes after.
func (x *Interleaves) save(client uint64, received ntp.Timestamp, epoch Epoch, proven bool) (stamp ntp.Timestamp, id uint32, ok bool) {
	if !epoch.covers(received) {
		return received, 0, false
	}
	for try := range saveTries {
		set, first, name := x.place(client, received, epoch.Number)
		if named(set, name) > 0 {
			received += 2
			continue
		}
		i, old, room := victim(set, name, received, proven)
		if !room && try == 0 { // the set of another stamp may have some, before anybody is pushed out
			received += 2
			continue
		}
		if i < 0 {
			return received, 0, false
		}
		key := name | uint64(received>>32)&savedSeconds
		if proven {
			key |= savedProven
		}
		mark := markOf(key)
		if !set[i].value.CompareAndSwap(old, mark) {
			continue
		}
		set[i].key.Store(key)
		if named(set, name) > 1 { // another worker saved the same at the same time: whoever sees that gives way
			set[i].value.CompareAndSwap(mark, 0)
			received += 2
			continue
		}
		return received, idOf(first+i, mark), true
	}
	return received, 0, false
}

// Sent enters when the answer with that id left. A stamp for a slot that was given away meanwhile is dropped. Any
// goroutine may call it.
func (x *Interleaves) Sent(id uint32, at ntp.Timestamp) {
	slot := int(id) & (len(x.slots) - 1)
	v := x.slots[slot].value.Load()
	if v&1 != 0 && idOf(slot, v) == id {
		x.slots[slot].value.CompareAndSwap(v, uint64(even(at)))
	}
}

// idOf is the id of an answer whose stamp is not known yet, from 2^30 up to below 2^31: its slot and part of the mark.
func idOf(slot int, mark uint64) uint32 {
	return idOurs | uint32(mark>>(64-idMarkBits))<<slotBits | uint32(slot)
}

// markOf is the value of a slot whose transmit stamp is not known yet.
func markOf(key uint64) uint64 { return key<<1 | 1 }

// named counts the slots of a set that have that name.
func named(set []savedAnswer, name uint64) (n int) {
	for i := range set {
		if set[i].key.Load()&savedName == name {
			n++
		}
	}
	return n
}

// stale reports whether an answer is too old to be of use.
func stale(key uint64, now ntp.Timestamp) bool { return age(key, now) > longestGap+lateness }

// age is how many seconds before now the request of a key came, plus lateness.
func age(key uint64, now ntp.Timestamp) uint64 {
	return (uint64(now>>32) + lateness - key) & savedSeconds
}

// victim returns the slot to give up and its value, -1 for none: one that is free, stale or of another epoch, which is room, else the
// oldest that is not proven, else, for a client that is proven, the oldest, and for one that is not the oldest of its own, but not
// its last. name is that of the answer to save.
func victim(set []savedAnswer, name uint64, now ntp.Timestamp, proven bool) (index int, value uint64, room bool) {
	index = -1
	own, ownIndex, ownOldest, ownValue := 0, -1, uint64(0), uint64(0)
	oldest := uint64(0)
	for i := range set {
		key, v := set[i].key.Load(), set[i].value.Load()
		if v&1 != 0 && v != markOf(key) {
			continue // another worker is about to write the key
		}
		if v == 0 || stale(key, now) || (key^name)>>savedEpochAt&savedEpochs != 0 {
			return i, v, true
		}
		rank := age(key, now) + 1
		if key&savedProven == 0 {
			rank += savedSeconds
		} else if !proven {
			if (key^name)>>savedOwnerAt == 0 {
				if own++; rank > ownOldest {
					ownIndex, ownValue, ownOldest = i, v, rank
				}
			}
			continue
		}
		if rank > oldest {
			index, value, oldest = i, v, rank
		}
	}
	if index < 0 && own >= 2 {
		return ownIndex, ownValue, false
	}
	return index, value, false
}
