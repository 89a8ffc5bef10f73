//go:build linux && amd64

package main

import (
	"os"
	"regexp"
	"time"

	"golang.org/x/sys/unix"
)

var storedBoot = regexp.MustCompile(`(?m)^boot .*$`)

// unsetClock starts a daemon on a machine whose battery is empty: the clock shows 1996, the drift file is that of another boot.
// The daemon sets the clock forward to the last known time before it has heard anybody, and the source does the rest.
func unsetClock(t *trial) {
	p := t.synchronised()
	if p.stop(unix.SIGTERM) != 0 {
		t.fail("guest", "the daemon did not end in order")
		return
	}
	path := stateDir + "/drift"
	text, err := os.ReadFile(path)
	t.must(err, "read drift")
	t.must(os.WriteFile(path, storedBoot.ReplaceAll(text, []byte("boot another")), 0o600), "write drift")
	saved := time.Now()
	t.atEnd(func() { t.guard("correct", correct) })
	tv := unix.NsecToTimeval(time.Date(1996, 2, 29, 12, 0, 0, 0, time.UTC).UnixNano())
	t.must(unix.Settimeofday(&tv), "set clock")
	t.must(setDelay(interfaceName, 8*time.Second), "netem") // no answer yet
	begin := monotonic()
	p = t.follow()
	moved := until(6*time.Second, func() bool { return time.Since(time.Unix(saved.Unix(), 0)).Abs() < time.Minute })
	s := snapshot()
	until(3*time.Second, func() bool { s = snapshot(); return s != nil })
	t.check(moved && s != nil && !s.Suite.Synchronized && s.Suite.ClockUnset, "K03_unset_set_forward", "shows %v, saved about %v, unset %v",
		time.Now().UTC(), saved.UTC(), s != nil && s.Suite.ClockUnset)
	t.must(setDelay(interfaceName, 0), "netem")
	took, offset, ok := settled(begin, 60*time.Second)
	jumps := p.find(0, `Jumped offset by`)
	s = snapshot()
	t.check(ok && len(jumps) <= 1 && s != nil && !s.Suite.ClockUnset, "K03_unset_right_again", "offset %v after %v, %d steps: %s", offset, took, len(jumps), texts(jumps))
}
