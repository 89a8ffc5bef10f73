package daemon

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"ntp-daemon/internal/clock"
	"ntp-daemon/internal/config"
	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/suite"
	"ntp-daemon/internal/system"
)

// TestL10_WatchdogNeedsTheTimekeeper: twice in the interval, and not at all while the timekeeper is stuck.
func TestL10_WatchdogNeedsTheTimekeeper(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var told []string
		n := newNotifier(&Deps{Watchdog: 10 * time.Second, Notify: func(s string) {
			told = append(told, time.Since(begin).String()+" "+s)
		}})
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _ = n.run(ctx) })
		stuck := make(chan time.Duration)
		wg.Go(func() { // the timekeeper
			for {
				select {
				case <-ctx.Done():
					return
				case n.beats <- struct{}{}:
				case d := <-stuck:
					time.Sleep(d)
				}
			}
		})
		time.Sleep(12 * time.Second)
		stuck <- 20 * time.Second
		time.Sleep(time.Second)
		n.offerStatus("lost")
		n.offerStatus("still told while stuck")
		time.Sleep(28 * time.Second)
		cancel()
		wg.Wait()
		want := []string{"5s WATCHDOG=1", "10s WATCHDOG=1", "13s STATUS=still told while stuck", "32s WATCHDOG=1",
			"35s WATCHDOG=1", "40s WATCHDOG=1", "41s STOPPING=1"}
		told = slices.DeleteFunc(told, func(s string) bool { return s == "13s STATUS=lost" }) // either is right
		if !slices.Equal(told, want) {
			t.Errorf("%q\nwant\n%q", told, want)
		}
	})
}

func TestL10_NobodyWatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []string
		n := newNotifier(&Deps{Notify: func(s string) { told = append(told, s) }})
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		_ = n.run(ctx)
		if !slices.Equal(told, []string{"STOPPING=1"}) || n.beats != nil {
			t.Errorf("%q", told)
		}
	})
}

func TestWatchdogInterval(t *testing.T) {
	for _, row := range []struct {
		usec, pid string
		want      time.Duration
	}{
		{"", "", 0}, {"30000000", "", 30 * time.Second}, {"30000000", "1", 0}, {"0", "", 0}, {"-1", "", 0}, {"soon", "", 0},
	} {
		t.Setenv("WATCHDOG_USEC", row.usec)
		t.Setenv("WATCHDOG_PID", row.pid)
		if got := watchdogInterval(zerolog.Nop()); got != row.want {
			t.Errorf("%q for %q: %v", row.usec, row.pid, got)
		}
	}
}

func TestStatusText(t *testing.T) {
	v := &ntp.View{Stratum: 3}
	for state, want := range map[system.State]string{
		system.Unsynchronized: "unsynchronised", system.HoldOver: "hold-over, stratum 3",
		system.Synchronized: "synchronised, stratum 3", system.LocalClock: "local, stratum 3", system.Refused: "refused",
	} {
		if got := statusText(state, v); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// stallClock is a virtual clock that can be made to hang, as a system call might.
type stallClock struct {
	*clock.Virtual
	hang sync.RWMutex
}

func (c *stallClock) Now() ntp.Timestamp {
	c.hang.RLock()
	defer c.hang.RUnlock()
	return c.Virtual.Now()
}

// manager is the other end of NOTIFY_SOCKET.
type manager struct {
	t    *testing.T
	conn *net.UnixConn
}

func newManager(t *testing.T) *manager {
	dir, err := os.MkdirTemp("", "notify") // a short name: socket addresses are
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return &manager{t, conn}
}

// next is the next message, empty if none comes in time.
func (m *manager) next(wait time.Duration) string {
	m.t.Helper()
	_ = m.conn.SetReadDeadline(time.Now().Add(wait))
	buf := make([]byte, 1000)
	n, err := m.conn.Read(buf)
	if err != nil && !os.IsTimeout(err) {
		m.t.Fatal(err)
	}
	return string(buf[:n])
}

// until passes over other messages.
func (m *manager) until(want string) string {
	m.t.Helper()
	var seen []string
	for end := time.Now().Add(suite.Patience); time.Now().Before(end); {
		msg := m.next(time.Second)
		if regexp.MustCompile("^(?:" + want + ")$").MatchString(msg) {
			return msg
		}
		seen = append(seen, msg)
	}
	m.t.Fatalf("no %s, but %q", want, seen)
	return ""
}

// TestL10_ServiceManager is a whole daemon, from READY to STOPPING, as the service manager hears it.
func TestL10_ServiceManager(t *testing.T) {
	m := newManager(t)
	t.Setenv("WATCHDOG_USEC", "100000")
	path := filepath.Join(t.TempDir(), "ntp.toml")
	put(t, path, []byte("[synchronization]\nclock = \"virtual\"\nlocal-stratum = 5\n"))
	cfg, _, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	c := &stallClock{Virtual: clock.NewVirtual(0, 0)}
	deps := RealDeps(zerolog.Nop())
	deps.OpenClock = func(*config.Config, zerolog.Logger) (clock.Clock, bool, error) { return c, true, nil }
	d, err := New(cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	d.levelFixed = true
	ctx, cancel := context.WithCancel(t.Context())
	hup, done := make(chan os.Signal, 1), make(chan error, 1)
	go func() { done <- d.Run(ctx, hup) }()
	m.until("READY=1")
	m.until("STATUS=local, stratum 5")
	for range 3 {
		m.until("WATCHDOG=1")
	}

	hup <- syscall.SIGHUP
	m.until(`RELOADING=1\nMONOTONIC_USEC=[1-9]\d*\n`)
	m.until("READY=1")

	c.hang.Lock()
	d.tk.inbox <- message(system.Tick{}) // a turn that reads the clock
	for m.next(300*time.Millisecond) == "WATCHDOG=1" {
	}
	if msg := m.next(300 * time.Millisecond); msg != "" {
		t.Errorf("%q while the timekeeper is stuck", msg)
	}
	c.hang.Unlock()
	m.until("WATCHDOG=1")

	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	m.until("STOPPING=1")
	if msg := m.next(10 * time.Millisecond); strings.Contains(msg, "READY") {
		t.Errorf("%q after the end", msg)
	}
}
