package aead

import (
	"crypto/subtle"
	"encoding/binary"
)

// cmac is AES-CMAC (RFC 4493, NIST SP 800-38B) with the running value inside, so that nothing is allocated.
type cmac struct {
	key    block
	k1, k2 [blockSize]byte // subkeys for a full and for a padded last block
	x      [blockSize]byte // chaining value, and the result of sum
}

// rekey sets the key of 16, 24 or 32 bytes.
func (m *cmac) rekey(key []byte, portable bool) {
	m.key.expand(key, portable)
	m.k1 = [blockSize]byte{}
	m.key.encrypt(&m.k1)
	double(&m.k1)
	m.k2 = m.k1
	double(&m.k2)
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
	subtle.XORBytes(m.x[:], m.x[:], tail)
	if len(tail) == blockSize {
		xor(&m.x, &m.k1)
	} else {
		m.x[len(tail)] ^= 0x80
		xor(&m.x, &m.k2)
	}
	m.key.encrypt(&m.x)
}

// lastBlock returns where the last block, whole or not, of a message of n bytes starts.
func lastBlock(n int) int {
	if n == 0 {
		return 0
	}
	return (n - 1) / blockSize * blockSize
}

// double multiplies by x in GF(2^128) as RFC 4493 §2.3 orders the bits, in constant time.
func double(b *[blockSize]byte) {
	hi, lo := binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])
	carry := -(hi >> 63) & 0x87
	binary.BigEndian.PutUint64(b[:8], hi<<1|lo>>63)
	binary.BigEndian.PutUint64(b[8:], lo<<1^carry)
}

// xor is dst ^= src.
func xor(dst, src *[blockSize]byte) {
	for i := 0; i < blockSize; i += 8 {
		v := binary.LittleEndian.Uint64(dst[i:]) ^ binary.LittleEndian.Uint64(src[i:])
		binary.LittleEndian.PutUint64(dst[i:], v)
	}
}
