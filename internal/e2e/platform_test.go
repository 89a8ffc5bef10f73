package e2e_test

import (
	"os"
	"os/exec"
	"testing"

	"ntp-daemon/internal/suite"
)

// TestL11_386: everything builds for a 32-bit machine, and the tests of what counts bits and times pass on it. (That
// the whole suite is clean under the race detector shows `make test`, which runs it so.)
func TestL11_386(t *testing.T) {
	if os.Getenv("NTPD_TEST_ALL") == "" {
		t.Skip("builds everything once more, for 386: make test-all")
	}
	run := func(args ...string) (string, error) {
		cmd := exec.Command("go", args...)
		cmd.Dir = suite.Root()
		cmd.Env = append(os.Environ(), "GOARCH=386", "CGO_ENABLED=0")
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := run("build", "./..."); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if out, err := run("run", "./cmd/ntp-daemon", "--version"); err != nil {
		t.Skipf("this machine does not run 32-bit programs: %v\n%s", err, out)
	}
	if out, err := run("test", "-short", "./internal/ntp", "./internal/clock", "./internal/source", "./internal/server", "./internal/udp"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
