package aead

import (
	"crypto/subtle"
	"encoding/binary"
	"math"
)

// gcmsiv is AES-GCM-SIV (RFC 8452): every nonce has its own hash and encryption key, made from the key. The key
// has 16 bytes, or 32 for the published vectors of the AES-256 form, which no algorithm of ours uses.
type gcmsiv struct {
	master  block
	keySize int
	hash    polyval
	derived [6 * blockSize]byte
	sum     [blockSize]byte
}

// rekeyGCM sets the key of 16 or 32 bytes.
func (c *Cipher) rekeyGCM(key []byte) {
	c.gcm.keySize = len(key)
	c.gcm.hash.portable = c.portable
	c.gcm.master.expand(key, c.portable)
}

// derive makes the two keys of a nonce (RFC 8452 §4).
func (c *Cipher) derive(nonce []byte) {
	g := &c.gcm
	blocks := 2 + g.keySize/8
	for i := range blocks {
		b := g.derived[i*blockSize : (i+1)*blockSize]
		binary.LittleEndian.PutUint32(b, uint32(i))
		copy(b[4:], nonce)
	}
	g.master.encryptAll(g.derived[:blocks*blockSize])
	for i := range blocks { // only the first half of each block is used
		copy(g.derived[i*8:], g.derived[i*blockSize:i*blockSize+8])
	}
	copy(g.hash.h[:], g.derived[:blockSize])
	c.ctr.expand(g.derived[blockSize:blockSize+g.keySize], c.portable)
	clear(g.derived[:])
}

// authenticate leaves in gcm.sum the tag of plaintext and ad under the derived keys (RFC 8452 §4).
func (c *Cipher) authenticate(nonce, plaintext, ad []byte) {
	g := &c.gcm
	g.hash.reset()
	g.hash.write(ad)
	g.hash.write(plaintext)
	binary.LittleEndian.PutUint64(g.sum[:8], uint64(len(ad))*8)
	binary.LittleEndian.PutUint64(g.sum[8:], uint64(len(plaintext))*8)
	g.hash.blocks(g.sum[:])
	g.sum = g.hash.acc
	subtle.XORBytes(g.sum[:], g.sum[:], nonce)
	g.sum[blockSize-1] &= 0x7f
	c.ctr.encryptAll(g.sum[:])
}

// sealGCM fills out = ciphertext | tag.
func (c *Cipher) sealGCM(out, nonce, plaintext, ad []byte) {
	c.derive(nonce)
	c.authenticate(nonce, plaintext, ad)
	n := copy(out, plaintext) // before the tag is written: plaintext may lie anywhere in out
	copy(out[n:], c.gcm.sum[:])
	c.counterGCM(out[:n], &c.gcm.sum)
}

// openGCM fills out with the plaintext and reports whether the tag behind sealed is right.
func (c *Cipher) openGCM(out, nonce, sealed, ad []byte) bool {
	c.derive(nonce)
	c.tag = [Overhead]byte(sealed[len(out):])
	copy(out, sealed)
	c.counterGCM(out, &c.tag)
	c.authenticate(nonce, out, ad)
	return equal(&c.gcm.sum, &c.tag)
}

// counterGCM XORs the key stream that starts at tag onto text: the first word counts, little-endian, and wraps
// by itself (RFC 8452 §4, vectors C.3).
func (c *Cipher) counterGCM(text []byte, tag *[blockSize]byte) {
	lo := binary.LittleEndian.Uint64(tag[:8])
	hi := binary.LittleEndian.Uint64(tag[8:]) | 1<<63
	for len(text) > 0 {
		c.ctr.stream(&c.stream, little32, hi, lo)
		lo = lo&^math.MaxUint32 | uint64(uint32(lo)+streamBlocks)
		text = text[subtle.XORBytes(text, text, c.stream[:]):]
	}
}
