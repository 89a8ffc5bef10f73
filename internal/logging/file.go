package logging

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// logMode is the mode of a log file that did not exist, before the process's mask.
const logMode = 0o640

// File is a log file that can be opened anew under its name, for whoever rotates logs by renaming. It is an
// io.Writer for Options.Out and safe for concurrent use.
type File struct {
	path string
	mu   sync.Mutex // guards out
	out  *rawFile
	lent *os.File // of LaterFile: not ours to close
}

// OpenFile opens a log file for appending, and makes it if it does not exist. A pipe without reader is an error and not
// waited for.
func OpenFile(path string) (*File, error) {
	f, err := openLog(path)
	if err != nil {
		return nil, err
	}
	return &File{path: path, out: &rawFile{f: f}}, nil
}

// LaterFile is a log file that cannot be opened now: lines go to instead, which is not closed, until Reopen succeeds.
func LaterFile(path string, instead *os.File) *File {
	return &File{path: path, out: &rawFile{f: instead}, lent: instead}
}

func openLog(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY|unix.O_NONBLOCK, logMode)
	if errors.Is(err, unix.ENXIO) {
		return nil, fmt.Errorf("open %s: it is a pipe that nobody reads, or a socket: %w", path, unix.ENXIO)
	}
	return f, err
}

// Write implements io.Writer.
func (l *File) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.Write(b)
}

// Reopen opens the file under its name again; lines go there from now on and none is lost. On error the old one
// stays in use.
func (l *File) Reopen() error {
	f, err := openLog(l.path)
	if err != nil {
		return fmt.Errorf("reopen log: %w", err)
	}
	l.mu.Lock()
	old := l.out
	l.out = &rawFile{f: f}
	l.mu.Unlock()
	if old.f == l.lent {
		return nil
	}
	_ = old.f.Close() // its lines are with the kernel since they were written
	return nil
}

// Close closes the file; later lines are lost.
func (l *File) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.out.f == l.lent {
		return nil
	}
	return l.out.f.Close()
}

// file is the present one.
func (l *File) file() *os.File {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.f
}
