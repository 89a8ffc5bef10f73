package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
)

// maxAside is how many files of one name are set aside: a program that is started again and again must not fill a disk.
const maxAside = 4

// ErrAsideFull: so many files were set aside already that somebody has to look at them.
var ErrAsideFull = errors.New("too many unusable files are kept, remove them")

// SetAside renames the file at path to path.unusable-1, or the next number that is free, up to maxAside, and returns that
// name. Nothing is overwritten; a path has one writer at a time.
func SetAside(path string) (kept string, err error) {
	for n := 1; n <= maxAside; n++ {
		kept = path + ".unusable-" + strconv.Itoa(n)
		_, err := os.Lstat(kept)
		if err == nil {
			continue
		}
		if errors.Is(err, fs.ErrNotExist) {
			err = os.Rename(path, kept)
		}
		if err != nil {
			return "", fmt.Errorf("set aside %s: %w", path, err)
		}
		return kept, syncFolder(filepath.Dir(path))
	}
	return "", fmt.Errorf("set aside %s: %w", path, ErrAsideFull)
}
