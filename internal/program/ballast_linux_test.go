//go:build linux && !race

package program

import (
	"os"
	"os/exec"
	"runtime"
	"testing"

	"ntp-daemon/internal/loadgen"
)

// TestBallast_TakesNoMemory: the ballast is address space. It is made in a process of its own, as the daemon's is: memory that
// other tests had and gave back would be cleared for it. The race detector would touch it, too.
func TestBallast_TakesNoMemory(t *testing.T) {
	const alone = "NTPD_TEST_BALLAST"
	if os.Getenv(alone) == "" {
		c := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
		c.Env = append(os.Environ(), alone+"=1", "GOGC=", "GOMEMLIMIT=")
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return
	}
	before := loadgen.ReadUsage([]int{os.Getpid()}).AnonKiB
	ballast := Ballast(true)
	if grown := loadgen.ReadUsage([]int{os.Getpid()}).AnonKiB - before; len(ballast) != ballastSize || grown > ballastSize/4>>10 {
		t.Errorf("%d bytes grew the process by %d KiB", len(ballast), grown)
	}
	runtime.KeepAlive(ballast)
}
