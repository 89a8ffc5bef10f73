package nts

import (
	"errors"
	"fmt"

	"ntp-daemon/internal/nts/aead"
	"ntp-daemon/internal/secret"
)

// Errors of this package that callers match.
var (
	// ErrNoCookies: the jar is empty, a key exchange is due.
	ErrNoCookies = errors.New("no NTS cookies left")
	// ErrKeys: algorithm not supported, or a key whose size does not fit it.
	ErrKeys = errors.New("unusable NTS keys")
	// ErrUniqueID: a unique identifier shorter than 32 bytes.
	ErrUniqueID = errors.New("NTS unique identifier shorter than 32 bytes")
	// ErrKeyFile: a cookie key file that is damaged; wrapped with what is wrong with it.
	ErrKeyFile = errors.New("unusable cookie key file")
	// ErrKeyFileAhead is the ErrKeyFile that may be the clock's fault: whole, and dated in the future.
	ErrKeyFileAhead = fmt.Errorf("%w: dated in the future", ErrKeyFile)
)

// hidden stands for types full of key material wherever text is made of them.
const hidden = "[secret]"

// Keys is one association's key pair, as the TLS exporter gave it.
type Keys struct {
	Algorithm aead.Algorithm
	C2S, S2C  secret.Bytes // client to server, server to client; each Algorithm.KeySize bytes
}

// Valid reports whether the algorithm is one we can run and both keys have its size (row N22).
func (k *Keys) Valid() bool {
	n, known := k.Algorithm.KeySize()
	return known && k.Algorithm.Supported() && len(k.C2S) == n && len(k.S2C) == n
}

// Wipe overwrites both keys.
func (k *Keys) Wipe() {
	k.C2S.Wipe()
	k.S2C.Wipe()
}

// clone returns a copy that shares no memory with k.
func (k *Keys) clone() Keys {
	return Keys{
		Algorithm: k.Algorithm,
		C2S:       append(secret.Bytes(nil), k.C2S...),
		S2C:       append(secret.Bytes(nil), k.S2C...),
	}
}
