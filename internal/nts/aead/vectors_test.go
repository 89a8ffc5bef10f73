package aead

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
)

// unhex decodes a vector; blanks are for the reader.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestHardware: where it is known that the processor has the instructions (make golden), the assembly is what is tested.
func TestHardware(t *testing.T) {
	if os.Getenv("NTPD_AES_ASSEMBLY") != "" && !hardware {
		t.Error("the assembly is not used")
	}
}

// paths runs f with the assembly, where there is any, and with the portable code.
func paths(t *testing.T, f func(t *testing.T, portable bool)) {
	if hardware {
		t.Run("assembly", func(t *testing.T) { f(t, false) })
	}
	t.Run("portable", func(t *testing.T) { f(t, true) })
}

func newCipher(t testing.TB, a Algorithm, key []byte, portable bool) *Cipher {
	t.Helper()
	c := &Cipher{portable: portable}
	if err := c.Rekey(a, key); err != nil {
		t.Fatal(err)
	}
	return c
}

// checkVector seals and opens one message and compares every byte.
func checkVector(t *testing.T, c *Cipher, nonce, plaintext, sealed []byte, ad ...[]byte) {
	t.Helper()
	if got := c.Seal(nil, nonce, plaintext, ad...); !bytes.Equal(got, sealed) {
		t.Errorf("sealed\n got %x\nwant %x", got, sealed)
	}
	got, err := c.Open(nil, nonce, sealed, ad...)
	if err != nil || !bytes.Equal(got, plaintext) {
		t.Errorf("opened %x, %v\nwant %x", got, err, plaintext)
	}
}

func TestN21_RFC4493_CMAC(t *testing.T) {
	const message = "6bc1bee22e409f96e93d7e117393172a ae2d8a571e03ac9c9eb76fac45af8e51" +
		"30c81c46a35ce411e5fbc1191a0a52ef f69f2445df4f9b17ad2b417be66c3710"
	tests := []struct {
		length int
		mac    string
	}{
		{0, "bb1d6929e95937287fa37d129b756746"},
		{16, "070a16b46b4d4144f79bdd9dd04a287c"},
		{40, "dfa66747de9ae63030ca32611497c827"},
		{64, "51f0bebf7e3b9d92fc49741779363cfe"},
	}
	paths(t, func(t *testing.T, portable bool) {
		var m cmac
		m.rekey(unhex(t, "2b7e151628aed2a6abf7158809cf4f3c"), portable)
		if got, want := m.k1[:], unhex(t, "fbeed618357133667c85e08f7236a8de"); !bytes.Equal(got, want) {
			t.Errorf("K1 = %x, want %x", got, want)
		}
		if got, want := m.k2[:], unhex(t, "f7ddac306ae266ccf90bc11ee46d513b"); !bytes.Equal(got, want) {
			t.Errorf("K2 = %x, want %x", got, want)
		}
		for _, tt := range tests {
			m.sum(unhex(t, message)[:tt.length])
			if want := unhex(t, tt.mac); !bytes.Equal(m.x[:], want) {
				t.Errorf("CMAC of %d bytes = %x, want %x", tt.length, m.x, want)
			}
		}
	})
}

func TestN21_RFC5297_SIV(t *testing.T) {
	paths(t, func(t *testing.T, portable bool) {
		t.Run("A.1 deterministic", func(t *testing.T) {
			key := unhex(t, "fffefdfc fbfaf9f8 f7f6f5f4 f3f2f1f0 f0f1f2f3 f4f5f6f7 f8f9fafb fcfdfeff")
			checkVector(t, newCipher(t, SIVCMAC256, key, portable), nil,
				unhex(t, "11223344 55667788 99aabbcc ddee"),
				unhex(t, "85632d07 c6e8f37f 950acd32 0a2ecc93 40c02b96 90c4dc04 daef7f6a fe5c"),
				unhex(t, "10111213 14151617 18191a1b 1c1d1e1f 20212223 24252627"))
		})
		t.Run("A.2 nonce", func(t *testing.T) {
			key := unhex(t, "7f7e7d7c 7b7a7978 77767574 73727170 40414243 44454647 48494a4b 4c4d4e4f")
			checkVector(t, newCipher(t, SIVCMAC256, key, portable),
				unhex(t, "09f91102 9d74e35b d84156c5 635688c0"),
				[]byte("this is some plaintext to encrypt using SIV-AES"),
				unhex(t, "7bdb6e3b 432667eb 06f4d14b ff2fbd0f cb900f2f ddbe4043 26601965 c889bf17"+
					"dba77ceb 094fa663 b7a3f748 ba8af829 ea64ad54 4a272e9c 485b62a3 fd5c0d"),
				unhex(t, "00112233 44556677 8899aabb ccddeeff deaddada deaddada ffeeddcc bbaa9988 77665544 33221100"),
				unhex(t, "10203040 50607080 90a0"))
		})
	})
}

func TestN21_RFC8452_POLYVAL(t *testing.T) {
	// RFC 8452 appendix A.
	paths(t, func(t *testing.T, portable bool) {
		p := polyval{portable: portable}
		copy(p.h[:], unhex(t, "25629347589242761d31f826ba4b757b"))
		p.write(unhex(t, "4f4f95668c83dfb6401762bb2d01a262 d1a24ddd2721d006bbe45f20d3c9f362"))
		if want := unhex(t, "f7a3b47b846119fae5b7866cf5e5b77e"); !bytes.Equal(p.acc[:], want) {
			t.Errorf("POLYVAL = %x, want %x", p.acc, want)
		}
	})
}

// TestN21_RFC8452_GCMSIV runs appendix C.1 (AES-128), C.2 (AES-256) and C.3 (the counter wraps).
func TestN21_RFC8452_GCMSIV(t *testing.T) {
	var vectors []struct{ Key, Nonce, AD, Plaintext, Sealed string }
	load(t, "testdata/rfc8452.json", &vectors)
	paths(t, func(t *testing.T, portable bool) {
		for i, v := range vectors {
			c := &Cipher{algorithm: GCMSIV128, portable: portable}
			c.rekeyGCM(unhex(t, v.Key))
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				checkVector(t, c, unhex(t, v.Nonce), unhex(t, v.Plaintext), unhex(t, v.Sealed), unhex(t, v.AD))
			})
		}
	})
}

// TestN21_OpenSSL compares with messages that python-cryptography sealed (testdata/generate.py).
func TestN21_OpenSSL(t *testing.T) {
	var vectors []struct {
		Algorithm                     Algorithm
		Key, Nonce, Plaintext, Sealed string
		AD                            []string
	}
	load(t, "testdata/vectors.json", &vectors)
	paths(t, func(t *testing.T, portable bool) {
		c := &Cipher{portable: portable}
		for i, v := range vectors {
			t.Run(fmt.Sprintf("%d %v", i, v.Algorithm), func(t *testing.T) {
				var ad [][]byte
				for _, a := range v.AD {
					ad = append(ad, unhex(t, a))
				}
				if err := c.Rekey(v.Algorithm, unhex(t, v.Key)); err != nil { // one object for all keys
					t.Fatal(err)
				}
				checkVector(t, c, unhex(t, v.Nonce), unhex(t, v.Plaintext), unhex(t, v.Sealed), ad...)
			})
		}
	})
}

func load(t *testing.T, path string, into any) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}
