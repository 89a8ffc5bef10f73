package aead

import (
	"bytes"
	"crypto/aes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
)

var supported = []Algorithm{SIVCMAC256, SIVCMAC384, SIVCMAC512, GCMSIV128}

// pattern returns n bytes that depend on n and seed.
func pattern(n int, seed byte) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i)*7 + seed
	}
	return b
}

func testKey(a Algorithm) []byte {
	n, _ := a.KeySize()
	return pattern(n, byte(a))
}

func TestAlgorithm_Table(t *testing.T) {
	tests := []struct {
		a              Algorithm
		key            int
		known, support bool
		nonce          int
		name           string
	}{
		{SIVCMAC256, 32, true, true, 16, "AES-SIV-CMAC-256"},
		{SIVCMAC384, 48, true, true, 16, "AES-SIV-CMAC-384"},
		{SIVCMAC512, 64, true, true, 16, "AES-SIV-CMAC-512"},
		{GCMSIV128, 16, true, true, 12, "AES-128-GCM-SIV"},
		{GCMSIV256, 32, true, false, 12, "AES-256-GCM-SIV"},
		{0, 0, false, false, 0, "AEAD 0"},
		{65535, 0, false, false, 0, "AEAD 65535"},
	}
	for _, tt := range tests {
		n, known := tt.a.KeySize()
		if n != tt.key || known != tt.known || tt.a.Supported() != tt.support || tt.a.NonceSize() != tt.nonce || tt.a.String() != tt.name {
			t.Errorf("%d: key %d %v, supported %v, nonce %d, %q", tt.a, n, known, tt.a.Supported(), tt.a.NonceSize(), tt.a)
		}
		if n > MaxKeySize {
			t.Errorf("%v: key longer than MaxKeySize", tt.a)
		}
	}
}

func TestRekey_Refusals(t *testing.T) {
	if err := new(Cipher).Rekey(GCMSIV256, make([]byte, 32)); !errors.Is(err, ErrAlgorithm) {
		t.Errorf("GCMSIV256: %v", err)
	}
	if err := new(Cipher).Rekey(0, nil); !errors.Is(err, ErrAlgorithm) {
		t.Errorf("algorithm 0: %v", err)
	}
	for _, a := range supported {
		n, _ := a.KeySize()
		for _, size := range []int{0, n - 1, n + 1, 2 * n} {
			if err := new(Cipher).Rekey(a, make([]byte, size)); !errors.Is(err, ErrKeySize) {
				t.Errorf("%v with %d bytes: %v", a, size, err)
			}
		}
	}
}

func TestRekey_KeepsOldKeyAfterError(t *testing.T) {
	c := newCipher(t, SIVCMAC256, testKey(SIVCMAC256), false)
	before := c.Seal(nil, pattern(16, 1), []byte("text"))
	if c.Rekey(SIVCMAC512, make([]byte, 3)) == nil || c.Rekey(99, nil) == nil {
		t.Fatal("bad keys taken")
	}
	if !bytes.Equal(before, c.Seal(nil, pattern(16, 1), []byte("text"))) {
		t.Error("key changed")
	}
}

// TestPaths_Agree runs random messages through the assembly and the portable code.
func TestPaths_Agree(t *testing.T) {
	if !hardware {
		t.Skip("no assembly on this CPU")
	}
	r := rand.New(rand.NewChaCha8([32]byte{1}))
	random := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return b
	}
	for range 2000 {
		a := supported[r.IntN(len(supported))]
		n, _ := a.KeySize()
		key, nonce, ad, text := random(n), random(a.NonceSize()), [][]byte{random(r.IntN(300))}, random(r.IntN(300))
		if a != GCMSIV128 {
			nonce = random(r.IntN(40))
			for range r.IntN(4) {
				ad = append(ad, random(r.IntN(40)))
			}
			ad = ad[r.IntN(2):]
		}
		fast := newCipher(t, a, key, false).Seal(nil, nonce, text, ad...)
		slow := newCipher(t, a, key, true).Seal(nil, nonce, text, ad...)
		if !bytes.Equal(fast, slow) {
			t.Fatalf("%v key %x nonce %x ad %x text %x:\n%x\n%x", a, key, nonce, ad, text, fast, slow)
		}
	}
}

