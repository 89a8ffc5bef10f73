package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPrivilegesAreGivenUp: a daemon that was started as root and does not steer this host's clock has one capability left, on
// every thread and for good: that for the ports below 1024, which addresses that come later need.
func TestPrivilegesAreGivenUp(t *testing.T) {
	t.Parallel()
	s := newTestHost(t)
	s.up(s.start("world", strings.Replace(plainServer("world", ""), ":123", ":1123", 1)))
	for name, conf := range map[string]string{
		"server": server("server"), "client": client("client", "server", "127.0.0.1:1123"),
	} {
		p := s.start(name, conf)
		s.up(p)
		pid := p.Cmd.Process.Pid
		if children, err := tracees(p); err == nil && len(children) > 0 {
			pid = children[0] // below the program that entered the namespace
		}
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
		if err != nil || len(threads) < 2 {
			t.Fatalf("%s: threads %v, %v", name, threads, err)
		}
		for _, path := range threads {
			b, err := os.ReadFile(path)
			if err != nil {
				continue // the thread has ended
			}
			sets := map[string]string{}
			for line := range strings.Lines(string(b)) {
				if key, value, ok := strings.Cut(line, ":"); ok {
					sets[key] = strings.TrimSpace(value)
				}
			}
			for key, want := range map[string]string{
				"CapEff": "0000000000000400", "CapPrm": "0000000000000400", "CapInh": "0000000000000000",
				"CapBnd": "0000000000000400", "CapAmb": "0000000000000000", "NoNewPrivs": "1",
			} {
				if sets[key] != want {
					t.Errorf("%s, %s: %s is %s, want %s", name, path, key, sets[key], want)
				}
			}
		}
	}
}
