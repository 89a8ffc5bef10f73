package nts

import (
	"bytes"
	"testing"

	"ntp-daemon/internal/nts/aead"
)

// TestSealer_KeepsNothingOlder: once a client with short keys and one cookie was answered, nothing is left of one before it,
// who had long keys, eight cookies and a cookie under a stale master key; nor of the keys of a set that was replaced.
func TestSealer_KeepsNothingOlder(t *testing.T) {
	s := newTestServer(t, aead.SIVCMAC512)
	older := s.keys
	pkt := s.request(7)
	s.ks = s.ks.Rotate(masterKey(t, 9))
	if s.open(pkt) != Valid || s.answer(pkt) == nil {
		t.Fatal("not answered")
	}
	if n := len(s.seal.plain); n < 8*cookieSize(aead.SIVCMAC512) {
		t.Fatalf("only %d bytes of cookies", n)
	}
	var stale aead.Cipher
	if err := stale.Rekey(aead.SIVCMAC512, s.ks.keys[1].key[:]); err != nil {
		t.Fatal(err)
	}
	if s.seal.masters[1] != stale {
		t.Error("the cipher of a stale master key keeps something of a cookie")
	}

	s.keys = testKeys(aead.GCMSIV128, 5)
	pkt = s.request(0)
	if v := s.open(pkt); v != Valid {
		t.Fatal(v)
	}
	holds(t, "after Open", s, older)
	if s.answer(pkt) == nil {
		t.Fatal("not answered")
	}
	holds(t, "after the answer", s, older)
	plain := s.seal.plain
	if rest := plain[len(plain):cap(plain)]; !bytes.Equal(rest, make([]byte, len(rest))) {
		t.Error("cookies of an older answer are left")
	}

	replaced := s.seal.masters
	s.ks = s.ks.Rotate(masterKey(t, 10))
	s.cookie()
	for i := range replaced {
		if replaced[i] != (aead.Cipher{}) {
			t.Errorf("cipher %d of the set before is left", i)
		}
	}
}

// holds checks that no block of an older client's keys is in the memory of s.
func holds(t *testing.T, when string, s *testServer, older Keys) {
	t.Helper()
	memory := map[string][]byte{
		"sealed": s.seal.sealed[:], "plain": s.seal.plain[:cap(s.seal.plain)],
		"C2S": s.req.Keys.C2S[:cap(s.req.Keys.C2S)], "S2C": s.req.Keys.S2C[:cap(s.req.Keys.S2C)],
	}
	for _, key := range [][]byte{older.C2S, older.S2C} {
		for at := 0; at+8 <= len(key); at++ {
			for where, m := range memory {
				if bytes.Contains(m, key[at:at+8]) {
					t.Fatalf("%s: byte %d of an older client's key is in %s", when, at, where)
				}
			}
		}
	}
}

// TestSealer_Forget: afterwards nothing is left of the keys in the last cookies, and the next cookie opens as before.
func TestSealer_Forget(t *testing.T) {
	for _, a := range algorithms {
		s := newTestServer(t, a)
		older := s.keys
		if s.cookie() == nil || !bytes.Contains(s.seal.sealed[:], older.C2S) {
			t.Fatal("the keys were expected in the memory for cookies")
		}
		fresh := NewSealer()
		fresh.loadKeys(s.ks)
		s.seal.Forget()
		holds(t, "after Forget", s, Keys{C2S: older.C2S, S2C: older.S2C})
		if s.seal.text != nil || s.seal.masters[0] != fresh.masters[0] {
			t.Errorf("%v: a text, or what the cipher knows of it, is left", a)
		}
		var got Keys
		if !NewSealer().Open(s.ks, s.cookie(), &got) || !got.C2S.Equal(older.C2S) || !got.S2C.Equal(older.S2C) {
			t.Errorf("%v: the next cookie does not open", a)
		}
	}
}