// TestBlock_SameAsStandardLibrary compares key schedules and blocks for counts around the width of the loops.
func TestBlock_SameAsStandardLibrary(t *testing.T) {
	paths(t, func(t *testing.T, portable bool) {
		for _, size := range []int{16, 24, 32} {
			for n := range 20 {
				key := pattern(size, byte(n))
				var b block
				b.expand(key, portable)
				got := pattern(n*blockSize, 3)
				want := bytes.Clone(got)
				b.encryptAll(got)
				std, _ := aes.NewCipher(key)
				for i := 0; i < len(want); i += blockSize {
					std.Encrypt(want[i:], want[i:])
				}
				if !bytes.Equal(got, want) {
					t.Fatalf("AES-%d, %d blocks: %x, want %x", size*8, n, got, want)
				}
			}
		}
	})
}

// TestSeal_AnyAlignment puts everything at odd addresses: vector instructions must not fault there.
func TestSeal_AnyAlignment(t *testing.T) {
	for _, a := range supported {
		c := newCipher(t, a, testKey(a), false)
		want := c.Seal(nil, pattern(a.NonceSize(), 1), pattern(100, 2), pattern(84, 3))
		for shift := range 17 {
			off := func(b []byte) []byte { return append(make([]byte, shift, shift+len(b)), b...)[shift:] }
			got := c.Seal(make([]byte, shift), off(pattern(a.NonceSize(), 1)), off(pattern(100, 2)), off(pattern(84, 3)))
			if !bytes.Equal(got[shift:], want) {
				t.Errorf("%v: shift %d changes the result", a, shift)
			}
		}
	}
}

// TestAliasing lays plaintext and ciphertext over the output in every way that is allowed.
func TestAliasing(t *testing.T) {
	const room = 48 // of slack on both sides of the output
	for _, a := range supported {
		for _, size := range []int{0, 1, 15, 16, 17, 31, 32, 33, 100, 300} {
			c := newCipher(t, a, testKey(a), false)
			nonce, ad, text := pattern(a.NonceSize(), 1), pattern(60, 2), pattern(size, 3)
			sealed := c.Seal(nil, nonce, text, ad)
			for at := 0; at <= 2*room; at++ {
				buf := make([]byte, size+3*room)
				in := buf[at : at+size]
				copy(in, text)
				if got := c.Seal(buf[:room], nonce, in, ad); !bytes.Equal(got[room:], sealed) {
					t.Fatalf("%v: seal %d bytes at %+d", a, size, at-room)
				}
				buf = make([]byte, size+4*room)
				in = buf[at : at+len(sealed)]
				copy(in, sealed)
				got, err := c.Open(buf[:room], nonce, in, ad)
				if err != nil || !bytes.Equal(got[room:], text) {
					t.Fatalf("%v: open %d bytes at %+d: %v", a, size, at-room, err)
				}
			}
		}
	}
}

func TestSeal_AppendsAndGrows(t *testing.T) {
	for _, a := range supported {
		c := newCipher(t, a, testKey(a), false)
		sealed := c.Seal([]byte("head"), pattern(a.NonceSize(), 1), []byte("text"), nil)
		if string(sealed[:4]) != "head" || len(sealed) != 4+4+Overhead {
			t.Fatalf("%v: %q", a, sealed)
		}
		text, err := c.Open([]byte("front"), pattern(a.NonceSize(), 1), sealed[4:], nil)
		if err != nil || string(text) != "fronttext" {
			t.Errorf("%v: %q %v", a, text, err)
		}
	}
}

