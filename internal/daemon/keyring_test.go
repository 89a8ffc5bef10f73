package daemon

import (
	"bytes"
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"ntp-daemon/internal/nts"
	"ntp-daemon/internal/nts/aead"
)

// A clock that was years ahead when the keys were made, and is right since, must not keep them for years.
func TestKeyring_ClockWentBack(t *testing.T) {
	k := &keyring{
		stale: 7, interval: 24 * time.Hour, rand: rand.Reader, log: zerolog.Nop(), settled: func() bool { return false },
		set: &atomic.Pointer[nts.KeySet]{}, rotated: &atomic.Int64{},
	}
	now := time.Now()
	if err := k.load(now); err != nil {
		t.Fatal(err)
	}
	first := k.set.Load()
	k.rotated.Store(now.Add(10 * 365 * 24 * time.Hour).Unix()) // as that clock said
	if left := k.left(now); left > k.interval {
		t.Errorf("next rotation in %v", left)
	}
	if err := k.turn(now.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if k.set.Load() != first {
		t.Error("rotated at once")
	}
	if err := k.turn(now.Add(k.interval)); err != nil {
		t.Fatal(err)
	}
	if k.set.Load() == first {
		t.Error("not rotated after a whole interval")
	}
	if left := k.left(now.Add(k.interval)); left < k.interval-time.Second || left > k.interval {
		t.Errorf("then in %v", left)
	}
}

// keyFile is a keyring over a file, and what it says.
type keyFile struct {
	*keyring
	log     strings.Builder
	clockOK bool
}

func newKeyFile(path string) *keyFile {
	f := &keyFile{}
	f.keyring = &keyring{
		path: path, stale: 7, interval: 24 * time.Hour, rand: rand.Reader, log: zerolog.New(&f.log),
		settled: func() bool { return f.clockOK }, set: &atomic.Pointer[nts.KeySet]{}, rotated: &atomic.Int64{},
	}
	return f
}

// cookie is one that the present keys make.
func (f *keyFile) cookie(t *testing.T) []byte {
	t.Helper()
	keys := nts.Keys{Algorithm: aead.SIVCMAC256, C2S: make([]byte, 32), S2C: make([]byte, 32)}
	return nts.NewSealer().Seal(nil, f.set.Load(), &keys, rand.Reader)
}

// opens reports whether the present keys open a cookie.
func (f *keyFile) opens(cookie []byte) bool {
	var into nts.Keys
	return nts.NewSealer().Open(f.set.Load(), cookie, &into)
}

// TestN20_KeyFileIsNotDestroyed: a machine starts with its clock unset, so that the keys of before look as if they came from
// the future. They were overwritten, and every client lost its cookies. They are left alone, the daemon serves with keys in
// memory and says so, and when the clock is set both kinds of cookie are good.
func TestN20_KeyFileIsNotDestroyed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	now := time.Now()
	before := newKeyFile(path)
	if err := before.load(now); err != nil {
		t.Fatal(err)
	}
	old, file := before.cookie(t), mustRead(t, path)
	f := newKeyFile(path)
	unset := now.AddDate(-30, 0, 0)
	if err := f.load(unset); err != nil {
		t.Fatal(err)
	}
	fresh := f.cookie(t)
	for n := range 3 {
		if err := f.turn(unset.Add(time.Duration(n) * time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	stored, problem := f.state()
	if !bytes.Equal(mustRead(t, path), file) || f.opens(old) || !f.opens(fresh) || stored || !strings.Contains(problem, "future") {
		t.Errorf("opens the old %v, the new %v; stored %v, problem %q", f.opens(old), f.opens(fresh), stored, problem)
	}
	if n := strings.Count(f.log.String(), "left the file alone"); n != 1 || !strings.Contains(f.log.String(), "remedy") {
		t.Errorf("said %d times: %s", n, f.log.String())
	}
	if err := f.turn(now.Add(time.Hour)); err != nil { // the clock was set
		t.Fatal(err)
	}
	if stored, problem := f.state(); !f.opens(old) || !f.opens(fresh) || !stored || problem != "" {
		t.Errorf("opens the old %v, the new %v; stored %v, problem %q", f.opens(old), f.opens(fresh), stored, problem)
	}
	again := newKeyFile(path)
	if err := again.load(now.Add(time.Hour)); err != nil || !again.opens(old) || !again.opens(fresh) {
		t.Errorf("after a restart: %v, opens the old %v, the new %v", err, again.opens(old), again.opens(fresh))
	}
}

// TestN20_WhatBecomesOfTheFile: nothing that may be keys is overwritten.
func TestN20_WhatBecomesOfTheFile(t *testing.T) {
	now := time.Now()
	good := nts.NewKeySet(mustKey(t), 7)
	ahead := good.Marshal(now.AddDate(1, 0, 0))
	for _, row := range []struct {
		name    string
		make    func(path string) error
		clockOK bool
		aside   bool // set aside and written anew; otherwise left alone
	}{
		{"damaged", func(path string) error { return os.WriteFile(path, ahead[:100], 0o600) }, false, true},
		{"too large", func(path string) error { return os.WriteFile(path, make([]byte, maxKeyFile+1), 0o600) }, false, true},
		{"ahead", func(path string) error { return os.WriteFile(path, ahead, 0o600) }, false, false},
		{"ahead of a clock that is set", func(path string) error { return os.WriteFile(path, ahead, 0o600) }, true, true},
		{"a link", func(path string) error { return os.Symlink("elsewhere", path) }, false, false},
		{"a folder", func(path string) error { return os.Mkdir(path, 0o700) }, false, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "keys")
			if err := row.make(path); err != nil {
				t.Fatal(err)
			}
			was, err := os.Lstat(path)
			if err != nil {
				t.Fatal(err)
			}
			f := newKeyFile(path)
			f.clockOK = row.clockOK
			if err := f.load(now); err != nil {
				t.Fatal(err)
			}
			if err := f.turn(now.Add(time.Minute)); err != nil {
				t.Fatal(err)
			}
			where := path
			if row.aside {
				where += ".unusable-1"
			}
			if is, err := os.Lstat(where); err != nil || !os.SameFile(was, is) || is.Size() != was.Size() {
				t.Errorf("%v", err)
			}
			stored, problem := f.state()
			if stored != row.aside || (problem == "") != row.aside || strings.Count(f.log.String(), "\n") != 1 {
				t.Errorf("stored %v, problem %q, log %q", stored, problem, f.log.String())
			}
			if row.aside {
				return
			}
			if err := os.Remove(path); err != nil { // an operator moves it away
				t.Fatal(err)
			}
			cookie := f.cookie(t)
			if err := f.turn(now.Add(2 * time.Minute)); err != nil {
				t.Fatal(err)
			}
			again := newKeyFile(path)
			if err := again.load(now); err != nil || !again.opens(cookie) {
				t.Errorf("then not stored: %v", err)
			}
		})
	}
}

// TestN20_AsideIsBounded: a disk that damages the file at every start is not filled, and the last one is left alone.
func TestN20_AsideIsBounded(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "keys")
	var f *keyFile
	for range 9 {
		if err := os.WriteFile(path, []byte("damaged"), 0o600); err != nil {
			t.Fatal(err)
		}
		f = newKeyFile(path)
		if err := f.load(time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	files, err := os.ReadDir(dir)
	if _, problem := f.state(); err != nil || len(files) != 5 || string(mustRead(t, path)) != "damaged" || !strings.Contains(problem, "remove them") {
		t.Errorf("%v, %v, problem %q", files, err, problem)
	}
}

func mustRead(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func mustKey(t *testing.T) nts.MasterKey {
	t.Helper()
	k, err := nts.NewMasterKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}
