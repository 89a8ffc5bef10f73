package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"ntp-daemon/internal/durable"
	"ntp-daemon/internal/logtarget"
	"ntp-daemon/internal/nts"
)

const (
	// maxKeyFile holds the largest set that can be configured with room to spare (256 keys of 64 bytes).
	maxKeyFile = 1 << 16
	// keyRetry is the wait before an unsaved key set is written again, or a file that was left alone is looked at again.
	keyRetry = time.Minute
)

// keyring owns the rotation of the cookie keys and their file. What is in the file is worth the cookies of every client,
// so that it is replaced only by what comes after it, never because it cannot be used
// (docs/rules/server.md#key-file):
//
//	the file is                           the keys are                  the file is
//	good, or not there                    those, or new ones            written at every rotation
//	damaged                               new ones                      set aside, then written
//	unreadable, a link, or dated ahead    new ones, in memory only      left alone and looked at every minute
//
// One that is dated ahead of a clock that sources have set since is damaged. One that can be used after all joins the keys of meanwhile.
type keyring struct {
	path     string // empty: keys live in memory only
	stale    int
	interval time.Duration
	rand     io.Reader
	owners   []int // users besides root and our own whose file it may be
	log      zerolog.Logger
	settled  func() bool // sources have set the clock

	set     *atomic.Pointer[nts.KeySet]
	rotated *atomic.Int64          // Unix seconds of the last rotation, for the snapshot
	problem atomic.Pointer[string] // why the file does not hold the set, for the snapshot; nil: it does, or there is none
	unsaved bool
	foreign bool      // the file is left alone
	since   time.Time // monotonic time of the start or the last rotation
}

// load reads the key file or starts a new set, and writes it, so that a kill -9 a moment later loses nothing.
// A file that cannot be used costs its cookies and one warning, never the start (row N20).
func (k *keyring) load(now time.Time) error {
	k.since = now
	set, rotated, err := k.read(now)
	if err == nil && set != nil {
		k.set.Store(set)
		k.rotated.Store(rotated.Unix())
		return nil
	}
	key, keyErr := nts.NewMasterKey(k.rand)
	if keyErr != nil {
		return fmt.Errorf("draw cookie key: %w", keyErr)
	}
	k.set.Store(nts.NewKeySet(key, k.stale))
	k.rotated.Store(now.Unix())
	if err != nil {
		k.unusable(err)
	}
	k.save()
	return nil
}

// read returns the keys of the file, nil if there is none.
func (k *keyring) read(now time.Time) (*nts.KeySet, time.Time, error) {
	if k.path == "" {
		return nil, time.Time{}, nil
	}
	b, warnings, err := durable.ReadFile(k.path, maxKeyFile, k.owners...)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, time.Time{}, nil
	case errors.Is(err, durable.ErrTooLarge):
		return nil, time.Time{}, fmt.Errorf("%w: %w", nts.ErrKeyFile, err)
	case err != nil:
		return nil, time.Time{}, err
	}
	if !k.foreign { // said once
		for _, w := range warnings {
			target(k.log, logtarget.KeySet).Warn().Str("path", k.path).Msg(w)
		}
	}
	return nts.UnmarshalKeySet(b, now, k.stale)
}

// unusable decides what becomes of a file whose keys cannot be used: a damaged one is set aside, any other left alone.
func (k *keyring) unusable(err error) {
	log := target(k.log, logtarget.KeySet)
	if errors.Is(err, nts.ErrKeyFile) && (!errors.Is(err, nts.ErrKeyFileAhead) || k.settled()) {
		kept, asideErr := durable.SetAside(k.path)
		if asideErr == nil {
			k.foreign = false
			k.problem.Store(nil)
			log.Warn().Str("path", k.path).Str("kept_as", kept).Err(err).
				Msg("could not use the stored cookie keys, starting with new ones; clients will ask for new cookies")
			return
		}
		err = errors.Join(err, asideErr)
	}
	if !k.foreign {
		log.Warn().Str("path", k.path).Err(err).Str("remedy", "set the clock if it is wrong, let this program read the file, or move it away").
			Msg("could not use the stored cookie keys, and left the file alone; new keys are in memory only, and clients will ask for new cookies")
	}
	k.foreign = true
	text := err.Error()
	k.problem.Store(&text)
}

// retry looks again at a file that was left alone.
func (k *keyring) retry(now time.Time) {
	set, _, err := k.read(now)
	switch {
	case err != nil:
		k.unusable(err)
		return
	case set != nil:
		k.set.Store(k.set.Load().Join(set))
		target(k.log, logtarget.KeySet).Info().Str("path", k.path).Msg("the stored cookie keys can be used now: cookies of before are good again")
	}
	k.foreign = false
	k.problem.Store(nil)
}

// state is what readers are told of the file.
func (k *keyring) state() (stored bool, problem string) {
	if p := k.problem.Load(); p != nil {
		return false, *p
	}
	return k.path != "", ""
}

// run rotates the keys until ctx ends. It owns the key set: others only load the pointer. The old file stays
// valid until the new one is complete on disk.
func (k *keyring) run(ctx context.Context) error {
	for {
		next := k.left(time.Now())
		if k.unsaved || k.foreign {
			next = min(next, keyRetry)
		}
		timer := time.NewTimer(max(next, time.Second))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
		if err := k.turn(time.Now()); err != nil {
			return err
		}
	}
}

func (k *keyring) turn(now time.Time) error {
	if k.foreign {
		k.retry(now)
	}
	if k.left(now) > 0 {
		k.save()
		return nil
	}
	key, err := nts.NewMasterKey(k.rand)
	if err != nil {
		return fmt.Errorf("draw cookie key: %w", err)
	}
	k.set.Store(k.set.Load().Rotate(key))
	k.rotated.Store(now.Unix())
	k.since = now
	k.save()
	return nil
}

// left is the time until the next rotation: by the wall clock, which outlives restarts, and never more than one
// interval of this run, because that clock may have been years ahead when the last rotation was noted.
func (k *keyring) left(now time.Time) time.Duration {
	return k.interval - max(now.Sub(time.Unix(k.rotated.Load(), 0)), now.Sub(k.since))
}

// save writes the set; a failure is said once and tried again, and the file on disk stays the old one (row L02).
func (k *keyring) save() {
	if k.path == "" || k.foreign {
		return
	}
	err := durable.WriteFile(k.path, k.set.Load().Marshal(time.Unix(k.rotated.Load(), 0)))
	if err != nil && !k.unsaved {
		target(k.log, logtarget.KeySet).Error().Str("path", k.path).Err(err).
			Msg("could not store the cookie keys; a restart before this is mended makes clients ask for new cookies")
	}
	k.unsaved = err != nil
	if err != nil {
		text := err.Error()
		k.problem.Store(&text)
	} else {
		k.problem.Store(nil)
	}
}

// keyPath is where this daemon keeps its keys. The default place is inside the state directory; a daemon that
// could not lock that directory must not write there, because another one does (row L04).
func (d *Daemon) keyPath() string {
	path, state := d.cfg.Keyset.StoragePath, d.cfg.State.Directory
	if state != "" && d.state.dir == "" && filepath.Dir(filepath.Clean(path)) == filepath.Clean(state) {
		return ""
	}
	return path
}
