//go:build !amd64 || purego

package aead

// hardware: there is no assembly for this platform. crypto/aes still uses the AES instructions of arm64, ppc64
// and s390x; what is lost is only the key change without allocation.
const hardware = false

const noAssembly = "aead: assembly called on a platform without it"

func expandKey(rounds int, key, schedule *byte)             { panic(noAssembly) }
func encryptBlocks(rounds int, schedule, x *byte, n int)    { panic(noAssembly) }
func chainBlocks(rounds int, schedule, x, src *byte, n int) { panic(noAssembly) }
func polyvalBlocks(acc, h, src *byte, n int)                { panic(noAssembly) }
