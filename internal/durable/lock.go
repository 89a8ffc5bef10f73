package durable

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// ErrLocked: another process uses the folder.
var ErrLocked = errors.New("in use by another process")

// DirLock is the exclusive use of a folder. The kernel releases it when the process ends, however it ends.
type DirLock struct{ dir *os.File }

// Lock takes the exclusive use of the folder dir, which must exist. It locks the folder itself and leaves
// nothing behind in it, so it works where nothing can be written. A second user gets ErrLocked at once.
func Lock(dir string) (*DirLock, error) {
	d, err := os.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, fmt.Errorf("lock folder: %w", err)
	}
	err = flock(d)
	if err != nil {
		d.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = ErrLocked
		}
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	return &DirLock{dir: d}, nil
}

// flock asks for the lock without waiting for it.
func flock(f *os.File) error {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// Close releases the folder.
func (l *DirLock) Close() error { return l.dir.Close() }
