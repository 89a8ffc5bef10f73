//go:build arm64 && !purego

package aead

import "golang.org/x/sys/cpu"

// hardware says that the assembly of this package may run. Some processors of this architecture have no AES
// instructions, those of the Raspberry Pi up to the fourth among them.
var hardware = cpu.ARM64.HasAES && cpu.ARM64.HasPMULL
