package aead

import "encoding/binary"

// cmac is AES-CMAC (RFC 4493, NIST SP 800-38B) with the running value inside, so that nothing is allocated.
type cmac struct {
	key    block
	k1, k2 [blockSize]byte // subkeys for a full and for a padded last block
	x      [blockSize]byte // chaining value, and the result of sum
	last   [blockSize]byte // last block of a message, with its subkey
}

// rekey sets the key of 16, 24 or 32 bytes.
func (m *cmac) rekey(key []byte, portable bool) {
	m.key.expand(key, portable)
	m.x, m.last = [blockSize]byte{}, [blockSize]byte{}
	m.key.chain(&m.x, m.last[:])
	k1 := element(&m.x).double()
	k1.put(&m.k1)
	k1.double().put(&m.k2)
	m.x = [blockSize]byte{} // the subkeys come from it
}

// sum leaves the CMAC of message in m.x.
func (m *cmac) sum(message []byte) {
	head := lastBlock(len(message))
	m.x = [blockSize]byte{}
	m.key.chain(&m.x, message[:head])
	m.finish(message[head:])
}

// finish absorbs the last 0 to 16 bytes of a message whose other blocks m.x has seen.
func (m *cmac) finish(tail []byte) {
	m.pad(&m.last, tail)
	m.key.chain(&m.x, m.last[:])
}

// pad makes the last block of a message out of its last 0 to 16 bytes: padded if need be, with its subkey.
func (m *cmac) pad(last *[blockSize]byte, tail []byte) {
	if len(tail) == blockSize {
		element((*[blockSize]byte)(tail)).plus(element(&m.k1)).put(last)
		return
	}
	*last = [blockSize]byte{}
	copy(last[:], tail)
	last[len(tail)] = 0x80
	element(last).plus(element(&m.k2)).put(last)
}

// lastBlock returns where the last block, whole or not, of a message of n bytes starts.
func lastBlock(n int) int {
	if n == 0 {
		return 0
	}
	return (n - 1) &^ (blockSize - 1)
}

// gf128 is an element of GF(2^128) as RFC 4493 §2.3 orders the bits.
type gf128 struct{ hi, lo uint64 }

// element reads a block.
func element(b *[blockSize]byte) gf128 {
	return gf128{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

// put writes a block.
func (e gf128) put(b *[blockSize]byte) {
	binary.BigEndian.PutUint64(b[:8], e.hi)
	binary.BigEndian.PutUint64(b[8:], e.lo)
}

// plus adds, which is XOR.
func (e gf128) plus(f gf128) gf128 { return gf128{e.hi ^ f.hi, e.lo ^ f.lo} }

// double multiplies by x, in constant time.
func (e gf128) double() gf128 {
	carry := -(e.hi >> 63) & 0x87
	return gf128{e.hi<<1 | e.lo>>63, e.lo<<1 ^ carry}
}
