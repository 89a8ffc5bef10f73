//go:build linux && amd64

package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// portDevices match the virtio-serial port on which the host asks; its number is that of the device among all of virtio.
const portDevices = "/dev/vport*p1"

// agent answers the host's lines, one line each:
//
//	time         CLOCK_REALTIME in ns since 1970, read as late as can be
//	start        starts the daemon of the detuned client; "ok"
//	stop         ends it with SIGTERM; its exit code
//	detune       sets the kernel's frequency to 0; "ok"
//	kernel       the kernel's frequency, ppm
//	count EXPR   how many lines of the daemon's log since its start match
//	snapshot     the daemon's, as JSON; "null" without one
//	resumed      no answer: the machine goes on after a pause that it asked for
type agent struct {
	port    *os.File
	resumed chan time.Duration // monotonic time of the word
	daemon  *program
}

// startAgent serves the port in the background.
func startAgent() (*agent, error) {
	a := &agent{resumed: make(chan time.Duration, 1)}
	var err error
	if !until(patience, func() bool { a.port, err = openPort(); return err == nil }) {
		return nil, fmt.Errorf("agent: %w", err)
	}
	go a.serve()
	return a, nil
}

func openPort() (*os.File, error) {
	found, err := filepath.Glob(portDevices)
	if err != nil || len(found) == 0 {
		return nil, errors.Join(err, os.ErrNotExist)
	}
	return os.OpenFile(found[0], os.O_RDWR, 0)
}

// serve reads lines for ever. While nobody is connected on the host's side the port reads as ended.
func (a *agent) serve() {
	in := bufio.NewReader(a.port)
	for {
		l, err := in.ReadString('\n')
		if err != nil {
			time.Sleep(20 * time.Millisecond) // until somebody connects; there is nothing to wait on
			continue
		}
		verb, rest, _ := strings.Cut(strings.TrimSpace(l), " ")
		if verb == "resumed" {
			select {
			case a.resumed <- monotonic():
			default:
			}
			continue
		}
		_, _ = a.port.WriteString(a.answer(verb, rest) + "\n")
	}
}

func (a *agent) answer(verb, rest string) string {
	switch verb {
	case "time":
		var ts unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_REALTIME, &ts); err != nil {
			return err.Error()
		}
		return strconv.FormatInt(ts.Nano(), 10)
	case "start":
		p, err := start(detunedConfig)
		if err != nil {
			return err.Error()
		}
		a.daemon = p
		return "ok"
	case "stop":
		return strconv.Itoa(a.daemon.stop(unix.SIGTERM))
	case "detune":
		if err := setKernelPPM(0); err != nil {
			return err.Error()
		}
		return "ok"
	case "kernel":
		return strconv.FormatFloat(kernelPPM(), 'f', 6, 64)
	case "count":
		return strconv.Itoa(len(a.daemon.find(0, rest)))
	case "snapshot":
		b, err := json.Marshal(snapshot())
		if err != nil {
			return err.Error()
		}
		return string(b)
	}
	return "what?"
}

// askHost has the host do something to this machine, and returns when that was over.
func (t *trial) askHost(what string, length time.Duration) (resumed time.Duration) {
	say("VMASK %s %v", what, length)
	select {
	case resumed = <-t.agent.resumed:
	case <-time.After(2 * time.Minute):
		t.fail("guest", "the host never said that %s is over", what)
		panic(abort{})
	}
	return resumed
}
