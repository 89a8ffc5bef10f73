package nts

import "io"

// Sealer seals and opens cookies and packets. Every goroutine has its own.
type Sealer struct{}

// NewSealer returns a Sealer.
func NewSealer() *Sealer { return new(Sealer) }

// Seal appends one cookie that holds k, sealed with the current key of ks.
func (s *Sealer) Seal(dst []byte, ks *KeySet, k *Keys, rnd io.Reader) []byte { return dst }

// Open opens a cookie into the keys it holds; false if no key of ks opens it.
func (s *Sealer) Open(ks *KeySet, cookie []byte, into *Keys) bool { return false }
