package poolke

import (
	"crypto/sha256"
	"io"
	"io/fs"
	"os"
	"time"

	"ntp-daemon/internal/durable"
)

// How files are watched (docs/rules/pool.md#watched-files).
const (
	watchInterval = time.Second // between two looks; a change is in use after two of them, or a few more if it goes on
	watchPatience = 3           // looks that a file may go on changing before it is read all the same
	watchRead     = 30          // looks after which a file is read although its time, size and place are the old ones
	watchMost     = 16 << 20    // bytes of a file that are looked at
)

// fileWatch notices that the content of files changed: written in place, replaced by renaming, or reached by another
// symbolic link. It asks the system for size, time and identity of each file at each look, and reads it only if they differ,
// have changed just now, or once in a while. A change counts when the file has been left alone for a look, so that a
// certificate and its key, or a list that is being written, are seen as a whole.
type fileWatch struct {
	files   map[string]*watched
	looks   int
	pending int // looks since the first change that has not been reported; 0: there is none
}

// watched is what was seen of one file last.
type watched struct {
	info fs.FileInfo // nil: it could not be had
	sum  [sha256.Size]byte
}

// newFileWatch begins to watch.
func newFileWatch(files []string, read time.Time) *fileWatch {
	w := &fileWatch{}
	w.follow(files, read)
	return w
}

// follow makes files the ones that are watched; what is known of those that were watched before stays. The others were read
// by the pool at read or later: one that may have been written after that counts as changed.
func (w *fileWatch) follow(files []string, read time.Time) {
	old := w.files
	w.files = make(map[string]*watched, len(files))
	for _, f := range files {
		if w.files[f] = old[f]; w.files[f] != nil {
			continue
		}
		w.files[f] = &watched{}
		w.files[f].look(f, true, read)
		if i := w.files[f].info; i == nil || !i.ModTime().Before(read.Add(-watchInterval)) {
			w.pending = 1
		}
	}
}

// look reports whether there is something to read anew, once for every change.
func (w *fileWatch) look(now time.Time) bool {
	w.looks++
	changed := false
	for f, seen := range w.files {
		changed = seen.look(f, w.looks%watchRead == 0, now) || changed
	}
	switch {
	case changed && w.pending == 0:
		w.pending = 1
	case w.pending > 0 && (!changed || w.pending >= watchPatience):
		w.pending = 0
		return true
	case w.pending > 0:
		w.pending++
	}
	return false
}

// look reports a change of one file. read forces a look at the content.
func (s *watched) look(path string, read bool, now time.Time) bool {
	info, err := os.Stat(path)
	if err != nil {
		info = nil
	}
	before, sum := s.info, s.sum
	s.info = info
	if info == nil {
		s.sum = [sha256.Size]byte{}
		return before != nil
	}
	same := before != nil && os.SameFile(before, info) && before.Size() == info.Size() && before.ModTime().Equal(info.ModTime())
	if same && !read && now.Sub(info.ModTime()) > 2*watchInterval {
		return false // a second change within the clock's resolution would have the same time, so young files are read
	}
	if s.sum, err = digest(path); err != nil {
		return !same // it cannot be read, as by a user without root's rights: who reads it anew will say so
	}
	return s.sum != sum
}

// digest is the SHA-256 of a file's beginning, which is the whole of whatever the pool reads.
func digest(path string) (sum [sha256.Size]byte, err error) {
	f, _, err := durable.OpenNamed(path)
	if err != nil {
		return sum, err
	}
	defer f.Close() //nolint:errcheck // opened for reading
	h := sha256.New()
	if _, err := io.Copy(h, io.LimitReader(f, watchMost)); err != nil {
		return sum, err
	}
	return [sha256.Size]byte(h.Sum(nil)), nil
}
