package pki

import (
	"crypto"
	"crypto/ecdsa"
	"io"
)

// signer is an ECDSA key that signs as RFC 6979 has it: the secret number of a signature comes of the key and of what is signed, not of random
// numbers. So it needs no good ones, and a fifth less processor time than crypto/ecdsa, which mixes both with SHA-512: a fortieth of a key exchange
// (docs/rules/key-exchange.md#cost). In a handshake nothing is signed twice, since the server's own random number is in it.
type signer struct{ key *ecdsa.PrivateKey }

// Public returns the *ecdsa.PublicKey.
func (s signer) Public() crypto.PublicKey { return s.key.Public() }

// Sign signs; no random numbers are read.
func (s signer) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return s.key.Sign(nil, digest, opts)
}

// signing is the key as it is used in handshakes.
func signing(key crypto.PrivateKey) crypto.PrivateKey {
	if k, ok := key.(*ecdsa.PrivateKey); ok {
		return signer{k}
	}
	return key
}
