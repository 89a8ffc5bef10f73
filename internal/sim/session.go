package sim

import (
	"crypto/sha256"
	"fmt"

	"ntp-daemon/internal/nts"
	"ntp-daemon/internal/nts/aead"
)

// Protect gives a reference cookie keys, so that it answers NTS requests.
func (w *World) Protect(r *Reference) error {
	key, err := nts.NewMasterKey(w.reader())
	if err != nil {
		return fmt.Errorf("draw cookie key: %w", err)
	}
	r.keys = nts.NewKeySet(key, 1)
	return nil
}

// Rotate replaces the reference's cookie key; old cookies still open.
func (w *World) Rotate(r *Reference) error {
	key, err := nts.NewMasterKey(w.reader())
	if err != nil {
		return fmt.Errorf("draw cookie key: %w", err)
	}
	r.keys = r.keys.Rotate(key)
	return nil
}

// Session is what a key exchange with the reference would give a client; the exchange itself is not simulated.
func (w *World) Session(r *Reference, a aead.Algorithm) (*nts.Session, error) {
	size, _ := a.KeySize()
	rnd := w.reader()
	secret := func(label string) []byte {
		sum := sha256.Sum256([]byte(fmt.Sprint(label, w.seed, w.streams)))
		return append(sum[:], sum[:]...)[:size]
	}
	keys := nts.Keys{Algorithm: a, C2S: secret("c2s"), S2C: secret("s2c")}
	sealer := nts.NewSealer()
	p := nts.SessionParams{Keys: keys}
	for range 8 {
		p.Cookies = append(p.Cookies, sealer.Seal(nil, r.keys, &keys, rnd))
	}
	return nts.NewSession(p)
}
