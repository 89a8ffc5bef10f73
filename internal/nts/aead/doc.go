// Package aead holds the authenticated ciphers of NTS: AES-SIV-CMAC-256/384/512 (RFC 5297) with lists of
// associated data, and AES-128-GCM-SIV (RFC 8452).
//
// A [Cipher] seals and opens without allocating, so that a server can run one per worker. On amd64 and arm64 with AES
// instructions the key schedules, the block cipher with its modes and POLYVAL are assembly. Elsewhere AES is computed
// with Boolean operations (bitslice.go), a microsecond a block where the assembly takes 10 ns, and POLYVAL with integer
// multiplications. crypto/aes is not used: it allocates every key and, without AES instructions, looks key bytes up in
// tables.
//
// All of it is in constant time: which instructions run and which addresses they touch depends on lengths, on associated
// data and on whether tags, or a plaintext and the one before (Remember), are equal; not on keys, plaintexts or tags.
//
// The package owns no keys, draws no random numbers and knows nothing of packets.
package aead
