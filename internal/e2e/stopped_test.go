package e2e_test

import (
	"math"
	"os"
	"syscall"
	"testing"
	"time"

	"ntp-daemon/internal/observe"
	"ntp-daemon/internal/suite"
)

// TestK11_StoppedProcesses: server, pool and client are stopped in the middle of their work, as by a debugger, a
// frozen container or a machine that pauses, and go on. Each is at work again at once, and the client, whose answers
// have grown old meanwhile, takes none of them for an offset. An hour of it is simulated in internal/sim; here it is
// three seconds, and 120 s in `make soak`.
func TestK11_StoppedProcesses(t *testing.T) {
	t.Parallel()
	pause := 3 * time.Second
	if d, err := time.ParseDuration(os.Getenv("SOAK")); err == nil {
		pause = min(max(d/15, pause), 120*time.Second)
	}
	s := newTestHost(t)
	srv, pool := s.start("server", server("server")), s.start("pool", poolFront)
	s.up(srv)
	pool.WaitLog("listening on")
	c := s.start("client", client("client", "nts-pool", "localhost:4460"))
	s.up(c)
	settled := func(o *observe.Snapshot) bool {
		return o.Suite.Synchronized && len(o.Sources) == 1 && o.Sources[0].Reach&7 == 7 &&
			o.Suite.VirtualTruth != nil && math.Abs(o.Suite.VirtualTruth.Offset) < 1e-3
	}
	before := c.WaitSnapshot(s.socket("client"), "settled client", settled)
	all := []*suite.Proc{srv, pool, c}
	for _, p := range all {
		_ = p.Cmd.Process.Signal(syscall.SIGSTOP)
	}
	time.Sleep(pause) // the fault itself
	for _, p := range all {
		_ = p.Cmd.Process.Signal(syscall.SIGCONT)
	}
	eventually(t, time.Second, "answer", newAsker(t, s.Namespace, "127.0.0.1:123").ask)
	for _, port := range []int{8080, 4460} {
		if _, err := s.exchange(port, nil); err != nil {
			t.Errorf("port %d: %v", port, err)
		}
	}
	after := c.WaitSnapshot(s.socket("client"), "settled client after the stop", func(o *observe.Snapshot) bool {
		return settled(o) && o.Sources[0].Reach&15 == 15
	})
	if after.Suite.Steps != before.Suite.Steps {
		t.Errorf("%d steps, %d before: the pause was taken for an offset", after.Suite.Steps, before.Suite.Steps)
	}
	t.Logf("stopped for %v: offset %.1f µs before, %.1f µs after", pause, before.Suite.VirtualTruth.Offset*1e6, after.Suite.VirtualTruth.Offset*1e6)
	for _, p := range all {
		calm(t, p)
	}
}
