package aead

import (
	"crypto/subtle"
	"encoding/binary"
)

const (
	blockSize = 16 // of AES, in bytes
	// maxSchedule is the longest key schedule: 15 round keys of AES-256.
	maxSchedule = 15 * blockSize
)

// block is an expanded AES key, for encryption only. crypto/aes allocates 512 bytes for every key; a server
// that takes its keys out of cookies would do that several times per packet. And where the CPU has no AES instructions
// it looks bytes up in tables, which is not in constant time. So the schedule is kept in place, and what works with it
// is assembly or, elsewhere, Boolean operations (bitslice.go).
type block struct {
	rounds   int // 10, 12 or 14
	sliced   bool
	schedule [maxSchedule]byte
}

// expand sets the key, of 16, 24 or 32 bytes; portable keeps away from the assembly.
func (b *block) expand(key []byte, portable bool) {
	b.rounds, b.sliced = len(key)/4+6, portable || !hardware
	if b.sliced {
		sliceKey(b.rounds, key, &b.schedule)
		return
	}
	expandKey(b.rounds, &key[0], &b.schedule[0])
}

// encryptAll encrypts whole blocks in place, each for itself.
func (b *block) encryptAll(x []byte) {
	switch {
	case len(x) == 0:
	case b.sliced:
		sliceBlocks(b.rounds, &b.schedule, x)
	default:
		encryptBlocks(b.rounds, &b.schedule[0], &x[0], len(x)/blockSize)
	}
}

// chain runs CBC-MAC: for every whole block p of data, x = E(x ^ p).
func (b *block) chain(x *[blockSize]byte, data []byte) {
	if len(data) < blockSize {
		return
	}
	if !b.sliced {
		chainBlocks(b.rounds, &b.schedule[0], &x[0], &data[0], len(data)/blockSize)
		return
	}
	for ; len(data) >= blockSize; data = data[blockSize:] {
		subtle.XORBytes(x[:], x[:], data[:blockSize])
		sliceBlocks(b.rounds, &b.schedule, x[:])
	}
}

// chainTwo runs chain over p from the first half of x and over q, which is as long, from the second one: side by side,
// because each waits for itself most of the time.
func (b *block) chainTwo(x *[2 * blockSize]byte, p, q []byte) {
	if len(p) < blockSize {
		return
	}
	q = q[:len(p)]
	if !b.sliced {
		chainTwo(b.rounds, &b.schedule[0], &x[0], &p[0], &q[0], len(p)/blockSize)
		return
	}
	for ; len(p) >= blockSize; p, q = p[blockSize:], q[blockSize:] {
		subtle.XORBytes(x[:blockSize], x[:blockSize], p[:blockSize])
		subtle.XORBytes(x[blockSize:], x[blockSize:], q[:blockSize])
		sliceBlocks(b.rounds, &b.schedule, x[:])
	}
}

// counters is how a mode of operation counts its blocks.
type counters uint8

const (
	big64    counters = iota // big-endian in the last 8 bytes
	little32                 // little-endian in the first 4 bytes
)

// stream fills s with E(c), E(c + 1), … for the counter block whose words are hi and lo: as big-endian numbers in that
// order for big64, where lo must not wrap; as little-endian numbers, lo first, for little32, which wraps by itself.
func (b *block) stream(s *[streamSize]byte, how counters, hi, lo uint64) {
	switch {
	case b.sliced:
		for at := 0; at < streamSize; at += blockSize {
			lo = how.put(s[at:at+blockSize], hi, lo)
		}
		sliceBlocks(b.rounds, &b.schedule, s[:])
	case how == big64:
		stream64(b.rounds, &b.schedule[0], hi, lo, &s[0])
	default:
		stream32(b.rounds, &b.schedule[0], hi, lo, &s[0])
	}
}

// put writes a counter block and returns the lo of the next one.
func (how counters) put(b []byte, hi, lo uint64) (next uint64) {
	if how == big64 {
		binary.BigEndian.PutUint64(b, hi)
		binary.BigEndian.PutUint64(b[8:], lo)
		return lo + 1
	}
	binary.LittleEndian.PutUint64(b, lo)
	binary.LittleEndian.PutUint64(b[8:], hi)
	return lo&^0xffffffff | uint64(uint32(lo)+1)
}
