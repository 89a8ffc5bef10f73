package server

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/nts/aead"
)

// mutatedRequests is how many are tried, in some 5 s; `make mutate MUTATE=1e9` tries more. The race detector makes
// each cost ten times as much and would find nothing in one goroutine.
const mutatedRequests = 10_000_000

// TestS06_MutatedRequests feeds random and mutated requests of every shape: no reply is longer than its request, none
// gives time that was not asked for, nothing panics.
func TestS06_MutatedRequests(t *testing.T) {
	n, seed := mutatedRequests, uint64(6)
	if testing.Short() || raceDetector {
		n /= 40
	}
	if s := os.Getenv("NTP_MUTATE"); s != "" {
		f, err := strconv.ParseFloat(s, 64)
		if err != nil {
			t.Fatal(err)
		}
		n = int(f)
	}
	clients := []*ntsClient{newNTSClient(t, aead.SIVCMAC256), newNTSClient(t, aead.SIVCMAC512), newNTSClient(t, aead.GCMSIV128)}
	type shape struct {
		c    *ntsClient
		b    *bench
		seed []byte
	}
	var shapes []shape
	for _, c := range clients {
		for _, keys := range []bool{true, false} {
			b := c.bench(Config{Versions: VersionSet(1, 2, 3, 4)})
			if !keys {
				b.keys = nil
			}
			for _, p := range fuzzRows(c) {
				shapes = append(shapes, shape{c, b, p})
			}
		}
	}
	r := rand.New(rand.NewPCG(seed, 0))
	var replies [verdicts]int
	buf, p, i := make([]byte, 0, 4096), []byte(nil), 0
	defer func() {
		if t.Failed() {
			t.Logf("request %d of seed %d: %x", i, seed, p)
		}
	}()
	for ; i < n; i++ {
		s := shapes[r.IntN(len(shapes))]
		p = scramble(r, append(buf[:0], s.seed...))
		reply, v := s.b.ask(p)
		replies[v]++
		oracle(t, s.c, p, reply, v)
	}
	for _, v := range []Verdict{Answered, AnsweredNTS, AnsweredNAK} {
		if replies[v] == 0 {
			t.Errorf("no request ended as %v: the mutations are too wild", v)
		}
	}
	t.Logf("%d requests: %d plain answers, %d with NTS, %d NAKs", n, replies[Answered], replies[AnsweredNTS], replies[AnsweredNAK])
}

// scramble changes p in a few random ways, or replaces it.
func scramble(r *rand.Rand, p []byte) []byte {
	if r.IntN(16) == 0 {
		p = p[:0]
		for range r.IntN(300) {
			p = append(p, byte(r.Uint32()))
		}
	}
	for range r.IntN(4) {
		if len(p) == 0 {
			return p
		}
		at := r.IntN(len(p))
		switch r.IntN(8) {
		case 0:
			p[at] = byte(r.Uint32())
		case 1:
			p[at] ^= 1 << r.IntN(8)
		case 2:
			p = p[:at]
		case 3: // lengths of extension fields
			if at = ntp.HeaderLen + r.IntN(len(p))&^3 + 2; at+1 < len(p) {
				p[at], p[at+1] = byte(r.IntN(3)), byte(r.Uint32())
			}
		case 4: // a part once more
			p = append(p, p[at:min(len(p), at+r.IntN(64))]...)
		case 5:
			p = append(p, make([]byte, r.IntN(32)*4)...)
		case 6: // without a part
			p = append(p[:at], p[min(len(p), at+r.IntN(40)):]...)
		case 7:
			p[0] = byte(r.Uint32())
		}
	}
	return p[:min(len(p), ntp.MaxPacket)]
}
