package nts

import (
	"io"
	"time"
)

// MasterKeySize is the length in bytes of a master key: two AES-256 keys for AES-SIV-CMAC-512.
const MasterKeySize = 64

// MasterKey seals cookies.
type MasterKey struct {
	key [MasterKeySize]byte
}

// NewMasterKey draws a master key.
func NewMasterKey(rnd io.Reader) (MasterKey, error) {
	var m MasterKey
	_, err := io.ReadFull(rnd, m.key[:])
	return m, err
}

// KeySet is the immutable set of the current master key and the stale ones still accepted.
type KeySet struct {
	stale int
}

// NewKeySet returns a set of one key that will keep stale old keys after rotations.
func NewKeySet(key MasterKey, stale int) *KeySet { return &KeySet{stale: stale} }

// Rotate returns a set in which key is current and the keys of k are stale.
func (k *KeySet) Rotate(key MasterKey) *KeySet { return &KeySet{stale: k.stale} }

// Marshal returns the key file; rotated is when the current key became current.
func (k *KeySet) Marshal(rotated time.Time) []byte { return nil }

// UnmarshalKeySet reads a key file, ours or ntpd-rs's.
func UnmarshalKeySet(b []byte, now time.Time, stale int) (k *KeySet, rotated time.Time, err error) {
	return nil, time.Time{}, ErrKeyFile
}
