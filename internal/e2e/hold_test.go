package e2e_test

import (
	"strings"
	"testing"

	"ntp-daemon/internal/observe"
)

// TestK02_HoldOrExit: a clock that is two days ahead at the start is not taken back. By default the daemon stays up, serves
// nobody and says what to do; with panic-action = "exit" it ends with 70.
func TestK02_HoldOrExit(t *testing.T) {
	t.Parallel()
	s := newTestHost(t)
	s.up(s.start("server", server("server")))
	const ahead = "virtual-offset = 172800"
	ends := s.start("ends", client("ends", "server", "127.0.0.1:123", ahead, `panic-action = "exit"`))
	holds := s.start("holds", client("holds", "server", "127.0.0.1:123", ahead))
	o := holds.WaitSnapshot(s.socket("holds"), "refusal", func(o *observe.Snapshot) bool { return o.Suite.Refusal != "" })
	if u := &o.Suite; u.State != "refused" || u.Synchronized || u.RefusedBy != "startup-step-panic-threshold" || u.RefusedSteps[u.RefusedBy] != 1 ||
		!strings.Contains(u.Refusal, "ntp-ctl force-sync") || u.Steps != 0 {
		t.Errorf("%+v", *u)
	}
	if code := ends.Exit(); code != 70 || !strings.Contains(ends.Log(), "startup-step-panic-threshold") {
		t.Errorf("exit code %d:\n%s", code, ends.Log())
	}
	if !holds.Running() {
		t.Error("ended")
	}
}
