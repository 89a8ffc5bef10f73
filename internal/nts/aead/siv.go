package aead

import (
	"crypto/subtle"
	"encoding/binary"
)

// siv is AES-SIV (RFC 5297): S2V under the first half of the key makes the synthetic IV, which is tag and
// starting counter at once; CTR under the second half encrypts.
type siv struct {
	mac   cmac
	empty [blockSize]byte // CMAC of the zero block: where every S2V starts
	d     [blockSize]byte // running value of S2V, at the end the synthetic IV
	tail  [2 * blockSize]byte
}

// rekey takes the first half of a SIV key.
func (s *siv) rekey(key []byte, portable bool) {
	s.mac.rekey(key, portable)
	s.empty = [blockSize]byte{}
	s.mac.sum(s.empty[:])
	s.empty = s.mac.x
}

// s2v leaves in s.d the synthetic IV of the components ad..., nonce, plaintext (RFC 5297 §2.4). A nonce of no
// bytes is no component at all, which gives the deterministic mode of RFC 5297 A.1.
func (s *siv) s2v(ad [][]byte, nonce, plaintext []byte) {
	s.d = s.empty
	for _, component := range ad {
		s.absorb(component)
	}
	if len(nonce) > 0 {
		s.absorb(nonce)
	}
	if len(plaintext) < blockSize {
		double(&s.d)
		subtle.XORBytes(s.d[:], s.d[:], plaintext)
		s.d[len(plaintext)] ^= 0x80
		s.mac.sum(s.d[:])
		s.d = s.mac.x
		return
	}
	// The value so far is XORed onto the last 16 bytes of the plaintext. They lie in its last 16 to 31 bytes,
	// which are copied, so that the plaintext itself is only read.
	head := (len(plaintext) - blockSize) / blockSize * blockSize
	n := copy(s.tail[:], plaintext[head:])
	end := s.tail[n-blockSize : n]
	subtle.XORBytes(end, end, s.d[:])
	last := lastBlock(n)
	s.mac.x = [blockSize]byte{}
	s.mac.key.chain(&s.mac.x, plaintext[:head])
	s.mac.key.chain(&s.mac.x, s.tail[:last])
	s.mac.finish(s.tail[last:n])
	s.d = s.mac.x
	clear(s.tail[:])
}

// absorb takes in one component that is not the last.
func (s *siv) absorb(component []byte) {
	s.mac.sum(component)
	double(&s.d)
	xor(&s.d, &s.mac.x)
}

// sealSIV fills out = tag | ciphertext.
func (c *Cipher) sealSIV(out, nonce, plaintext []byte, ad [][]byte) {
	c.siv.s2v(ad, nonce, plaintext)
	copy(out[Overhead:], plaintext) // before the tag is written: plaintext may lie anywhere in out
	copy(out, c.siv.d[:])
	c.counterSIV(out[Overhead:], &c.siv.d)
}

// openSIV fills out with the plaintext and reports whether the tag in front of sealed is right.
func (c *Cipher) openSIV(out, nonce, sealed []byte, ad [][]byte) bool {
	copy(c.tag[:], sealed)
	copy(out, sealed[Overhead:])
	c.counterSIV(out, &c.tag)
	c.siv.s2v(ad, nonce, out)
	return subtle.ConstantTimeCompare(c.siv.d[:], c.tag[:]) == 1
}

// counterSIV XORs the key stream of iv onto text. RFC 5297 §2.5 clears two bits of the IV so that counting can
// never carry out of the low 64 bits.
func (c *Cipher) counterSIV(text []byte, iv *[blockSize]byte) {
	hi := binary.BigEndian.Uint64(iv[:8])
	lo := binary.BigEndian.Uint64(iv[8:]) &^ (1<<63 | 1<<31)
	for len(text) > 0 {
		n := min(len(text), len(c.stream))
		used := (n + blockSize - 1) &^ (blockSize - 1)
		for at := 0; at < used; at += blockSize {
			binary.BigEndian.PutUint64(c.stream[at:], hi)
			binary.BigEndian.PutUint64(c.stream[at+8:], lo)
			lo++
		}
		c.ctr.encryptAll(c.stream[:used])
		subtle.XORBytes(text[:n], text[:n], c.stream[:n])
		text = text[n:]
	}
}