// TestOpen_Refusals: nothing of a message that does not verify may remain in the buffer.
func TestOpen_Refusals(t *testing.T) {
	for _, a := range supported {
		c := newCipher(t, a, testKey(a), false)
		nonce, ad, text := pattern(a.NonceSize(), 1), pattern(60, 2), pattern(50, 3)
		sealed := c.Seal(nil, nonce, text, ad)
		refuse := func(name string, nonce, sealed, ad []byte) {
			t.Helper()
			dst := bytes.Repeat([]byte{0xaa}, 100)
			got, err := c.Open(dst[:10], nonce, sealed, ad)
			if !errors.Is(err, ErrOpen) || got != nil {
				t.Errorf("%v: %s: %x %v", a, name, got, err)
			}
			for i, b := range dst[:10+max(0, len(sealed)-Overhead)] {
				if b != 0 && b != 0xaa {
					t.Errorf("%v: %s: plaintext left at %d", a, name, i)
					break
				}
			}
		}
		for n := range sealed {
			refuse(fmt.Sprintf("cut to %d", n), nonce, sealed[:n], ad)
		}
		for bit := range len(sealed) * 8 {
			refuse(fmt.Sprintf("sealed bit %d", bit), nonce, flip(sealed, bit), ad)
		}
		for bit := range len(nonce) * 8 {
			refuse(fmt.Sprintf("nonce bit %d", bit), flip(nonce, bit), sealed, ad)
		}
		for bit := range len(ad) * 8 {
			refuse(fmt.Sprintf("ad bit %d", bit), nonce, sealed, flip(ad, bit))
		}
		refuse("longer", nonce, append(bytes.Clone(sealed), 0), ad)
		refuse("ad cut", nonce, sealed, ad[:59])
		refuse("nonce cut", nonce[:len(nonce)-1], sealed, ad)
		refuse("no nonce", nil, sealed, ad)
		refuse("long nonce", append(bytes.Clone(nonce), 0), sealed, ad)
	}
}

// TestSIV_ComponentsAreSeparate: S2V must not let bytes move from one component to the next.
func TestSIV_ComponentsAreSeparate(t *testing.T) {
	c := newCipher(t, SIVCMAC256, testKey(SIVCMAC256), false)
	nonce := pattern(16, 1)
	seals := [][]byte{
		c.Seal(nil, nonce, nil),
		c.Seal(nil, nonce, nil, []byte{}),
		c.Seal(nil, nonce, nil, []byte{}, []byte{}),
		c.Seal(nil, nonce, nil, []byte("ab")),
		c.Seal(nil, nonce, nil, []byte("a"), []byte("b")),
		c.Seal(nil, nonce, nil, []byte("b"), []byte("a")),
		c.Seal(nil, nil, nil, nonce, []byte("ab")),
	}
	for i := range seals {
		for j := range i {
			if bytes.Equal(seals[i], seals[j]) {
				t.Errorf("%d and %d agree", j, i)
			}
		}
	}
}

