//go:build amd64 && !purego

package aead

import "golang.org/x/sys/cpu"

// hardware says that the assembly of this package may run.
var hardware = cpu.X86.HasAES && cpu.X86.HasPCLMULQDQ

// expandKey writes the rounds+1 round keys of the AES key (16 bytes for 10 rounds, 32 for 14) to schedule.
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

// polyvalBlocks is acc = (acc ^ p)·h·x^-128 in the field of POLYVAL for n blocks p at src, n > 0.
//
//go:noescape
func polyvalBlocks(acc, h, src *byte, n int)
