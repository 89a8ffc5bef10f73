package poolke

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"ntp-daemon/internal/suite"
)

// watchedDir is a folder with files that a test writes, and a watch that looks once a second of a clock of the test's own.
type watchedDir struct {
	t   *testing.T
	dir string
	now time.Time
	w   *fileWatch
}

func newWatchedDir(t *testing.T, names ...string) *watchedDir {
	d := &watchedDir{t: t, dir: t.TempDir(), now: time.Now().Add(time.Hour)}
	var files []string
	for _, n := range names {
		d.write(n, "first")
		files = append(files, d.path(n))
	}
	d.w = newFileWatch(files, d.now)
	return d
}

func (d *watchedDir) path(name string) string { return filepath.Join(d.dir, name) }

func (d *watchedDir) write(name, text string) {
	d.t.Helper()
	if err := os.WriteFile(d.path(name), []byte(text), 0o600); err != nil {
		d.t.Fatal(err)
	}
}

func (d *watchedDir) must(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

// looks are n looks, of which it returns the first that reported a change; 0 for none.
func (d *watchedDir) looks(n int) int {
	for i := 1; i <= n; i++ {
		d.now = d.now.Add(watchInterval)
		if d.w.look(d.now) {
			return i
		}
	}
	return 0
}

// Every way in which files are replaced is seen within a few seconds, once; and what changes nothing is not.
func TestFileWatch(t *testing.T) {
	for _, row := range []struct {
		story  string
		change func(d *watchedDir)
		want   int
	}{
		{"nothing", func(*watchedDir) {}, 0},
		{"a pipe in its place, which nobody opens", func(d *watchedDir) {
			d.must(os.Remove(d.path("a")))
			d.must(os.Symlink(suite.Pipe(d.t), d.path("a")))
		}, 2},
		{"written in place", func(d *watchedDir) { d.write("a", "other") }, 2},
		{"written in place, size and time as before", func(d *watchedDir) {
			st, err := os.Stat(d.path("a"))
			d.must(err)
			d.write("a", "tsrif")
			d.must(os.Chtimes(d.path("a"), st.ModTime(), st.ModTime()))
		}, watchRead + 1},
		{"written with what it had", func(d *watchedDir) { d.write("a", "first") }, 0},
		{"touched", func(d *watchedDir) { d.must(os.Chtimes(d.path("a"), d.now, d.now)) }, 0},
		{"replaced by renaming an older file", func(d *watchedDir) {
			d.write("new", "other")
			old := d.now.Add(-1000 * time.Hour)
			d.must(os.Chtimes(d.path("new"), old, old))
			d.must(os.Rename(d.path("new"), d.path("a")))
		}, 2},
		{"removed", func(d *watchedDir) { d.must(os.Remove(d.path("a"))) }, 2},
		{"the link of the folder changed", func(d *watchedDir) {
			d.must(os.Remove(d.path("current")))
			d.must(os.Symlink("two", d.path("current")))
		}, 2},
	} {
		t.Run(row.story, func(t *testing.T) {
			d := newWatchedDir(t, "a", "b")
			for _, v := range []string{"one", "two"} { // as Kubernetes mounts a config map
				d.must(os.Mkdir(d.path(v), 0o700))
				d.write(v+"/linked", v)
			}
			d.must(os.Symlink("one", d.path("current")))
			d.must(os.Symlink("current/linked", d.path("linked")))
			d.w.follow([]string{d.path("a"), d.path("b"), d.path("linked")}, d.now)
			if d.looks(3) != 0 {
				t.Fatal("changed before anything changed")
			}
			row.change(d)
			if got := d.looks(watchRead + 2); got != row.want && !(row.want > watchRead && got > 2) {
				t.Errorf("reported at look %d, want %d", got, row.want)
			}
			if row.want > 0 && d.looks(watchRead+2) != 0 {
				t.Error("reported twice")
			}
		})
	}
}

// A file that goes on changing is waited for, but not for ever; one that comes back is seen again.
func TestFileWatch_Settles(t *testing.T) {
	d := newWatchedDir(t, "chain", "key")
	d.looks(2)
	d.write("chain", "1")
	if d.looks(1) != 0 {
		t.Error("reported before the key was written")
	}
	d.write("key", "1")
	if d.looks(1) != 0 {
		t.Error("reported while files were being written")
	}
	if d.looks(1) != 1 {
		t.Error("not reported when they were left alone")
	}
	reported := 0
	for i := range 6 {
		d.write("chain", string(rune('a'+i)))
		reported += d.looks(1)
	}
	if reported != 1 {
		t.Errorf("reported %d times in 6 looks at a file that never rests, want once", reported)
	}
	if d.looks(3) == 0 { // the last of them
		t.Error("the end is not reported")
	}
	d.must(os.Remove(d.path("key")))
	d.looks(3)
	d.write("key", "1")
	if d.looks(3) == 0 {
		t.Error("the file that came back is not reported")
	}
}

// A file that may have been written after it was read and before it was watched counts as changed; one that is new on the
// list does not.
func TestFileWatch_Begins(t *testing.T) {
	d := newWatchedDir(t, "a")
	d.w = newFileWatch([]string{d.path("a")}, time.Now())
	if d.looks(1) != 1 {
		t.Error("a file that was written just now is trusted")
	}
	d.write("b", "x")
	d.w.follow([]string{d.path("a"), d.path("b")}, d.now)
	if d.looks(3) != 0 {
		t.Error("a file that is watched from now on counts as changed")
	}
	d.w.follow([]string{d.path("b")}, d.now)
	d.write("a", "other")
	if d.looks(3) != 0 {
		t.Error("a file that is watched no more is reported")
	}
}

// A file that can be seen and not be read, as after a change of user, is no change until it is another one.
func TestFileWatch_Unreadable(t *testing.T) {
	d := newWatchedDir(t, "a")
	d.must(os.Mkdir(d.path("key"), 0o700)) // a folder has a size and a time, and no content
	d.w = newFileWatch([]string{d.path("key")}, d.now)
	if d.looks(watchRead+2) != 0 {
		t.Error("reported although nothing changed")
	}
	d.must(os.Remove(d.path("key")))
	d.write("key", "x")
	if d.looks(3) == 0 {
		t.Error("not reported when it became another file")
	}
}
