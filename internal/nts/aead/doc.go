// Package aead holds the authenticated ciphers of NTS: AES-SIV-CMAC-256/384/512 (RFC 5297) with lists of
// associated data, and AES-128-GCM-SIV (RFC 8452).
//
// A [Cipher] seals and opens without allocating, so that a server can run one per worker. On amd64 with AES-NI
// the key schedules, the block cipher and POLYVAL are assembly; elsewhere they come from crypto/aes and from
// constant-time integer arithmetic.
//
// The package owns no keys, draws no random numbers and knows nothing of packets.
package aead
