package nts

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
)

const (
	// MasterKeySize is the length in bytes of a master key: two AES-256 keys for AES-SIV-CMAC-512, as in ntpd-rs.
	MasterKeySize = 64
	// maxKeys bounds a key set and the count in a key file; one a day, it is almost three years.
	maxKeys = 1024
)

// MasterKey seals cookies. No formatter prints it.
type MasterKey struct {
	key [MasterKeySize]byte
}

// NewMasterKey draws a master key from rnd. It fails only if rnd does.
func NewMasterKey(rnd io.Reader) (MasterKey, error) {
	var m MasterKey
	if _, err := io.ReadFull(rnd, m.key[:]); err != nil {
		return MasterKey{}, fmt.Errorf("draw cookie master key: %w", err)
	}
	return m, nil
}

// Format hides the key from every verb.
func (MasterKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

// keyEntry is one master key of a set.
type keyEntry struct {
	id      uint32 // in front of every cookie it sealed
	foreign bool   // from ntpd-rs's key file: clients may still hold cookies in its layout
	key     [MasterKeySize]byte
}

// entry gives a key its id, the first 32 bits of SHA-256 over a label and the key: nodes that share keys agree on ids
// without a protocol, and ids do not show how often keys have changed, as a counter would. When two keys of a set have
// the same id, Open tries both.
func (m *MasterKey) entry() keyEntry {
	h := sha256.New()
	h.Write([]byte("ntp-daemon cookie key id"))
	h.Write(m.key[:])
	return keyEntry{id: binary.BigEndian.Uint32(h.Sum(nil)), key: m.key}
}

// KeySet holds the server's master keys, with which it stores its clients' keys in cookies instead of in memory
// (RFC 8915 §6; layout in cookie.go).
//
// Sealer.Seal uses keys[0] and writes its id in front of the cookie; Sealer.Open tries every key with that id. Rotate
// puts a new key first and drops what is older than stale rotations. So a cookie opens for the next stale rotations and
// not after one more, and a stolen key opens no cookie sealed after the next rotation (RFC 8915 §8.2).
//
// A KeySet is immutable: Rotate returns another one, which the keyring stores in the file first (Marshal) and then
// publishes to the workers and the key exchange server through an atomic pointer.
type KeySet struct {
	keys  []keyEntry // current first, then from young to old; never empty
	stale int        // old keys that Rotate keeps, 0 to maxKeys - 1
}

// NewKeySet returns a set of one key that will keep at most stale old keys after rotations (0 to 1023; other
// values are moved into that range).
func NewKeySet(key MasterKey, stale int) *KeySet {
	return &KeySet{keys: []keyEntry{key.entry()}, stale: clampStale(stale)}
}

// Rotate returns a set in which key is current and the keys of k are stale, the oldest beyond the limit gone.
func (k *KeySet) Rotate(key MasterKey) *KeySet {
	kept := k.keys[:min(len(k.keys), k.stale)]
	return &KeySet{keys: slices.Concat([]keyEntry{key.entry()}, kept), stale: k.stale}
}

// Join returns a set that opens the cookies of k and of old, as far as the limit of stale keys lets it: the keys of k,
// whose current one stays so, before those of old.
func (k *KeySet) Join(old *KeySet) *KeySet {
	keys := slices.Concat(k.keys, old.keys)
	return &KeySet{keys: keys[:min(len(keys), k.stale+1)], stale: k.stale}
}

// Format hides the keys from every verb.
func (k *KeySet) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

func clampStale(stale int) int { return min(max(stale, 0), maxKeys-1) }
