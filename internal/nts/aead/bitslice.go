package aead

import (
	"encoding/binary"
	"math/bits"
)

// AES without tables, for processors that have no AES instructions: an S-box that is looked up in memory tells other
// programs on the same processor, by what is in the cache, which of its lines a key has touched. Here four blocks are
// computed at a time out of Boolean operations on planes: bit i of plane b is bit b of byte i, so that a block has 16
// bits in every plane. Nothing branches on or indexes with them.

// lanes is how many blocks fit.
const lanes = 4

// planes is a state of AES, bit by bit. Byte 4c+r of a block is column c, row r of FIPS 197.
type planes [8]uint64

// transpose exchanges bit 8i+j with bit 8j+i.
func transpose(x uint64) uint64 {
	t := (x ^ x>>7) & 0x00aa00aa00aa00aa
	x ^= t ^ t<<7
	t = (x ^ x>>14) & 0x0000cccc0000cccc
	x ^= t ^ t<<14
	t = (x ^ x>>28) & 0x00000000f0f0f0f0
	return x ^ t ^ t<<28
}

// load puts eight bytes at place i of the state, 0 to 7, where there is nothing yet.
func (p *planes) load(i int, x uint64) {
	x = transpose(x)
	for b := range p {
		p[b] |= x >> (8 * b) & 0xff << (8 * i)
	}
}

// store is the opposite of load.
func (p *planes) store(i int) (x uint64) {
	for b := range p {
		x |= p[b] >> (8 * i) & 0xff << (8 * b)
	}
	return transpose(x)
}

// nibble is four planes: elements of GF(2^4) with x^4 = x + 1.
type nibble [4]uint64

func (a nibble) plus(b nibble) nibble {
	return nibble{a[0] ^ b[0], a[1] ^ b[1], a[2] ^ b[2], a[3] ^ b[3]}
}

func (a nibble) times(b nibble) nibble {
	x4 := a[1]&b[3] ^ a[2]&b[2] ^ a[3]&b[1]
	x5 := a[2]&b[3] ^ a[3]&b[2]
	x6 := a[3] & b[3]
	return nibble{
		a[0]&b[0] ^ x4,
		a[0]&b[1] ^ a[1]&b[0] ^ x4 ^ x5,
		a[0]&b[2] ^ a[1]&b[1] ^ a[2]&b[0] ^ x5 ^ x6,
		a[0]&b[3] ^ a[1]&b[2] ^ a[2]&b[1] ^ a[3]&b[0] ^ x6,
	}
}

// inverse is a^14, of 0 it is 0, as polynomials in the bits of a.
func (a nibble) inverse() nibble {
	p01, p02, p12, p03, p13, p23 := a[0]&a[1], a[0]&a[2], a[1]&a[2], a[0]&a[3], a[1]&a[3], a[2]&a[3]
	p123 := p12 & a[3]
	return nibble{
		a[0] ^ a[1] ^ a[2] ^ a[3] ^ p02 ^ p12 ^ p01&a[2] ^ p123,
		a[3] ^ p01 ^ p02 ^ p12 ^ p13 ^ p01&a[3],
		a[2] ^ a[3] ^ p01 ^ p02 ^ p03 ^ p02&a[3],
		a[1] ^ a[2] ^ a[3] ^ p03 ^ p13 ^ p23 ^ p123,
	}
}

// substitute is the S-box of every byte (FIPS 197 §5.1.1). The inverse in GF(2^8) is taken in GF((2^4)^2) with
// y^2 = y + λ, λ = x^3 + x, of which the first linear map is an isomorphism. The second leads back and holds the
// linear part of the S-box, too. An element is h·y + l, and its inverse that of its norm l^2 + l·h + λ·h^2 times its
// conjugate h·y + (h + l).
func (p *planes) substitute() {
	a57 := p[5] ^ p[7]
	a257 := p[2] ^ a57
	a67 := p[6] ^ p[7]
	l := nibble{p[0] ^ a257, p[6] ^ a257, p[2], p[3] ^ p[4]}
	h := nibble{p[1] ^ a57, p[2] ^ p[3], p[1] ^ p[4] ^ a67, a57}

	norm := nibble{l[0] ^ l[2], l[2], l[1] ^ l[3], l[3]} // l^2
	norm = norm.plus(nibble{h[2] ^ h[3], h[0] ^ h[1], h[1] ^ h[2], h[0] ^ h[1] ^ h[2]})
	n := norm.plus(l.times(h)).inverse()
	u, v := n.times(h.plus(l)), n.times(h) // l and h of the inverse

	u03, u12, u01, v12 := u[0]^u[3], u[1]^u[2], u[0]^u[1], v[1]^v[2]
	v3u03, v1u12, v2u03 := v[3]^u03, v[1]^u12, v[2]^u03
	p[0] = ^(v3u03 ^ v1u12)
	p[1] = ^(v[0] ^ u01)
	p[2] = v3u03 ^ u[2] ^ v12
	p[3] = u12 ^ v2u03
	p[4] = v[0] ^ u03
	p[5] = ^(u12 ^ v12)
	p[6] = ^(v[0] ^ v12)
	p[7] = u[3] ^ u12
}

