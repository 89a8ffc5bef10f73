package aead

import (
	"bytes"
	"crypto/aes"
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
)

// sbox is FIPS 197 §5.1.1 as it is written there: the inverse in GF(2^8), found by trying, and the affine map.
func sbox(a byte) byte {
	inverse := byte(0)
	for b := 1; b < 256 && a != 0; b++ {
		if gf256(a, byte(b)) == 1 {
			inverse = byte(b)
		}
	}
	r := inverse
	for k := 1; k < 5; k++ {
		r ^= bits.RotateLeft8(inverse, k)
	}
	return r ^ 0x63
}

func gf256(a, b byte) (r byte) {
	for ; b > 0; b >>= 1 {
		if b&1 > 0 {
			r ^= a
		}
		if a>>7 > 0 {
			a = a<<1 ^ 0x1b
		} else {
			a <<= 1
		}
	}
	return r
}

// TestSubstitute_EveryByteAtEveryPlace compares all of the S-box, at each of the 64 places of a state.
func TestSubstitute_EveryByteAtEveryPlace(t *testing.T) {
	var box [256]byte
	for a := range box {
		box[a] = sbox(byte(a))
	}
	for first := range 256 {
		var in, out [8]uint64
		var p planes
		for i := range 64 {
			in[i/8] |= uint64(byte(first+i)) << (8 * (i % 8))
			out[i/8] |= uint64(box[byte(first+i)]) << (8 * (i % 8))
		}
		for i := range in {
			p.load(i, in[i])
		}
		for i := range in {
			if p.store(i) != in[i] {
				t.Fatalf("%x is not %x any more", p.store(i), in[i])
			}
		}
		p.substitute()
		for i := range in {
			if p.store(i) != out[i] {
				t.Fatalf("S-box of %016x is %016x, want %016x", in[i], p.store(i), out[i])
			}
		}
	}
}

// TestBlocks_AnyKeyAndCount compares both paths with crypto/aes, for random keys, texts and numbers of blocks.
func TestBlocks_AnyKeyAndCount(t *testing.T) {
	paths(t, func(t *testing.T, portable bool) {
		rapid.Check(t, func(t *rapid.T) {
			size := rapid.SampledFrom([]int{16, 24, 32}).Draw(t, "size")
			key := rapid.SliceOfN(rapid.Byte(), size, size).Draw(t, "key")
			n := rapid.IntRange(0, 20).Draw(t, "blocks") * blockSize
			text := rapid.SliceOfN(rapid.Byte(), n, n).Draw(t, "text")
			std, err := aes.NewCipher(key)
			if err != nil {
				t.Fatal(err)
			}
			var b block
			b.expand(key, portable)

			got, want := bytes.Clone(text), bytes.Clone(text)
			b.encryptAll(got)
			for i := 0; i < n; i += blockSize {
				std.Encrypt(want[i:], want[i:])
			}
			if !bytes.Equal(got, want) {
				t.Fatalf("encrypted\n got %x\nwant %x", got, want)
			}

			chain := func(p []byte) (x [blockSize]byte) {
				for ; len(p) > 0; p = p[blockSize:] {
					for i := range x {
						x[i] ^= p[i]
					}
					std.Encrypt(x[:], x[:])
				}
				return x
			}
			var x [blockSize]byte
			if b.chain(&x, text); x != chain(text) {
				t.Fatalf("chain %x, want %x", x, chain(text))
			}
			var two [2 * blockSize]byte
			p, q := text[:n/2&^15], text[n/2&^15:]
			b.chainTwo(&two, p, q)
			if a, c := chain(p), chain(q[:len(p)]); !bytes.Equal(two[:], append(a[:], c[:]...)) {
				t.Fatalf("two chains %x, want %x %x", two, a, c)
			}
		})
	})
}

// TestStream_AnyCounter compares the key stream with a counter counted here, around the places where it wraps, too.
func TestStream_AnyCounter(t *testing.T) {
	r := rand.New(rand.NewChaCha8([32]byte{7}))
	paths(t, func(t *testing.T, portable bool) {
		for _, size := range []int{16, 24, 32} {
			key := pattern(size, 9)
			std, _ := aes.NewCipher(key)
			var b block
			b.expand(key, portable)
			for round := range 200 {
				hi, lo := r.Uint64(), r.Uint64()&^(1<<63)
				if round%2 == 0 {
					lo |= 0xfffffff8 // carries within the eight blocks
				}
				var big, little, want [streamSize]byte
				b.stream(&big, big64, hi, lo)
				b.stream(&little, little32, hi, lo)
				for i := range streamBlocks {
					at := want[i*blockSize:][:blockSize]
					binary.BigEndian.PutUint64(at, hi)
					binary.BigEndian.PutUint64(at[8:], lo+uint64(i))
					std.Encrypt(at, at)
				}
				if big != want {
					t.Fatalf("big-endian from %x %x\n got %x\nwant %x", hi, lo, big, want)
				}
				for i := range streamBlocks {
					at := want[i*blockSize:][:blockSize]
					binary.LittleEndian.PutUint32(at, uint32(lo)+uint32(i))
					binary.LittleEndian.PutUint32(at[4:], uint32(lo>>32))
					binary.LittleEndian.PutUint64(at[8:], hi)
					std.Encrypt(at, at)
				}
				if little != want {
					t.Fatalf("little-endian from %x %x\n got %x\nwant %x", hi, lo, little, want)
				}
			}
		}
	})
}
