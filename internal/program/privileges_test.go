package program

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"ntp-daemon/internal/config"
	"ntp-daemon/internal/suite"
)

// TestPrivileges_NoSuchUser: a program that root has started and whose own user is not there says that it stays root, unless that
// is written.
func TestPrivileges_NoSuchUser(t *testing.T) {
	for user, told := range map[string]bool{"no-such-user-here": os.Geteuid() == 0, "root": false} {
		var log bytes.Buffer
		p := Privileges{Process: config.Process{User: user}}
		u, err := p.user(zerolog.New(&log))
		if u != nil || err != nil || strings.Contains(log.String(), "stays root: there is no user "+user) != told {
			t.Errorf("%s: %v, %v: %s", user, u, err, log.String())
		}
	}
}

// TestReadable: whether a file can be read again is asked without waiting for the writer of a pipe, which is no matter of rights.
func TestReadable(t *testing.T) {
	for path, want := range map[string]bool{"": true, suite.Pipe(t): true, t.TempDir(): true, "/nonexistent": false, "privileges_test.go": true} {
		if err := readable(path); (err == nil) != want {
			t.Errorf("%q: %v", path, err)
		}
	}
}
