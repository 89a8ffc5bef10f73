package aead

import (
	"crypto/subtle"
	"encoding/binary"
)

// siv is AES-SIV (RFC 5297): S2V under the first half of the key makes the synthetic IV, which is tag and
// starting counter at once; CTR under the second half encrypts.
type siv struct {
	mac   cmac
	empty [blockSize]byte     // CMAC of the zero block: where every S2V starts
	d     [blockSize]byte     // the synthetic IV
	x     [2 * blockSize]byte // two chains side by side
	last  [2][blockSize]byte  // last blocks of two messages, with their subkeys
	tail  [2 * blockSize]byte // the end of the plaintext, as the last blocks of S2V

	before repeats
}

// rekey takes the first half of a SIV key. Of messages under the one before, Forget has left nothing.
func (s *siv) rekey(key []byte, portable bool) {
	s.mac.rekey(key, portable)
	s.empty = [blockSize]byte{}
	s.mac.key.chain(&s.empty, s.mac.k1[:])
}

// s2v leaves in s.d the synthetic IV of the components ad..., nonce, plaintext (RFC 5297 §2.4). A nonce of no
// bytes is no component at all, which gives the deterministic mode of RFC 5297 A.1.
func (s *siv) s2v(ad [][]byte, nonce, plaintext []byte) {
	// The value of the other components is XORed onto the last 16 bytes of the plaintext, so the whole blocks
	// before them need not wait for it.
	head := max(0, len(plaintext)-blockSize) &^ (blockSize - 1)
	if len(ad) == 1 && len(nonce) > 0 && len(nonce) <= blockSize {
		s.finish(s.usual(ad[0], nonce, plaintext[:head]), plaintext[head:])
		return
	}
	d := s.components(ad, nonce)
	s.mac.x = [blockSize]byte{}
	s.mac.key.chain(&s.mac.x, plaintext[:head])
	s.finish(d, plaintext[head:])
}

// components is S2V of any components but the last.
func (s *siv) components(ad [][]byte, nonce []byte) gf128 {
	d := element(&s.empty)
	for _, component := range ad {
		s.mac.sum(component)
		d = d.double().plus(element(&s.mac.x))
	}
	if len(nonce) > 0 {
		s.mac.sum(nonce)
		d = d.double().plus(element(&s.mac.x))
	}
	return d
}

// usual is S2V of one component and a nonce of at most a block, and leaves in s.mac.x the chain over head, the
// whole blocks of the plaintext. The three chains are independent; two at a time run side by side.
func (s *siv) usual(ad, nonce, head []byte) gf128 {
	if d, known := s.before.absorbed(ad); known {
		return s.again(d, nonce, head)
	}
	key, one, other := &s.mac.key, (*[blockSize]byte)(s.x[:]), (*[blockSize]byte)(s.x[blockSize:])
	whole := lastBlock(len(ad))
	both := min(whole, len(head))
	clear(s.x[:])
	key.chainTwo(&s.x, ad[:both], head[:both])
	key.chain(one, ad[both:whole])
	key.chain(other, head[both:])
	s.mac.x = *other
	s.before.chain(head, other)

	s.mac.pad(&s.last[0], ad[whole:])
	s.mac.pad(&s.last[1], nonce)
	clear(other[:])
	key.chainTwo(&s.x, s.last[0][:], s.last[1][:])
	d := element(&s.empty).double().plus(element(one))
	s.before.absorb(ad, d)
	return d.double().plus(element(other))
}

// again is usual where S2V of the associated data is d.
func (s *siv) again(d gf128, nonce, head []byte) gf128 {
	key, one, other := &s.mac.key, (*[blockSize]byte)(s.x[:]), (*[blockSize]byte)(s.x[blockSize:])
	s.mac.pad(&s.last[0], nonce)
	clear(s.x[:])
	switch {
	case len(head) == 0:
		key.chain(one, s.last[0][:])
	case s.before.chained(head):
		key.chain(one, s.last[0][:])
		*other = s.before.x
	default:
		key.chainTwo(&s.x, s.last[0][:], head[:blockSize])
		key.chain(other, head[blockSize:])
		s.before.chain(head, other)
	}
	s.mac.x = *other
	return d.double().plus(element(one))
}

// finish leaves in s.d the S2V of d, which stands for the other components, and a plaintext whose last bytes are end:
// 16 to 31 behind whole blocks, whose chain s.mac.x is, or fewer and none before them.
func (s *siv) finish(d gf128, end []byte) {
	clear(s.tail[:])
	n := copy(s.tail[:], end) // so that the plaintext itself is only read
	size, subkey := blockSize, &s.mac.k1
	if n < blockSize {
		s.tail[n] = 0x80
		d = d.double()
		n = blockSize
	} else if n > blockSize {
		s.tail[n] = 0x80
		size, subkey = 2*blockSize, &s.mac.k2
	}
	sum := (*[blockSize]byte)(s.tail[n-blockSize:])
	element(sum).plus(d).put(sum)
	last := (*[blockSize]byte)(s.tail[size-blockSize:])
	element(last).plus(element(subkey)).put(last)
	s.mac.key.chain(&s.mac.x, s.tail[:size])
	s.d = s.mac.x
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
	c.tag = [Overhead]byte(sealed)
	copy(out, sealed[Overhead:])
	c.counterSIV(out, &c.tag)
	c.siv.s2v(ad, nonce, out)
	return equal(&c.siv.d, &c.tag)
}

// counterSIV XORs the key stream of iv onto text. RFC 5297 §2.5 clears two bits of the IV so that counting can
// never carry out of the low 64 bits.
func (c *Cipher) counterSIV(text []byte, iv *[blockSize]byte) {
	hi := binary.BigEndian.Uint64(iv[:8])
	lo := binary.BigEndian.Uint64(iv[8:]) &^ (1<<63 | 1<<31)
	for len(text) > 0 {
		c.ctr.stream(&c.stream, big64, hi, lo)
		lo += streamBlocks
		text = text[subtle.XORBytes(text, text, c.stream[:]):]
	}
}
