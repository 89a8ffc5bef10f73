package daemon

import (
	"fmt"
	"io"
	"math/rand/v2"

	"ntp-daemon/internal/ntp"
)

// noncesPerSeed is how many bytes are drawn from one seed: a seed costs no more than two nonces of the kernel's, which is
// little among 4096, and what can be foretold from the memory of the process ends with it, or with the second (at).
const noncesPerSeed = 64 << 10

// nonces is a source of the nonces of one worker: ChaCha8, the generator of Go's own runtime, under seeds of 256 bits
// from the kernel. Nonces are public. They must not come twice and must not tell which cookies are of one client, which
// is what a stream cipher under a secret key gives; keys are drawn from the kernel itself. It costs a fifth of the
// kernel's generator. It is not safe for concurrent use.
type nonces struct {
	seeds     io.Reader
	generator *rand.ChaCha8
	left      int      // bytes until the next seed
	second    uint32   // of the clock, that the seed is for
	seed      [32]byte // zero but while one is drawn
}

// newNonces returns a source whose seeds come from seeds; the first is drawn with the first nonce.
func newNonces(seeds io.Reader) *nonces {
	return &nonces{seeds: seeds, generator: rand.NewChaCha8([32]byte{})}
}

// at tells that it is now. A seed is used in one second of the clock only: machines that were restored from one snapshot
// go on with the same generator, and their nonces, under the same keys, are the same no longer than that. How soon the
// kernel's own generator differs between them is up to the kernel (VM generation ID).
func (n *nonces) at(now ntp.Timestamp) {
	if n == nil {
		return
	}
	if second := uint32(now >> 32); second != n.second {
		n.second, n.left = second, 0
	}
}

// Read fills p. It fails only if no seed can be drawn, and then writes nothing.
func (n *nonces) Read(p []byte) (int, error) {
	if len(p) > n.left {
		if _, err := io.ReadFull(n.seeds, n.seed[:]); err != nil {
			return 0, fmt.Errorf("draw the seed of nonces: %w", err)
		}
		n.generator.Seed(n.seed)
		clear(n.seed[:])
		n.left = max(noncesPerSeed, len(p))
	}
	n.left -= len(p)
	return n.generator.Read(p)
}

// Format hides the state of the generator from every verb.
func (n *nonces) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "[secret]") }
