package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// mode of every file written: only the owner reads it.
const mode = 0o600

// WriteFile replaces the file at path by one with the given content. After a crash at any moment, or when the
// disk is full, the file holds the whole old or the whole new content. The order of calls that makes it so:
//
//	open a temporary name in the same folder, never an existing file or a link (O_EXCL, O_NOFOLLOW), mode 0600
//	write; fsync the file; close, whose error counts as well
//	rename over path; fsync the folder
//
// The temporary name is fixed, so that crashes leave at most one behind; a path has one writer at a time.
// A link at path is replaced, not followed. The error names the step and wraps the system's.
func WriteFile(path string, data []byte) error {
	tmp := temporary(path)
	f, err := create(tmp)
	if err != nil {
		return err
	}
	err = fill(f, data)
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		os.Remove(tmp) // best effort: the error that matters is the first
		return fmt.Errorf("replace %s: %w", path, err)
	}
	return syncFolder(filepath.Dir(path))
}

// temporary is the name under which the new content grows.
func temporary(path string) string {
	dir, name := filepath.Split(path)
	return dir + "." + name + ".tmp"
}

// create opens a new file. What an earlier crash left under the name is removed first; if another process takes the name
// in that moment, the error says so.
func create(tmp string) (*os.File, error) {
	const flags = os.O_WRONLY | os.O_CREATE | os.O_EXCL | unix.O_NOFOLLOW
	f, err := os.OpenFile(tmp, flags, mode)
	if errors.Is(err, fs.ErrExist) {
		if err := os.Remove(tmp); err != nil {
			return nil, fmt.Errorf("remove stale temporary file: %w", err)
		}
		f, err = os.OpenFile(tmp, flags, mode)
	}
	if err != nil {
		return nil, fmt.Errorf("create temporary file: %w", err)
	}
	return f, nil
}

// fill writes, syncs and closes f.
func fill(f *os.File, data []byte) error {
	_, err := f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return err
}

// syncFolder makes a rename in dir last through a crash. File systems that cannot sync a folder say EINVAL; there
// nothing more can be done.
func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("sync folder: %w", err)
	}
	return nil
}
