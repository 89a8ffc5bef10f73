package aead

import (
	"encoding/binary"
	"errors"
	"slices"
)

// Errors of this package. ErrOpen carries no reason on purpose: a caller must not tell one forgery from another.
var (
	ErrOpen      = errors.New("message authentication failed")
	ErrAlgorithm = errors.New("AEAD algorithm not supported")
	ErrKeySize   = errors.New("wrong key size for AEAD algorithm")
)

// streamBlocks is how many blocks of key stream are made at a time, streamSize their bytes: eight fill the AES pipeline
// of any processor, a cookie of AEAD 15 needs five and a reply with one seven.
const (
	streamBlocks = 8
	streamSize   = streamBlocks * blockSize
)

// Cipher seals and opens with one key. It holds its scratch space, so it is not safe for concurrent use.
type Cipher struct {
	algorithm Algorithm
	portable  bool // no assembly; for tests
	siv       siv
	gcm       gcmsiv
	ctr       block // key stream
	tag       [Overhead]byte
	stream    [streamSize]byte
}

// Rekey changes algorithm and key of c in place, with the errors of New. After an error c keeps what it had; else nothing
// is left of the key before and of its messages. It does not allocate on CPUs that the assembly knows.
func (c *Cipher) Rekey(a Algorithm, key []byte) error {
	if !a.Supported() {
		return ErrAlgorithm
	}
	if n, _ := a.KeySize(); len(key) != n {
		return ErrKeySize
	}
	c.Forget()
	if a != c.algorithm { // the new schedules do not cover the old ones
		c.forgetKey()
	}
	c.algorithm = a
	if a == GCMSIV128 {
		c.rekeyGCM(key)
		return nil
	}
	half := len(key) / 2
	c.siv.rekey(key[:half], c.portable)
	c.ctr.expand(key[half:], c.portable)
	return nil
}

// Algorithm returns the algorithm c was keyed for.
func (c *Cipher) Algorithm() Algorithm { return c.algorithm }

// String hides the key from formatters that would print the fields.
func (c *Cipher) String() string { return c.algorithm.String() }

// GoString hides the key from %#v.
func (c *Cipher) GoString() string { return c.algorithm.String() }

// Seal appends the sealed plaintext, Overhead bytes longer, to dst and returns the longer slice.
//
// SIV-CMAC authenticates the components ad..., nonce, plaintext in that order and puts the tag first; the nonce
// may have any length, and an empty one is left out. GCM-SIV takes a nonce of 12 bytes and at most one ad and
// puts the tag last. Any other call is a bug and panics.
//
// The plaintext may lie anywhere in the bytes that Seal writes; nonce and ad must not overlap them.
func (c *Cipher) Seal(dst, nonce, plaintext []byte, ad ...[]byte) []byte {
	at := len(dst)
	dst = slices.Grow(dst, len(plaintext)+Overhead)[:at+len(plaintext)+Overhead]
	if c.algorithm == GCMSIV128 {
		if len(nonce) != gcmNonce {
			panic("aead: GCM-SIV nonce is not 12 bytes")
		}
		c.sealGCM(dst[at:], nonce, plaintext, only(ad))
		return dst
	}
	c.sealSIV(dst[at:], nonce, plaintext, ad)
	return dst
}

// Open appends the plaintext of what Seal made to dst and returns the longer slice. It fails with ErrOpen if the
// ciphertext is shorter than Overhead, was sealed under another key or is not what was sealed, or if the nonce
// has a length that the algorithm does not take; the bytes behind dst are then zero as far as Open wrote.
//
// The ciphertext may lie anywhere in the bytes that Open writes; nonce and ad must not overlap them.
func (c *Cipher) Open(dst, nonce, ciphertext []byte, ad ...[]byte) ([]byte, error) {
	n := len(ciphertext) - Overhead
	if n < 0 || c.algorithm == GCMSIV128 && len(nonce) != gcmNonce {
		return nil, ErrOpen
	}
	at := len(dst)
	dst = slices.Grow(dst, n)[:at+n]
	var authentic bool
	if c.algorithm == GCMSIV128 {
		authentic = c.openGCM(dst[at:], nonce, ciphertext, only(ad))
	} else {
		authentic = c.openSIV(dst[at:], nonce, ciphertext, ad)
	}
	if !authentic {
		clear(dst[at:])
		return nil, ErrOpen
	}
	return dst, nil
}

// only returns the one associated data of GCM-SIV; none is the same as an empty one.
func only(ad [][]byte) []byte {
	switch len(ad) {
	case 0:
		return nil
	case 1:
		return ad[0]
	}
	panic("aead: GCM-SIV has one associated data")
}

// equal compares two tags in constant time: what it branches on is the outcome alone.
func equal(a, b *[Overhead]byte) bool {
	x := binary.LittleEndian.Uint64(a[:8]) ^ binary.LittleEndian.Uint64(b[:8])
	y := binary.LittleEndian.Uint64(a[8:]) ^ binary.LittleEndian.Uint64(b[8:])
	return x|y == 0
}
