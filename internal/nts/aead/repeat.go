package aead

import "encoding/binary"

// repeats is what S2V remembers of the message before, for a key that seals and opens the same text again and again: a
// server opens a cookie and seals its text anew, once or up to eight times, under other nonces and with the same
// associated data. What was remembered is used only for what is equal to it, byte for byte.
type repeats struct {
	on   bool
	ad   [blockSize - 1]byte // a short associated data, no secret
	adN  int                 // how much of it; -1: none
	d    gf128               // S2V of it
	head [8 * blockSize]byte // whole blocks of the plaintext
	n    int                 // how much of it; 0: none
	x    [blockSize]byte     // the chain over it
}

// Remember tells c that the same plaintext and associated data come again and again, under other nonces: from now on
// it keeps of the last message what the next one need not compute anew, which is up to 128 bytes of plaintext, until the
// next message or key takes the place. It changes no result and does nothing for GCM-SIV.
func (c *Cipher) Remember() { c.siv.before = repeats{on: true, adN: -1} }

// absorbed returns S2V of the one component ad if it is known.
func (r *repeats) absorbed(ad []byte) (d gf128, known bool) {
	return r.d, r.on && r.adN == len(ad) && string(r.ad[:r.adN]) == string(ad)
}

// absorb keeps S2V of a component that is short enough.
func (r *repeats) absorb(ad []byte, d gf128) {
	if r.on && len(ad) <= len(r.ad) {
		r.adN, r.d = copy(r.ad[:], ad), d
	}
}

// chained reports whether x is the chain over head.
func (r *repeats) chained(head []byte) bool {
	if r.n != len(head) {
		return false
	}
	kept := r.head[:r.n]
	var differ uint64 // in constant time: keys are compared
	for len(head) >= 8 && len(kept) >= 8 {
		differ |= binary.LittleEndian.Uint64(head) ^ binary.LittleEndian.Uint64(kept)
		head, kept = head[8:], kept[8:]
	}
	return differ == 0
}

// chain keeps the chain x over head if it is short enough.
func (r *repeats) chain(head []byte, x *[blockSize]byte) {
	if r.on && len(head) <= len(r.head) {
		r.n, r.x = copy(r.head[:], head), *x
	}
}
