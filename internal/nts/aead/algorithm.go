package aead

import "strconv"

// Algorithm is an AEAD identifier of the IANA registry, as NTS-KE negotiates it (RFC 8915 §5.1).
type Algorithm uint16

// The algorithms that NTS peers in the field offer. GCMSIV256 is known by its key size only.
const (
	SIVCMAC256 Algorithm = 15 // AEAD_AES_SIV_CMAC_256, mandatory for servers
	SIVCMAC384 Algorithm = 16 // AEAD_AES_SIV_CMAC_384
	SIVCMAC512 Algorithm = 17 // AEAD_AES_SIV_CMAC_512
	GCMSIV128  Algorithm = 30 // AEAD_AES_128_GCM_SIV
	GCMSIV256  Algorithm = 31 // AEAD_AES_256_GCM_SIV, not built
)

const (
	// Overhead is how many bytes sealing adds: the tag, the same for every algorithm here.
	Overhead = 16
	// MaxKeySize is the longest key of any known algorithm in bytes.
	MaxKeySize = 64
	// sivNonce and gcmNonce are the nonce lengths that we send (RFC 8915 §5.7, N_MAX of the algorithm or 16).
	sivNonce, gcmNonce = 16, 12
)

// KeySize returns the length in bytes of one key (C2S or S2C). It is the only table that TLS exporter lengths
// may come from: crypto/tls panics for a length that a stranger chose (docs/rules/key-exchange.md#key-lengths).
func (a Algorithm) KeySize() (n int, known bool) {
	switch a {
	case SIVCMAC256:
		return 32, true
	case SIVCMAC384:
		return 48, true
	case SIVCMAC512:
		return 64, true
	case GCMSIV128:
		return 16, true
	case GCMSIV256:
		return 32, true
	}
	return 0, false
}

// Supported reports whether New works for a.
func (a Algorithm) Supported() bool {
	switch a {
	case SIVCMAC256, SIVCMAC384, SIVCMAC512, GCMSIV128:
		return true
	}
	return false
}

// NonceSize returns the length in bytes of the nonces we send: 16 for SIV-CMAC, 12 for GCM-SIV, 0 if unknown.
func (a Algorithm) NonceSize() int {
	switch a {
	case SIVCMAC256, SIVCMAC384, SIVCMAC512:
		return sivNonce
	case GCMSIV128, GCMSIV256:
		return gcmNonce
	}
	return 0
}

// String returns the IANA name without its AEAD_ prefix, or the number.
func (a Algorithm) String() string {
	switch a {
	case SIVCMAC256:
		return "AES-SIV-CMAC-256"
	case SIVCMAC384:
		return "AES-SIV-CMAC-384"
	case SIVCMAC512:
		return "AES-SIV-CMAC-512"
	case GCMSIV128:
		return "AES-128-GCM-SIV"
	case GCMSIV256:
		return "AES-256-GCM-SIV"
	}
	return "AEAD " + strconv.Itoa(int(a))
}
