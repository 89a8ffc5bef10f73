//go:build linux && amd64

package main

import (
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// trial collects results and writes them to the console, which is standard output.
type trial struct {
	begin  time.Duration
	failed int
	passed int
	ends   []func() // of the scenario that runs
	agent  *agent
}

// abort unwinds a scenario whose rest makes no sense any more.
type abort struct{}

var console sync.Mutex

// say writes one line; several daemons' logs share the console.
func say(format string, args ...any) {
	console.Lock()
	defer console.Unlock()
	fmt.Fprintf(os.Stdout, format+"\n", args...)
}

// check reports one named result.
func (t *trial) check(ok bool, name, format string, args ...any) bool {
	word := "PASS"
	if ok {
		t.passed++
	} else {
		t.failed++
		word = "FAIL"
	}
	say("VMTEST %s %s %s", name, word, fmt.Sprintf(format, args...))
	return ok
}

func (t *trial) fail(name, format string, args ...any) { t.check(false, name, format, args...) }

// need is check for what the rest of the scenario depends on.
func (t *trial) need(ok bool, name, format string, args ...any) {
	if !t.check(ok, name, format, args...) {
		panic(abort{})
	}
}

// must fails the scenario on an error of the guest itself.
func (t *trial) must(err error, what string) {
	if err != nil {
		t.fail("guest", "%s: %v", what, err)
		panic(abort{})
	}
}

// number reports a measured value.
func (t *trial) number(name string, value float64, unit string) {
	say("VMNUM %s %.6g %s", name, value, unit)
}

// guard reports only the failure of f.
func (t *trial) guard(name string, f func() error) bool {
	if err := f(); err != nil {
		t.fail(name, "%v", err)
		return false
	}
	return true
}

// scenario runs f and, whatever becomes of it, what it deferred to the end.
func (t *trial) scenario(f func(*trial)) {
	defer func() {
		for i := len(t.ends) - 1; i >= 0; i-- {
			t.ends[i]()
		}
		t.ends = nil
		if r := recover(); r != nil {
			if _, ok := r.(abort); !ok {
				t.fail("guest", "panic: %v", r)
			}
		}
	}()
	f(t)
}

// atEnd runs f when the scenario ends.
func (t *trial) atEnd(f func()) { t.ends = append(t.ends, f) }

func (t *trial) end() {
	t.number("total", (monotonic() - t.begin).Seconds(), "s")
	t.check(t.failed == 0, "end", "%d passed, %d failed", t.passed, t.failed)
}

// monotonic is CLOCK_MONOTONIC_RAW: nobody steps it and no frequency changes it.
func monotonic() time.Duration { return read(unix.CLOCK_MONOTONIC_RAW) }

// uptime is the time since the kernel started.
func uptime() time.Duration { return read(unix.CLOCK_BOOTTIME) }

func read(id int32) time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(id, &ts); err != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

// until polls a condition of another process; there is nothing to wait on.
func until(limit time.Duration, ok func() bool) bool {
	for end := monotonic() + limit; monotonic() < end; time.Sleep(50 * time.Millisecond) {
		if ok() {
			return true
		}
	}
	return ok()
}
