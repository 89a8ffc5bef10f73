package durable

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// OpenNamed opens a regular file that an operator names, without blocking (docs/rules/configuration.md#named-files). Links are
// followed: whoever names one means the file. The error is an *fs.PathError, which wraps ErrNotRegular if that is why.
func OpenNamed(path string) (*os.File, fs.FileInfo, error) { return openNamed(path, 0) }

// ReadNamed returns the content of a file that an operator names, of at most limit bytes. It is OpenNamed's, or what whoever
// started the program opened for it: standard input, or the pipe of a shell's <(…). The error is an *fs.PathError, too.
func ReadNamed(path string, limit int64) ([]byte, error) {
	var more fs.FileMode
	if handed(path) {
		more = fs.ModeNamedPipe | fs.ModeCharDevice | fs.ModeDevice
	}
	f, _, err := openNamed(path, more)
	if err != nil {
		return nil, err
	}
	defer f.Close()                                     //nolint:errcheck // opened for reading
	data, err := io.ReadAll(io.LimitReader(f, limit+1)) // the size may change while we read
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("is larger than %d bytes", limit)}
	}
	return data, nil
}

// handed reports whether a path is a descriptor of our own.
func handed(path string) bool {
	switch dir, _ := filepath.Split(path); dir {
	case "/dev/fd/", "/proc/self/fd/":
		return true
	}
	return path == "/dev/stdin"
}

// openNamed opens a regular file, or one of the other types. It looks before it opens, because opening does something to some
// devices, and again at what it has opened, because another file may have taken the place meanwhile.
func openNamed(path string, types fs.FileMode) (*os.File, fs.FileInfo, error) {
	fits := func(info fs.FileInfo) error {
		if info.Mode().Type()&^types == 0 {
			return nil
		}
		return &fs.PathError{Op: "open", Path: path, Err: fmt.Errorf("is a %s, %w", kind(info.Mode()), ErrNotRegular)}
	}
	info, err := os.Stat(path)
	if err == nil {
		err = fits(info)
	}
	if err != nil {
		return nil, nil, err
	}
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	if info, err = f.Stat(); err == nil {
		err = fits(info)
	}
	if err != nil {
		_ = f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

// kind is what a file is that is not regular.
func kind(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "directory"
	case m&fs.ModeNamedPipe != 0:
		return "pipe"
	case m&fs.ModeSocket != 0:
		return "socket"
	}
	return "device"
}
