//go:build !(amd64 || arm64) || purego

package aead

// hardware: there is no assembly for this platform.
const hardware = false

const noAssembly = "aead: assembly called on a platform without it"

func expandKey(rounds int, key, schedule *byte)                        { panic(noAssembly) }
func encryptBlocks(rounds int, schedule, x *byte, n int)               { panic(noAssembly) }
func chainBlocks(rounds int, schedule, x, src *byte, n int)            { panic(noAssembly) }
func chainTwo(rounds int, schedule, x, a, b *byte, n int)              { panic(noAssembly) }
func stream64(rounds int, schedule *byte, hi, lo uint64, stream *byte) { panic(noAssembly) }
func stream32(rounds int, schedule *byte, hi, lo uint64, stream *byte) { panic(noAssembly) }
func polyvalBlocks(acc, h, src *byte, n int)                           { panic(noAssembly) }
