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
	foreign bool   // from ntpd-rs's key file: cookies in its layout may be about
	key     [MasterKeySize]byte
}

// entry gives a key its id, which is made from the key: nodes that share keys agree on ids without speaking to
// each other, and a restart tells nobody how often keys have changed. Two keys of a set with one id do no harm,
// both are tried.
func (m *MasterKey) entry() keyEntry {
	h := sha256.New()
	h.Write([]byte("ntp-daemon cookie key id"))
	h.Write(m.key[:])
	return keyEntry{id: binary.BigEndian.Uint32(h.Sum(nil)), key: m.key}
}

// KeySet is the master key that seals new cookies and the stale ones whose cookies are still accepted. It is
// immutable: share it through an atomic pointer.
type KeySet struct {
	keys  []keyEntry // current first, then from young to old; never empty
	stale int
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

// Format hides the keys from every verb.
func (k *KeySet) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

func clampStale(stale int) int { return min(max(stale, 0), maxKeys-1) }
