package clocktest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// MaxMove is how far a test may move the clock from where it belongs.
	MaxMove = 2 * time.Second

	// enableEnv must be 1 for a test to touch the clock.
	enableEnv = "NTPD_TEST_CLOCK"

	// keeperEnv makes the test binary the keeper.
	keeperEnv = "NTPD_TEST_CLOCK_KEEPER"

	// lockPath is shared by every such test of the machine.
	lockPath = "/tmp/ntp-daemon-test-clock.lock"

	// lockWait is how long another test may hold the clock: the daemon's accuracy test takes ten minutes.
	lockWait = 30 * time.Minute

	// midnight is the distance to the UTC day's end within which an armed leap second could strike.
	midnight = 2 * time.Minute
)

// Main is the body of TestMain. In the keeper's process it keeps the clock and never returns to the tests.
func Main(m *testing.M) int {
	if os.Getenv(keeperEnv) != "" {
		return keep(os.Stdin, os.Stdout)
	}
	return m.Run()
}

// Guard gives the test the machine's clock until it ends; see the package's comment.
func Guard(t testing.TB) {
	t.Helper()
	if os.Getenv(enableEnv) != "1" {
		t.Skipf("skipped: moves the machine's clock; set %s=1 to run it", enableEnv)
	}
	if os.Getenv(keeperEnv) != "" {
		t.Fatal("TestMain of this package must call clocktest.Main")
	}
	if os.Geteuid() != 0 {
		t.Skip("skipped: setting the clock needs root")
	}
	if day := time.Duration(time.Now().Unix()%86400) * time.Second; day < midnight || day > 24*time.Hour-midnight {
		t.Skip("skipped: too close to midnight UTC, where leap seconds strike")
	}
	lock, err := takeLock(lockPath, lockWait)
	if err != nil {
		t.Fatal(err)
	}
	if err := startKeeper(t, lock); err != nil {
		lock.Close()
		t.Fatal(err)
	}
}

// startKeeper starts the keeper and registers its end. The keeper shares the lock, so that the clock stays
// locked until it is back even if this process dies.
func startKeeper(t testing.TB, lock *os.File) error {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), keeperEnv+"=1")
	cmd.ExtraFiles = []*os.File{lock}
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a signal to our group is not for it
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		return fmt.Errorf("start the clock's keeper: %w", err)
	}
	answers := bufio.NewReader(out)
	if line, err := answers.ReadString('\n'); line != ready {
		in.Close()
		cmd.Wait()
		return fmt.Errorf("the clock's keeper said %q, %v", line, err)
	}
	t.Cleanup(func() {
		in.Close() // the keeper's signal to put the clock back
		report, _ := io.ReadAll(answers)
		err := cmd.Wait()
		lock.Close()
		t.Logf("clock's keeper: %s", strings.TrimSpace(string(report)))
		if err != nil {
			t.Errorf("clock's keeper: %v", err)
		}
	})
	return nil
}

// takeLock waits for the machine-wide lock.
func takeLock(path string, wait time.Duration) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the clock: %w", err)
	}
	for end := time.Now().Add(wait); ; time.Sleep(100 * time.Millisecond) {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) || time.Now().After(end) {
			f.Close()
			return nil, fmt.Errorf("lock the clock (%s): %w", path, err)
		}
	}
}
