//go:build amd64 && !purego

package aead

import "golang.org/x/sys/cpu"

// hardware says that the assembly of this package may run.
var hardware = cpu.X86.HasAES && cpu.X86.HasPCLMULQDQ && cpu.X86.HasSSSE3
