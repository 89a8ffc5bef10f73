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
	"ntp-daemon/internal/logging"
	"ntp-daemon/internal/logtarget"
	"ntp-daemon/internal/nts"
)

const (
	// maxKeyFile holds the largest set that can be configured with room to spare (256 keys of 64 bytes).
	maxKeyFile = 1 << 16
	// keyRetry is the wait before an unsaved key set is written again.
	keyRetry = time.Minute
)

// keyring owns the rotation of the cookie keys and their file.
type keyring struct {
	path     string // empty: keys live in memory only
	stale    int
	interval time.Duration
	rand     io.Reader
	log      zerolog.Logger

	set     *atomic.Pointer[nts.KeySet]
	rotated *atomic.Int64 // Unix seconds of the last rotation, for the snapshot
	unsaved bool
	since   time.Time // monotonic time of the start or the last rotation
}

// load reads the key file or starts a new set, and writes it, so that a kill -9 a moment later loses nothing.
// A damaged file costs its cookies and one warning, never the start (row N20).
func (k *keyring) load(now time.Time) error {
	log := logging.Target(k.log, logtarget.KeySet)
	k.since = now
	if k.path != "" {
		set, rotated, err := k.read(now)
		switch {
		case err == nil:
			k.set.Store(set)
			k.rotated.Store(rotated.Unix())
			return nil
		case errors.Is(err, fs.ErrNotExist):
		default:
			log.Warn().Str("path", k.path).Err(err).Msg("could not use the stored cookie keys, starting with new ones; clients will ask for new cookies")
		}
	}
	key, err := nts.NewMasterKey(k.rand)
	if err != nil {
		return fmt.Errorf("draw cookie key: %w", err)
	}
	k.set.Store(nts.NewKeySet(key, k.stale))
	k.rotated.Store(now.Unix())
	k.save()
	return nil
}

func (k *keyring) read(now time.Time) (*nts.KeySet, time.Time, error) {
	b, warnings, err := durable.ReadFile(k.path, maxKeyFile)
	if err != nil {
		return nil, time.Time{}, err
	}
	for _, w := range warnings {
		target(k.log, logtarget.KeySet).Warn().Str("path", k.path).Msg(w)
	}
	return nts.UnmarshalKeySet(b, now, k.stale)
}

// run rotates the keys until ctx ends. It owns the key set: others only load the pointer. The old file stays
// valid until the new one is complete on disk.
func (k *keyring) run(ctx context.Context) error {
	for {
		next := k.left(time.Now())
		if k.unsaved {
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
	if k.path == "" {
		return
	}
	err := durable.WriteFile(k.path, k.set.Load().Marshal(time.Unix(k.rotated.Load(), 0)))
	if err != nil && !k.unsaved {
		target(k.log, logtarget.KeySet).Error().Str("path", k.path).Err(err).
			Msg("could not store the cookie keys; a restart before this is mended makes clients ask for new cookies")
	}
	k.unsaved = err != nil
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
