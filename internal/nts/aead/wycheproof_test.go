package aead

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// wycheproofEnv names another folder with the sets.
const wycheproofEnv = "NTPD_WYCHEPROOF"

// wycheproof is a set of project Wycheproof (github.com/C2SP/wycheproof, folder testvectors_v1).
type wycheproof struct {
	NumberOfTests int
	TestGroups    []struct {
		KeySize int // bits
		Tests   []struct {
			TcID                                int
			Comment, Key, IV, AAD, Msg, CT, Tag string
			Result                              string
		}
	}
}

// loadWycheproof reads a set, which lies beside the repository where it is tested thoroughly, or skips the test.
func loadWycheproof(t *testing.T, name string, tests int) (w wycheproof) {
	t.Helper()
	dir := os.Getenv(wycheproofEnv)
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "..", "shared", "vectors", "wycheproof") // beside the repository
	}
	path := filepath.Join(dir, name)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("no Wycheproof vectors in %s (set %s to their folder)", dir, wycheproofEnv)
	}
	load(t, path, &w)
	if w.NumberOfTests < tests {
		t.Fatalf("%s has %d tests, not %d: another version?", path, w.NumberOfTests, tests)
	}
	return w
}

// each runs every test of the set with both implementations, and counts them.
func (w wycheproof) each(t *testing.T, f func(t *testing.T, portable bool, group, test int)) {
	paths(t, func(t *testing.T, portable bool) {
		run := 0
		for g, group := range w.TestGroups {
			for i, test := range group.Tests {
				run++
				if test.Result != "valid" && test.Result != "invalid" {
					t.Errorf("test %d: result %q", test.TcID, test.Result)
				}
				if !t.Run(fmt.Sprint(test.TcID), func(t *testing.T) { f(t, portable, g, i) }) {
					t.Logf("test %d: %s", test.TcID, test.Comment)
				}
			}
		}
		if run != w.NumberOfTests {
			t.Errorf("%d tests were run, the set says %d", run, w.NumberOfTests)
		}
	})
}

// check seals and opens a valid message, and refuses an invalid one.
func (w wycheproof) check(t *testing.T, c *Cipher, valid bool, nonce, text, sealed []byte, ad []byte) {
	t.Helper()
	if valid {
		checkVector(t, c, nonce, text, sealed, ad)
		return
	}
	refused(t, c, nonce, sealed, ad)
}

var sivOf = map[int]Algorithm{256: SIVCMAC256, 384: SIVCMAC384, 512: SIVCMAC512} // by the size of the key in bits

// TestN21_WycheproofSIV: AES-SIV-CMAC without a nonce.
func TestN21_WycheproofSIV(t *testing.T) {
	w := loadWycheproof(t, "aes_siv_cmac_test.json", 442)
	w.each(t, func(t *testing.T, portable bool, g, i int) {
		v := w.TestGroups[g].Tests[i]
		c := newCipher(t, sivOf[w.TestGroups[g].KeySize], unhex(t, v.Key), portable)
		w.check(t, c, v.Result == "valid", nil, unhex(t, v.Msg), unhex(t, v.CT), unhex(t, v.AAD))
	})
}

// TestN21_WycheproofAEADSIV: the AEAD that NTS negotiates, nonce as the last component.
func TestN21_WycheproofAEADSIV(t *testing.T) {
	w := loadWycheproof(t, "aead_aes_siv_cmac_test.json", 900)
	w.each(t, func(t *testing.T, portable bool, g, i int) {
		v := w.TestGroups[g].Tests[i]
		c := newCipher(t, sivOf[w.TestGroups[g].KeySize], unhex(t, v.Key), portable)
		w.check(t, c, v.Result == "valid", unhex(t, v.IV), unhex(t, v.Msg), slices.Concat(unhex(t, v.Tag), unhex(t, v.CT)), unhex(t, v.AAD))
	})
}

// TestN21_WycheproofGCMSIV: AES-GCM-SIV with keys of both sizes.
func TestN21_WycheproofGCMSIV(t *testing.T) {
	w := loadWycheproof(t, "aes_gcm_siv_test.json", 202)
	w.each(t, func(t *testing.T, portable bool, g, i int) {
		v := w.TestGroups[g].Tests[i]
		a := map[int]Algorithm{128: GCMSIV128, 256: GCMSIV256}[w.TestGroups[g].KeySize]
		c := keyed(t, a, unhex(t, v.Key), portable)
		w.check(t, c, v.Result == "valid", unhex(t, v.IV), unhex(t, v.Msg), slices.Concat(unhex(t, v.CT), unhex(t, v.Tag)), unhex(t, v.AAD))
	})
}

// TestN21_WycheproofCMAC: keys of a wrong size are refused where they would become part of one of ours.
func TestN21_WycheproofCMAC(t *testing.T) {
	w := loadWycheproof(t, "aes_cmac_test.json", 311)
	w.each(t, func(t *testing.T, portable bool, g, i int) {
		v := w.TestGroups[g].Tests[i]
		key := unhex(t, v.Key)
		if !slices.Contains([]int{128, 192, 256}, w.TestGroups[g].KeySize) {
			for _, a := range supported {
				if a != GCMSIV128 && new(Cipher).Rekey(a, slices.Concat(key, key)) == nil {
					t.Errorf("%v takes a key of twice %d bytes", a, len(key))
				}
			}
			return
		}
		var m cmac
		m.rekey(key, portable)
		m.sum(unhex(t, v.Msg))
		if same := bytes.Equal(m.x[:], unhex(t, v.Tag)); same != (v.Result == "valid") {
			t.Errorf("MAC %x, in the vector %s, which is %s", m.x, v.Tag, v.Result)
		}
	})
}
