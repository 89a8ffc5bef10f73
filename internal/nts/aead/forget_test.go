package aead

import "testing"

// TestRekey_LeavesNothing: a Cipher that has worked under one key is, after Rekey to another of any algorithm, what a new one
// is that had only the other; and after Forget what it was before its first message.
func TestRekey_LeavesNothing(t *testing.T) {
	paths(t, func(t *testing.T, portable bool) {
		for _, before := range supported {
			for _, after := range supported {
				for _, remember := range []bool{false, true} {
					used, fresh := &Cipher{portable: portable}, &Cipher{portable: portable}
					if remember {
						used.Remember()
						fresh.Remember()
					}
					rekey(t, used, before, 1)
					work(t, used, before)
					rekey(t, used, after, 2)
					rekey(t, fresh, after, 2)
					if *used != *fresh {
						t.Errorf("%v to %v, remember %v: something is left after Rekey", before, after, remember)
					}
					work(t, used, after)
					if used.Forget(); *used != *fresh {
						t.Errorf("%v, remember %v: something is left after Forget", after, remember)
					}
					work(t, used, after)
				}
			}
		}
	})
}

func rekey(t *testing.T, c *Cipher, a Algorithm, seed byte) {
	t.Helper()
	n, _ := a.KeySize()
	if err := c.Rekey(a, pattern(n, seed)); err != nil {
		t.Fatal(err)
	}
}

// work seals and opens a message of every shape that leaves something else behind.
func work(t *testing.T, c *Cipher, a Algorithm) {
	t.Helper()
	for _, n := range []int{145, 68, 5, 0} {
		nonce := pattern(a.NonceSize(), byte(n))
		sealed := c.Seal(nil, nonce, pattern(n, 3), pattern(21, 4))
		if _, err := c.Open(nil, nonce, sealed, pattern(21, 4)); err != nil {
			t.Fatal(err)
		}
	}
	_, _ = c.Open(nil, pattern(a.NonceSize()+1, 9), pattern(40, 9))
}
