//go:build linux && amd64

package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	serverAddress = "10.77.0.1"
	clientAddress = "10.77.0.2"
)

func main() {
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "vminit: runs as the first process of a virtual machine only; see docs/testing.md")
		os.Exit(1)
	}
	t := &trial{begin: monotonic()}
	t.guard("boot", boot)
	t.guard("agent", func() (err error) { t.agent, err = startAgent(); return err })
	args := commandLine()
	if t.failed == 0 {
		t.number("boot", uptime().Seconds(), "s")
		switch args["vmtest.role"] {
		case "server":
			t.guard("server", serve)
		case "detuned-server":
			t.guard("server", serveDetuned)
		case "detuned-client":
			t.followDetuned()
		case "client":
			t.client(strings.Split(args["vmtest.run"], ","))
		default:
			t.fail("role", "vmtest.role=%q", args["vmtest.role"])
		}
	}
	t.end()
	unix.Sync()
	time.Sleep(100 * time.Millisecond) // the serial port has no way to say that it is empty
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	select {}
}

// commandLine returns the key=value words that the kernel was started with.
func commandLine() map[string]string {
	b, _ := os.ReadFile("/proc/cmdline")
	args := map[string]string{}
	for _, word := range strings.Fields(string(b)) {
		key, value, _ := strings.Cut(word, "=")
		args[key] = value
	}
	return args
}

// client runs the named scenarios in order. Each leaves the machine with the right time and no daemon.
func (t *trial) client(names []string) {
	if !t.guard("network", waitForServer) {
		return
	}
	scenarios := map[string]func(*trial){
		"leftovers": leftovers, "sync": synchronise, "steps": smallSteps, "panic": panicSteps, "start": tooFarAtStart, "exits": exits,
		"pause": paused, "restore": restored, "unplugged": restoredUnplugged, "silent": restoredSilent, "leap": leapSecond, "unset": unsetClock,
	}
	for _, name := range names {
		run, ok := scenarios[name]
		if !ok {
			t.fail("scenario", "no scenario %q", name)
			continue
		}
		begin := monotonic()
		t.scenario(run)
		t.number("scenario_"+name, (monotonic() - begin).Seconds(), "s")
	}
}