// shiftRows turns row r of each block by r columns.
func (p *planes) shiftRows() {
	for b, x := range p {
		p[b] = x&0x1111111111111111 |
			x>>4&0x0222022202220222 | x<<12&0x2000200020002000 |
			x>>8&0x0044004400440044 | x<<8&0x4400440044004400 |
			x>>12&0x0008000800080008 | x<<4&0x8880888088808880
	}
}

// mixColumns is 2·a + 3·a' + a” + a”' for a byte and the three behind it in its column (FIPS 197 §5.1.3): twice a + a',
// and a', and the a” + a”' that a + a' is two rows on.
func (p *planes) mixColumns() {
	var pair, next planes
	for b, x := range p {
		next[b] = x>>1&0x7777777777777777 | x<<3&0x8888888888888888
		pair[b] = x ^ next[b]
	}
	top := pair[7]
	carry := planes{top, top, 0, top, top} // x^8 = x^4 + x^3 + x + 1
	for b, x := range pair {
		p[b] = next[b] ^ carry[b] ^ x>>2&0x3333333333333333 ^ x<<2&0xcccccccccccccccc
		if b > 0 {
			p[b] ^= pair[b-1]
		}
	}
}

// addKey adds a round key to every block; key holds its planes, 16 bits each.
func (p *planes) addKey(key []byte) {
	for b := range p {
		p[b] ^= uint64(binary.LittleEndian.Uint16(key[2*b:])) * 0x0001000100010001
	}
}

// encrypt runs AES with the schedule of sliceKey.
func (p *planes) encrypt(rounds int, schedule *[maxSchedule]byte) {
	p.addKey(schedule[:blockSize])
	for r := 1; r < rounds; r++ {
		p.substitute()
		p.shiftRows()
		p.mixColumns()
		p.addKey(schedule[r*blockSize:][:blockSize])
	}
	p.substitute()
	p.shiftRows()
	p.addKey(schedule[rounds*blockSize:][:blockSize])
}

// substituteWord is the S-box of each of four bytes.
func substituteWord(w uint32) uint32 {
	var p planes
	p.load(0, uint64(w))
	p.substitute()
	return uint32(p.store(0))
}

// sliceKey expands a key (FIPS 197 §5.2) and turns each round key into planes.
func sliceKey(rounds int, key []byte, schedule *[maxSchedule]byte) {
	var words [maxSchedule / 4]uint32
	n := len(key) / 4
	for i := range n {
		words[i] = binary.LittleEndian.Uint32(key[4*i:])
	}
	constant := uint32(1)
	for i := n; i < 4*(rounds+1); i++ {
		w := words[i-1]
		switch {
		case i%n == 0:
			w = substituteWord(bits.RotateLeft32(w, -8)) ^ constant
			constant = constant<<1 ^ constant>>7*0x11b
		case n > 6 && i%n == 4:
			w = substituteWord(w)
		}
		words[i] = words[i-n] ^ w
	}
	for r := range rounds + 1 {
		var p planes
		p.load(0, uint64(words[4*r+1])<<32|uint64(words[4*r]))
		p.load(1, uint64(words[4*r+3])<<32|uint64(words[4*r+2]))
		for b := range p {
			binary.LittleEndian.PutUint16(schedule[r*blockSize+2*b:], uint16(p[b]))
		}
	}
	clear(words[:])
}

// sliceBlocks encrypts whole blocks in place.
func sliceBlocks(rounds int, schedule *[maxSchedule]byte, x []byte) {
	for len(x) > 0 {
		var p planes
		n := min(len(x), lanes*blockSize)
		for i := range n / 8 {
			p.load(i, binary.LittleEndian.Uint64(x[8*i:]))
		}
		p.encrypt(rounds, schedule)
		for i := range n / 8 {
			binary.LittleEndian.PutUint64(x[8*i:], p.store(i))
		}
		x = x[n:]
	}
}
