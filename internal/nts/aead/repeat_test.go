package aead

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// TestRemember_ChangesNothing: in any order of keys, texts and associated data, among them such as differ in one byte.
func TestRemember_ChangesNothing(t *testing.T) {
	texts := [][]byte{nil, pattern(15, 1), pattern(16, 1), pattern(31, 1), pattern(32, 1), pattern(68, 1), pattern(132, 1), pattern(145, 1), pattern(400, 1)}
	for _, text := range texts {
		for _, at := range []int{0, 15, 16, 47, 100} {
			if at < len(text) {
				other := bytes.Clone(text)
				other[at] ^= 1
				texts = append(texts, other)
			}
		}
	}
	ads := [][]byte{nil, pattern(4, 1), pattern(4, 2), pattern(15, 1), pattern(16, 1), pattern(84, 1)}
	paths(t, func(t *testing.T, portable bool) {
		r := rand.New(rand.NewChaCha8([32]byte{5}))
		for _, a := range supported {
			key := testKey(a)
			with, without := newCipher(t, a, key, portable), newCipher(t, a, key, portable)
			with.Remember()
			for step := range 600 {
				if r.IntN(25) == 0 {
					key[r.IntN(len(key))]++
					if with.Rekey(a, key) != nil || without.Rekey(a, key) != nil {
						t.Fatal("key")
					}
				}
				nonce, text, ad := pattern(a.NonceSize(), byte(step)), texts[r.IntN(len(texts))], ads[r.IntN(len(ads))]
				if r.IntN(2) == 0 {
					ad, text = ads[1], texts[5] // as a server does
				}
				want := without.Seal(nil, nonce, text, ad)
				if got := with.Seal(nil, nonce, text, ad); !bytes.Equal(got, want) {
					t.Fatalf("%v step %d: text of %d, ad of %d: %x, want %x", a, step, len(text), len(ad), got, want)
				}
				if got, err := with.Open(nil, nonce, want, ad); err != nil || !bytes.Equal(got, text) {
					t.Fatalf("%v step %d: does not open", a, step)
				}
				if _, err := with.Open(nil, nonce, flip(want, r.IntN(8*len(want))), ad); err == nil {
					t.Fatalf("%v step %d: a forgery opens", a, step)
				}
			}
		}
	})
}
