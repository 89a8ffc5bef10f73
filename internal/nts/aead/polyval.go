package aead

import (
	"encoding/binary"
	"math/bits"
)

// polyval is the hash of GCM-SIV (RFC 8452 §3): a polynomial over GF(2^128), evaluated at the secret h. Nothing
// in it branches on or indexes with secret bits, with or without the carry-less multiplication of the CPU.
type polyval struct {
	h, acc   [blockSize]byte
	pad      [blockSize]byte
	portable bool
}

// reset starts a new hash under the key that is in p.h.
func (p *polyval) reset() { p.acc = [blockSize]byte{} }

// write absorbs data, padded with zeros to whole blocks.
func (p *polyval) write(data []byte) {
	whole := len(data) &^ (blockSize - 1)
	p.blocks(data[:whole])
	if whole < len(data) {
		p.pad = [blockSize]byte{}
		copy(p.pad[:], data[whole:])
		p.blocks(p.pad[:])
	}
}

// blocks absorbs whole blocks.
func (p *polyval) blocks(data []byte) {
	if len(data) == 0 {
		return
	}
	if hardware && !p.portable {
		polyvalBlocks(&p.acc[0], &p.h[0], &data[0], len(data)/blockSize)
		return
	}
	h0, h1 := binary.LittleEndian.Uint64(p.h[:8]), binary.LittleEndian.Uint64(p.h[8:])
	a0, a1 := binary.LittleEndian.Uint64(p.acc[:8]), binary.LittleEndian.Uint64(p.acc[8:])
	for ; len(data) >= blockSize; data = data[blockSize:] {
		a0 ^= binary.LittleEndian.Uint64(data)
		a1 ^= binary.LittleEndian.Uint64(data[8:])
		a0, a1 = dot(a0, a1, h0, h1)
	}
	binary.LittleEndian.PutUint64(p.acc[:8], a0)
	binary.LittleEndian.PutUint64(p.acc[8:], a1)
}

// dot returns a·b·x^-128 modulo x^128 + x^127 + x^126 + x^121 + 1.
func dot(a0, a1, b0, b1 uint64) (r0, r1 uint64) {
	// Karatsuba: three products make the four words v0..v3 of the full product.
	v1, v0 := clmul(a0, b0)
	v3, v2 := clmul(a1, b1)
	mh, ml := clmul(a0^a1, b0^b1)
	mh, ml = mh^v1^v3, ml^v0^v2
	v1, v2 = v1^ml, v2^mh
	// Adding the right multiple of the polynomial clears the lowest word; twice, and a factor x^128 is gone.
	v1 ^= v0<<63 ^ v0<<62 ^ v0<<57
	v2 ^= v0 ^ v0>>1 ^ v0>>2 ^ v0>>7
	v2 ^= v1<<63 ^ v1<<62 ^ v1<<57
	v3 ^= v1 ^ v1>>1 ^ v1>>2 ^ v1>>7
	return v2, v3
}

// clmul is the carry-less product of two words. Reversing the bits turns its high half into a low half.
func clmul(x, y uint64) (hi, lo uint64) {
	return bits.Reverse64(clmulLow(bits.Reverse64(x), bits.Reverse64(y))) >> 1, clmulLow(x, y)
}

// clmulLow is the low word of the carry-less product, by integer multiplications of operands that have every
// fourth bit only (Pornin's method): the terms that meet in one place add up in the three free bits above it,
// which are masked out again. Place k has k+1 terms; only the topmost, with 16, carries further, out of the word.
func clmulLow(x, y uint64) uint64 {
	const m0 = 0x1111111111111111
	const m1, m2, m3 = m0 << 1, m0 << 2, m0 << 3
	x0, x1, x2, x3 := x&m0, x&m1, x&m2, x&m3
	y0, y1, y2, y3 := y&m0, y&m1, y&m2, y&m3
	z0 := x0*y0 ^ x1*y3 ^ x2*y2 ^ x3*y1
	z1 := x0*y1 ^ x1*y0 ^ x2*y3 ^ x3*y2
	z2 := x0*y2 ^ x1*y1 ^ x2*y0 ^ x3*y3
	z3 := x0*y3 ^ x1*y2 ^ x2*y1 ^ x3*y0
	return z0&m0 | z1&m1 | z2&m2 | z3&m3
}
