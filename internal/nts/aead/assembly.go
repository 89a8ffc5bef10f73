//go:build (amd64 || arm64) && !purego

package aead

// expandKey writes the rounds+1 round keys of the AES key to schedule: 16 bytes for 10 rounds, 24 for 12, 32 for 14.
//
//go:noescape
func expandKey(rounds int, key, schedule *byte)

// encryptBlocks encrypts n blocks at x in place.
//
//go:noescape
func encryptBlocks(rounds int, schedule, x *byte, n int)

// chainBlocks is x = E(x ^ p) for n blocks p at src, n > 0.
//
//go:noescape
func chainBlocks(rounds int, schedule, x, src *byte, n int)

// chainTwo is chainBlocks for two chains under one key, side by side: that of n blocks at a, whose value is at x, and
// that of n blocks at b, whose value is behind it.
//
//go:noescape
func chainTwo(rounds int, schedule, x, a, b *byte, n int)

// stream64 writes eight blocks of key stream: E of the 128-bit big-endian number hi·2^64 + lo + i, where lo does not
// carry into hi.
//
//go:noescape
func stream64(rounds int, schedule *byte, hi, lo uint64, stream *byte)

// stream32 writes eight blocks of key stream: E of the little-endian number hi·2^64 + lo, whose lowest 32 bits count
// and wrap by themselves.
//
//go:noescape
func stream32(rounds int, schedule *byte, hi, lo uint64, stream *byte)

// polyvalBlocks is acc = (acc ^ p)·h·x^-128 in the field of POLYVAL for n blocks p at src, n > 0.
//
//go:noescape
func polyvalBlocks(acc, h, src *byte, n int)
