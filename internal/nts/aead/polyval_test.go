package aead

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"
)

// reference is POLYVAL as RFC 8452 §3 defines it, bit by bit.
func reference(h, acc [blockSize]byte, data []byte) [blockSize]byte {
	for ; len(data) > 0; data = data[blockSize:] {
		for i := range acc {
			acc[i] ^= data[i]
		}
		acc = product(acc, h)
	}
	return acc
}

// product is a·b·x^-128 in the field of POLYVAL: after each bit of a, from the lowest, the sum is divided by x, for
// which the polynomial x^128 + x^127 + x^126 + x^121 + 1 is added if it is odd.
func product(a, b [blockSize]byte) (z [blockSize]byte) {
	for i := range 128 {
		if a[i/8]>>(i%8)&1 > 0 {
			for k := range z {
				z[k] ^= b[k]
			}
		}
		odd := z[0]&1 > 0
		for k := range z {
			z[k] >>= 1
			if k < blockSize-1 {
				z[k] |= z[k+1] << 7
			}
		}
		if odd { // 1 is gone; x^127, x^126, x^125 and x^120 are what is left of the polynomial over x
			z[15] ^= 0x80 | 0x40 | 0x20 | 0x01
		}
	}
	return z
}

func drawBlock(t *rapid.T, name string) [blockSize]byte {
	return [blockSize]byte(rapid.SliceOfN(rapid.Byte(), blockSize, blockSize).Draw(t, name))
}

// TestPolyval_Reference compares both paths with the definition, for random keys, values and numbers of blocks.
func TestPolyval_Reference(t *testing.T) {
	paths(t, func(t *testing.T, portable bool) {
		rapid.Check(t, func(t *rapid.T) {
			p := polyval{portable: portable, h: drawBlock(t, "h"), acc: drawBlock(t, "value")}
			n := rapid.IntRange(0, 20).Draw(t, "blocks") * blockSize
			data := rapid.SliceOfN(rapid.Byte(), n, n).Draw(t, "data")
			want := reference(p.h, p.acc, data)
			if p.blocks(data); p.acc != want {
				t.Fatalf("%x, want %x", p.acc, want)
			}
		})
	})
}

// TestPolyval_Field: the laws of a field, which no bit of an operand may escape.
func TestPolyval_Field(t *testing.T) {
	one := [blockSize]byte{0: 1, 15: 0xc2} // x^128
	paths(t, func(t *testing.T, portable bool) {
		times := func(a, b [blockSize]byte) [blockSize]byte {
			p := polyval{portable: portable, h: b}
			p.blocks(a[:])
			return p.acc
		}
		plus := func(a, b [blockSize]byte) [blockSize]byte {
			for i := range a {
				a[i] ^= b[i]
			}
			return a
		}
		rapid.Check(t, func(t *rapid.T) {
			a, b, c := drawBlock(t, "a"), drawBlock(t, "b"), drawBlock(t, "c")
			if times(a, b) != times(b, a) || times(a, one) != a || times(one, a) != a {
				t.Fatalf("%x, %x: order or one", a, b)
			}
			if times(times(a, b), c) != times(a, times(b, c)) || times(a, plus(b, c)) != plus(times(a, b), times(a, c)) {
				t.Fatalf("%x, %x, %x: brackets", a, b, c)
			}
		})
	})
}

// TestPolyval_Pieces: it does not matter in which pieces whole blocks come.
func TestPolyval_Pieces(t *testing.T) {
	paths(t, func(t *testing.T, portable bool) {
		data := pattern(20*blockSize+5, 1)
		whole := polyval{portable: portable, h: [blockSize]byte(pattern(16, 2))}
		whole.write(data)
		for at := 0; at < len(data); at += blockSize {
			p := polyval{portable: portable, h: whole.h}
			p.write(data[:at])
			p.write(data[at:])
			if !bytes.Equal(p.acc[:], whole.acc[:]) {
				t.Errorf("cut at %d: %x, want %x", at, p.acc, whole.acc)
			}
		}
	})
}
