package nts

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"
)

// Our key file, version 1, big-endian. The checksum is against damage, not against someone who may write here.
//
//	 0  "NTPDKEY1"
//	 8  when the current key became current, Unix seconds (64)
//	16  number of keys (32)
//	20  keys, current first: id (32) | origin (32): 0 ours, 1 ntpd-rs | key (512)
//	    SHA-256 of everything before
//
// ntpd-rs's key file, which has neither name nor checksum (docs/rules/configuration.md#key-file):
//
//	 0  when the file was written, Unix seconds (64)
//	 8  id of the first key (32)
//	12  index of the current key (32)
//	16  number of keys (32)
//	20  keys, oldest first (512 each)
const (
	keyFileMagic  = "NTPDKEY1"
	keyFileHeader = 20
	keyFileEntry  = 8 + MasterKeySize
	// maxFuture is how far ahead of the clock a key file may be dated: a host that boots with its clock in
	// another time zone keeps its keys, a file from a wrong century does not put off rotation for ever.
	maxFuture = 24 * time.Hour
)

// Marshal returns the key file of k; rotated is when its current key became current. The bytes are secret.
func (k *KeySet) Marshal(rotated time.Time) []byte {
	b := make([]byte, 0, keyFileHeader+len(k.keys)*keyFileEntry+sha256.Size)
	b = append(b, keyFileMagic...)
	b = binary.BigEndian.AppendUint64(b, uint64(max(rotated.Unix(), 0)))
	b = binary.BigEndian.AppendUint32(b, uint32(len(k.keys)))
	for i := range k.keys {
		var origin uint32
		if k.keys[i].foreign {
			origin = 1
		}
		b = binary.BigEndian.AppendUint32(b, k.keys[i].id)
		b = binary.BigEndian.AppendUint32(b, origin)
		b = append(b, k.keys[i].key[:]...)
	}
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

// UnmarshalKeySet reads a key file, ours or ntpd-rs's, and keeps at most stale old keys. rotated is when the
// current key became current (ntpd-rs: when the file was written), not later than now. Whatever is wrong with the
// file, the error wraps ErrKeyFile and says what; the caller then starts with new keys (row N20). Only ErrKeyFileAhead
// may pass when the clock is set.
func UnmarshalKeySet(b []byte, now time.Time, stale int) (k *KeySet, rotated time.Time, err error) {
	var keys []keyEntry
	var seconds uint64
	if bytes.HasPrefix(b, []byte(keyFileMagic)) {
		keys, seconds, err = readKeyFile(b)
	} else {
		keys, seconds, err = readForeignKeyFile(b)
	}
	if err != nil {
		return nil, time.Time{}, err
	}
	if seconds > uint64(max(now.Add(maxFuture).Unix(), 0)) {
		return nil, time.Time{}, ErrKeyFileAhead
	}
	for i := range keys {
		if keys[i].key == [MasterKeySize]byte{} {
			return nil, time.Time{}, fmt.Errorf("%w: a key of zeros", ErrKeyFile)
		}
	}
	stale = clampStale(stale)
	rotated = time.Unix(int64(seconds), 0)
	if rotated.After(now) {
		rotated = now
	}
	return &KeySet{keys: keys[:min(len(keys), stale+1)], stale: stale}, rotated, nil
}

// readKeyFile reads our format.
func readKeyFile(b []byte) (keys []keyEntry, seconds uint64, err error) {
	n := len(b) - keyFileHeader - sha256.Size
	if n < keyFileEntry || n%keyFileEntry != 0 || n/keyFileEntry > maxKeys {
		return nil, 0, fmt.Errorf("%w: %d bytes are no whole number of keys", ErrKeyFile, len(b))
	}
	body, sum := b[:keyFileHeader+n], sha256.Sum256(b[:keyFileHeader+n])
	if !bytes.Equal(sum[:], b[keyFileHeader+n:]) {
		return nil, 0, fmt.Errorf("%w: wrong checksum", ErrKeyFile)
	}
	if count := binary.BigEndian.Uint32(body[16:]); int64(count) != int64(n/keyFileEntry) {
		return nil, 0, fmt.Errorf("%w: %d keys announced, %d there", ErrKeyFile, count, n/keyFileEntry)
	}
	for entry := body[keyFileHeader:]; len(entry) > 0; entry = entry[keyFileEntry:] {
		k := keyEntry{id: binary.BigEndian.Uint32(entry)}
		switch origin := binary.BigEndian.Uint32(entry[4:]); origin {
		case 0, 1:
			k.foreign = origin == 1
		default:
			return nil, 0, fmt.Errorf("%w: unknown key origin %d", ErrKeyFile, origin)
		}
		copy(k.key[:], entry[8:])
		keys = append(keys, k)
	}
	return keys, binary.BigEndian.Uint64(body[8:]), nil
}

// readForeignKeyFile reads ntpd-rs's format. Keys behind the current one have sealed nothing yet and are left
// out. ntpd-rs itself panics if the index of the current key is the number of keys.
func readForeignKeyFile(b []byte) (keys []keyEntry, seconds uint64, err error) {
	if len(b) < keyFileHeader {
		return nil, 0, fmt.Errorf("%w: %d bytes", ErrKeyFile, len(b))
	}
	offset, current := binary.BigEndian.Uint32(b[8:]), binary.BigEndian.Uint32(b[12:])
	count := binary.BigEndian.Uint32(b[16:])
	if count > maxKeys || len(b) != keyFileHeader+int(count)*MasterKeySize {
		return nil, 0, fmt.Errorf("%w: not a key file", ErrKeyFile)
	}
	if current >= count {
		return nil, 0, fmt.Errorf("%w: current key %d of %d", ErrKeyFile, current, count)
	}
	for i := int(current); i >= 0; i-- {
		k := keyEntry{id: offset + uint32(i), foreign: true}
		copy(k.key[:], b[keyFileHeader+i*MasterKeySize:])
		keys = append(keys, k)
	}
	return keys, binary.BigEndian.Uint64(b), nil
}
