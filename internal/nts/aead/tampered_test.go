package aead

import (
	"bytes"
	"errors"
	"testing"
)

// keyed returns a Cipher for any algorithm of the vectors; GCMSIV256, which is not built, only has them.
func keyed(t testing.TB, a Algorithm, key []byte, portable bool) *Cipher {
	t.Helper()
	if a != GCMSIV256 {
		return newCipher(t, a, key, portable)
	}
	c := &Cipher{algorithm: GCMSIV128, portable: portable}
	c.rekeyGCM(key)
	return c
}

// refused checks that a damaged message does not open and leaves nothing of itself behind.
func refused(t *testing.T, c *Cipher, nonce, sealed []byte, ad ...[]byte) {
	t.Helper()
	buf := make([]byte, 0, len(sealed)+1)
	if got, err := c.Open(buf, nonce, sealed, ad...); !errors.Is(err, ErrOpen) || got != nil {
		t.Errorf("opened: %x, %v\nsealed %x", got, err, sealed)
	}
	if !bytes.Equal(buf[:cap(buf)], make([]byte, cap(buf))) {
		t.Errorf("left %x of %x", buf[:cap(buf)], sealed)
	}
}

// TestN21_Tampered: messages that python-cryptography sealed open, and none of the damaged ones that it refuses does
// (testdata/generate.py): every bit of the tag, tags and texts cut off and prolonged, for every size of key.
func TestN21_Tampered(t *testing.T) {
	var vectors []struct {
		Algorithm                     Algorithm
		Key, Nonce, Plaintext, Sealed string
		AD, Refused                   []string
	}
	load(t, "testdata/tampered.json", &vectors)
	paths(t, func(t *testing.T, portable bool) {
		count := map[Algorithm]int{}
		for _, v := range vectors {
			c, nonce, ad := keyed(t, v.Algorithm, unhex(t, v.Key), portable), unhex(t, v.Nonce), unhex(t, v.AD[0])
			checkVector(t, c, nonce, unhex(t, v.Plaintext), unhex(t, v.Sealed), ad)
			for _, sealed := range v.Refused {
				refused(t, c, nonce, unhex(t, sealed), ad)
			}
			count[v.Algorithm] += len(v.Refused)
		}
		for _, a := range append(supported, GCMSIV256) {
			if count[a] < 600 {
				t.Errorf("%v: only %d damaged messages", a, count[a])
			}
		}
	})
}

// TestN21_CMAC compares with MACs of python-cryptography, for every size of key and around the block borders.
func TestN21_CMAC(t *testing.T) {
	var vectors []struct{ Key, Message, MAC string }
	load(t, "testdata/cmac.json", &vectors)
	paths(t, func(t *testing.T, portable bool) {
		var m cmac
		for _, v := range vectors {
			m.rekey(unhex(t, v.Key), portable)
			m.sum(unhex(t, v.Message))
			if want := unhex(t, v.MAC); !bytes.Equal(m.x[:], want) {
				t.Errorf("key of %d bytes, message of %d: %x, want %x", len(v.Key)/2, len(v.Message)/2, m.x, want)
			}
		}
		if len(vectors) < 150 {
			t.Errorf("%d vectors", len(vectors))
		}
	})
}
