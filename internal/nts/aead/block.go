package aead

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
)

const (
	blockSize = 16 // of AES, in bytes
	// maxSchedule is the longest key schedule: 15 round keys of AES-256.
	maxSchedule = 15 * blockSize
)

// block is an expanded AES key, for encryption only. crypto/aes allocates 512 bytes for every key; a server
// that takes its keys out of cookies would do that several times per packet. So AES-128 and AES-256 keep their
// schedule in place where the CPU has AES instructions, and everything else (AES-192, other CPUs) goes through
// crypto/aes.
type block struct {
	rounds   int // 10 or 14
	schedule [maxSchedule]byte
	soft     cipher.Block // not nil: crypto/aes does the work
}

// expand sets the key, of 16, 24 or 32 bytes; portable keeps away from the assembly.
func (b *block) expand(key []byte, portable bool) {
	if hardware && !portable && len(key) != 24 {
		b.rounds, b.soft = len(key)/4+6, nil
		expandKey(b.rounds, &key[0], &b.schedule[0])
		return
	}
	soft, err := aes.NewCipher(key)
	if err != nil {
		panic("aead: " + err.Error()) // Rekey checked the size
	}
	b.soft = soft
	clear(b.schedule[:]) // no remains of an earlier key
}

// encrypt encrypts one block in place.
func (b *block) encrypt(x *[blockSize]byte) {
	if b.soft != nil {
		b.soft.Encrypt(x[:], x[:])
		return
	}
	encryptBlocks(b.rounds, &b.schedule[0], &x[0], 1)
}

// encryptAll encrypts whole blocks in place, each for itself.
func (b *block) encryptAll(x []byte) {
	if len(x) == 0 {
		return
	}
	if b.soft == nil {
		encryptBlocks(b.rounds, &b.schedule[0], &x[0], len(x)/blockSize)
		return
	}
	for ; len(x) >= blockSize; x = x[blockSize:] {
		b.soft.Encrypt(x[:blockSize], x[:blockSize])
	}
}

// chain runs CBC-MAC: for every whole block p of data, x = E(x ^ p).
func (b *block) chain(x *[blockSize]byte, data []byte) {
	if len(data) < blockSize {
		return
	}
	if b.soft == nil {
		chainBlocks(b.rounds, &b.schedule[0], &x[0], &data[0], len(data)/blockSize)
		return
	}
	for ; len(data) >= blockSize; data = data[blockSize:] {
		subtle.XORBytes(x[:], x[:], data[:blockSize])
		b.soft.Encrypt(x[:], x[:])
	}
}