func TestSeal_BugsPanic(t *testing.T) {
	c := newCipher(t, GCMSIV128, testKey(GCMSIV128), false)
	for name, f := range map[string]func(){
		"nonce": func() { c.Seal(nil, make([]byte, 16), nil) },
		"ad":    func() { c.Seal(nil, make([]byte, 12), nil, nil, nil) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
}

func TestCipher_PrintsNoKey(t *testing.T) {
	c := newCipher(t, SIVCMAC256, bytes.Repeat([]byte{0xb7}, 32), true)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
		if s := fmt.Sprintf(verb, c); len(s) > 40 {
			t.Errorf("%s: %s", verb, s)
		}
	}
}

func TestSealOpen_DoNotAllocate(t *testing.T) {
	paths(t, func(t *testing.T, portable bool) {
		for _, a := range supported {
			c, key := newCipher(t, a, testKey(a), portable), testKey(a)
			c.Remember()
			var backing [16]byte
			nonce, ad, text := backing[:a.NonceSize()], pattern(188, 2), pattern(300, 3)
			sealed := make([]byte, 0, 400)
			opened := make([]byte, 0, 400)
			if n := testing.AllocsPerRun(100, func() {
				_ = c.Rekey(a, key)
				sealed = c.Seal(sealed[:0], nonce, text, ad)
				if _, err := c.Open(opened[:0], nonce, sealed, ad); err != nil {
					t.Fatal(err)
				}
			}); n != 0 {
				t.Errorf("%v: %v allocations", a, n)
			}
		}
	})
}

func flip(b []byte, bit int) []byte {
	b = bytes.Clone(b)
	b[bit/8] ^= 1 << (bit % 8)
	return b
}

// FuzzSealOpen: what is sealed opens again, no single flipped bit does, and assembly and portable code agree.
func FuzzSealOpen(f *testing.F) {
	f.Add(uint8(0), []byte("key"), []byte("nonce"), []byte("ad"), []byte("text"), uint(0))
	f.Add(uint8(3), []byte{}, []byte{}, []byte{}, []byte{}, uint(77))
	f.Add(uint8(2), pattern(64, 1), pattern(16, 2), pattern(84, 3), pattern(832, 4), uint(9999))
	f.Fuzz(func(t *testing.T, which uint8, keySeed, nonce, ad, text []byte, bit uint) {
		a := supported[int(which)%len(supported)]
		n, _ := a.KeySize()
		key := make([]byte, n)
		copy(key, keySeed)
		if a == GCMSIV128 {
			nonce = append(bytes.Clone(nonce), make([]byte, 12)...)[:12]
		}
		c := newCipher(t, a, key, false)
		sealed := c.Seal(nil, nonce, text, ad)
		if portable := newCipher(t, a, key, true).Seal(nil, nonce, text, ad); !bytes.Equal(sealed, portable) {
			t.Fatalf("%v: %x, portable %x", a, sealed, portable)
		}
		got, err := c.Open(nil, nonce, sealed, ad)
		if err != nil || !bytes.Equal(got, text) {
			t.Fatalf("%v: opened %x, %v", a, got, err)
		}
		if _, err := c.Open(nil, nonce, flip(sealed, int(bit%uint(len(sealed)*8))), ad); err == nil {
			t.Fatalf("%v: bit %d flipped and still authentic", a, bit)
		}
		if len(ad) > 0 {
			if _, err := c.Open(nil, nonce, sealed, flip(ad, int(bit%uint(len(ad)*8)))); err == nil {
				t.Fatalf("%v: bit %d of ad flipped and still authentic", a, bit)
			}
		}
	})
}

// FuzzOpen: no input opens under a key that sealed nothing, and none panics.
func FuzzOpen(f *testing.F) {
	f.Add(uint8(0), pattern(16, 1), pattern(40, 2), pattern(48, 3))
	f.Add(uint8(3), pattern(12, 1), pattern(16, 2), []byte{})
	f.Fuzz(func(t *testing.T, which uint8, nonce, sealed, ad []byte) {
		a := supported[int(which)%len(supported)]
		if _, err := newCipher(t, a, testKey(a), false).Open(nil, nonce, sealed, ad); err == nil {
			t.Fatalf("%v: %x opens", a, sealed)
		}
	})
}

func BenchmarkCipher(b *testing.B) {
	for _, a := range supported {
		for _, portable := range []bool{false, true} {
			name := a.String()
			if portable {
				name += "/portable"
			}
			c, nonce := newCipher(b, a, testKey(a), portable), pattern(a.NonceSize(), 1)
			b.Run(name+"/rekey", func(b *testing.B) {
				key := testKey(a)
				b.ReportAllocs()
				for b.Loop() {
					_ = c.Rekey(a, key)
				}
			})
			for _, size := range [][2]int{{188, 0}, {84, 104}, {84, 832}} { // request, reply, reply of eight cookies
				ad, text, dst := pattern(size[0], 2), pattern(size[1], 3), make([]byte, 0, 1000)
				b.Run(fmt.Sprintf("%s/seal/ad=%d,text=%d", name, size[0], size[1]), func(b *testing.B) {
					b.ReportAllocs()
					for b.Loop() {
						_ = c.Seal(dst, nonce, text, ad)
					}
				})
				b.Run(fmt.Sprintf("%s/open/ad=%d,text=%d", name, size[0], size[1]), func(b *testing.B) {
					sealed, out := c.Seal(nil, nonce, text, ad), make([]byte, 0, 1000)
					b.ReportAllocs()
					for b.Loop() {
						if _, err := c.Open(out, nonce, sealed, ad); err != nil {
							b.Fatal(err)
						}
					}
				})
			}
		}
	}
}
