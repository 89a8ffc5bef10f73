package aead

import "errors"

// Errors of this package. ErrOpen carries no reason on purpose: a caller must not tell one forgery from another.
var (
	ErrOpen      = errors.New("message authentication failed")
	ErrAlgorithm = errors.New("AEAD algorithm not supported")
	ErrKeySize   = errors.New("wrong key size for AEAD algorithm")
)

// Cipher seals and opens with one key. It holds its scratch space, so it is not safe for concurrent use.
type Cipher struct {
	algorithm Algorithm
}

// New returns a Cipher for a key of exactly a.KeySize bytes. The key is copied.
func New(a Algorithm, key []byte) (*Cipher, error) {
	c := new(Cipher)
	if err := c.Rekey(a, key); err != nil {
		return nil, err
	}
	return c, nil
}

// Rekey changes algorithm and key of c in place. After an error c keeps what it had.
func (c *Cipher) Rekey(a Algorithm, key []byte) error {
	if !a.Supported() {
		return ErrAlgorithm
	}
	if n, _ := a.KeySize(); len(key) != n {
		return ErrKeySize
	}
	c.algorithm = a
	return nil
}

// Algorithm returns the algorithm c was keyed for.
func (c *Cipher) Algorithm() Algorithm { return c.algorithm }

// Seal appends the sealed plaintext to dst.
func (c *Cipher) Seal(dst, nonce, plaintext []byte, ad ...[]byte) []byte { return dst }

// Open appends the opened ciphertext to dst.
func (c *Cipher) Open(dst, nonce, ciphertext []byte, ad ...[]byte) ([]byte, error) {
	return dst, ErrOpen
}
