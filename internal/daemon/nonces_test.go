package daemon

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"

	beevik "github.com/beevik/ntp"

	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/server"
)

// seeds counts the seeds that are drawn, each another one.
type seeds struct{ n byte }

func (s *seeds) Read(p []byte) (int, error) {
	s.n++
	clear(p)
	p[0] = s.n
	return len(p), nil
}

func TestNonces_SeedsInTime(t *testing.T) {
	s := new(seeds)
	n := newNonces(s)
	seen := map[[16]byte]bool{}
	for i := range 3 * noncesPerSeed / 16 {
		var nonce [16]byte
		if _, err := io.ReadFull(n, nonce[:]); err != nil {
			t.Fatal(err)
		}
		if seen[nonce] {
			t.Fatalf("nonce %d is a repetition", i)
		}
		seen[nonce] = true
		if want := i*16/noncesPerSeed + 1; int(s.n) != want {
			t.Fatalf("nonce %d: %d seeds, want %d", i, s.n, want)
		}
	}
	long := make([]byte, 2*noncesPerSeed)
	if got, err := n.Read(long); got != len(long) || err != nil || s.n != 4 {
		t.Errorf("%d bytes, %v, %d seeds", got, err, s.n)
	}
}

// Two workers, and two runs of the program, have nothing in common.
func TestNonces_OtherSeedOtherNonces(t *testing.T) {
	a, b := make([]byte, 64), make([]byte, 64)
	s := new(seeds)
	_, _ = newNonces(s).Read(a)
	_, _ = newNonces(s).Read(b)
	if bytes.Equal(a[:16], b[:16]) || bytes.Equal(a, make([]byte, 64)) {
		t.Errorf("%x\n%x", a, b)
	}
}

func TestNonces_NoSeed(t *testing.T) {
	n := newNonces(iotest{})
	nonce := make([]byte, 16)
	if got, err := n.Read(nonce); got != 0 || !errors.Is(err, io.ErrUnexpectedEOF) || !bytes.Equal(nonce, make([]byte, 16)) {
		t.Errorf("%d bytes %x, %v", got, nonce, err)
	}
}

// iotest has a seed of one byte.
type iotest struct{}

func (iotest) Read(p []byte) (int, error) { p[0] = 1; return 1, io.EOF }

func TestNonces_DoNotAllocateAndPrintNothing(t *testing.T) {
	n := newNonces(new(seeds))
	nonces := make([]byte, noncesPerSeed/2+16) // a new seed each time
	if a := testing.AllocsPerRun(20, func() { _, _ = n.Read(nonces) }); a != 0 {
		t.Errorf("%v allocations", a)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%x"} {
		if s := fmt.Sprintf(verb, n); s != "[secret]" {
			t.Errorf("%s: %s", verb, s)
		}
	}
}

// TestNonces_SeedPerSecond: what a snapshot of the machine has in it is used up when the clock shows another second.
func TestNonces_SeedPerSecond(t *testing.T) {
	s := new(seeds)
	n := newNonces(s)
	nonce := make([]byte, 16)
	for i, tt := range []struct {
		at    ntp.Timestamp
		seeds byte
	}{
		{7 << 32, 1}, {7<<32 | 1<<31, 1}, {8<<32 - 1, 1}, {8 << 32, 2}, {8<<32 | 5, 2}, {3 << 32, 3}, {1 << 32, 4},
	} {
		n.at(tt.at)
		if _, err := n.Read(nonce); err != nil || s.n != tt.seeds {
			t.Errorf("row %d: %d seeds, want %d, %v", i, s.n, tt.seeds, err)
		}
	}
	n.at(9 << 32) // a second without a nonce costs no seed
	n.at(10 << 32)
	if s.n != 4 {
		t.Errorf("%d seeds", s.n)
	}
}

// TestWorker_TellsNoncesTheTime: by the time at which a batch came.
func TestWorker_TellsNoncesTheTime(t *testing.T) {
	n := newNonces(new(seeds))
	s := serve(t, server.Config{Rand: n}, func(w *worker) { w.nonces = n })
	before := hostClock()
	if _, err := query(s.address, beevik.QueryOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := s.end(); err != nil {
		t.Fatal(err)
	}
	if first, last := uint32(before>>32), uint32(hostClock()>>32); n.second < first || n.second > last {
		t.Errorf("second %d, asked in %d to %d", n.second, first, last)
	}
}
