package durable

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// Sentinels that callers match. A missing file is fs.ErrNotExist.
var (
	ErrNotRegular = errors.New("not a regular file")
	ErrTooLarge   = errors.New("file is too large")
)

// ReadFile returns the content of the regular file at path, which must not exceed limit bytes. Links, pipes
// and devices are refused, without blocking on them. The warnings say, ready for the log, that others than the
// owner can read or write the file, or that it belongs to somebody else; the content is returned all the same.
func ReadFile(path string, limit int64, owners ...int) (data []byte, warnings []string, err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.EMLINK) { // EMLINK: FreeBSD
		return nil, nil, fmt.Errorf("read %s: is a link: %w", path, ErrNotRegular)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read file: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, fmt.Errorf("read file: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("read %s: %w", path, ErrNotRegular)
	}
	data, err = io.ReadAll(io.LimitReader(f, limit+1)) // the size may change while we read
	if err != nil {
		return nil, nil, fmt.Errorf("read file: %w", err)
	}
	if int64(len(data)) > limit {
		return nil, nil, fmt.Errorf("read %s: more than %d bytes: %w", path, limit, ErrTooLarge)
	}
	return data, exposure(path, info, owners), nil
}

// exposure says who else can touch the file.
func exposure(path string, info fs.FileInfo, owners []int) (warnings []string) {
	perm := info.Mode().Perm()
	switch {
	case perm&0o022 != 0:
		warnings = append(warnings, fmt.Sprintf("%s can be changed by others (mode %#o): chmod 600 it", path, perm))
	case perm&0o077 != 0:
		warnings = append(warnings, fmt.Sprintf("%s can be read by others (mode %#o): chmod 600 it", path, perm))
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Uid != 0 && int(st.Uid) != os.Geteuid() && !slices.Contains(owners, int(st.Uid)) {
		warnings = append(warnings, fmt.Sprintf("%s belongs to user %d: chown it to the user of this program", path, st.Uid))
	}
	return warnings
}
