//go:build linux && !race

package serverbench_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"ntp-daemon/internal/loadgen"
	"ntp-daemon/internal/observe"
	"ntp-daemon/internal/suite"
)

// What a client with four sources at 64 s is held to.
const (
	mostIdleCPU      = 45.0 // µs of processor time per second
	mostIdleSwitches = 0.7  // how often a thread goes to sleep, per second
	mostIdleMemory   = 12.0 // MiB
)

// The four sources, and the client's side of their wire.
var (
	sourceAddresses = []string{"10.98.0.1", "10.98.0.2", "10.98.0.3", "10.98.0.4"}
	idleClient      = "10.98.0.100"
)

const (
	sourcesConfig = `
[observability]
log-level = "warn"
[[server]]
listen = "0.0.0.0:123"
[synchronization]
clock-control = false
local-stratum = 2
`
	ownClient = `
[observability]
log-level = "warn"
observation-path = "{dir}/client.sock"
[source-defaults]
poll-interval-limits = { min = 6, max = 6 }
initial-poll-interval = 6
[synchronization]
clock-control = false
`
	chronydClient = `
user root
cmdport 0
bindcmdaddress {dir}/client-chronyd.sock
pidfile {dir}/client-chronyd.pid
`
	ntpdRSClient = `
[observability]
log-level = "warn"
observation-path = "{dir}/client-ntpd-rs.sock"
[source-defaults]
poll-interval-limits = { min = 6, max = 6 }
initial-poll-interval = 6
`
	tomlSource    = "[[source]]\nmode = \"server\"\naddress = \"%s\"\n"
	chronydSource = "server %s minpoll 6 maxpoll 6\n"
)

// idle is a program that nobody disturbs.
type idle struct {
	name string
	proc *suite.Proc
	seen loadgen.Result
}

// idleSite is the sources and the clients.
type idleSite struct {
	t             *testing.T
	dir           string
	world, client *suite.Namespace
	list          []*idle
	missing       string
}

func (s *idleSite) file(name, text, source string) string {
	s.t.Helper()
	if source != "" {
		for _, a := range sourceAddresses {
			text += fmt.Sprintf(source, a)
		}
	}
	path := filepath.Join(s.dir, name)
	suite.WriteFile(s.t, path, strings.ReplaceAll(text, "{dir}", s.dir))
	return path
}

// start starts the sources, the clients and an idle server.
func (s *idleSite) start() {
	s.t.Helper()
	suite.Link(s.world, sourceAddresses[0]+"/24", s.client, idleClient+"/24")
	for _, a := range sourceAddresses[1:] {
		s.world.IP("addr", "add", a+"/32", "dev", "lo")
	}
	daemon := suite.Program(s.t, "ntp-daemon")
	s.world.Start(daemon, "-c", s.file("sources.toml", sourcesConfig, ""))
	s.run("ntp-daemon", s.client, daemon, "-c", s.file("client.toml", ownClient, tomlSource))
	if sid := os.Getenv(sidEnv); sid == "" {
		s.missing = "chronyd and ntpd-rs of Debian's sid were not at hand and are not measured.\n"
	} else {
		s.run("chronyd", s.client, append(debian(sid, "usr/sbin/chronyd"), "-x", "-d", "-f", s.file("chronyd.conf", chronydClient, chronydSource))...)
		s.run("ntpd-rs", s.client, append(debian(sid, "usr/bin/ntp-daemon"), "-c", s.file("ntpd-rs.toml", ntpdRSClient, tomlSource))...)
	}
	s.run("ntp-daemon, server", s.client, daemon, "-c", s.file("server.toml", sourcesConfig, ""))
}

func (s *idleSite) run(name string, in *suite.Namespace, line ...string) {
	s.t.Helper()
	p := in.Start(line[0], line[1:]...)
	p.Name = name
	s.list = append(s.list, &idle{name: name, proc: p})
}

// settled waits until the client has all its sources and polls them at their last interval.
func (s *idleSite) settled(least time.Duration) {
	s.t.Helper()
	began := time.Now()
	s.list[0].proc.WaitSnapshot(filepath.Join(s.dir, "client.sock"), "all four sources", func(snap *observe.Snapshot) bool {
		return len(snap.Sources) == len(sourceAddresses)
	})
	time.Sleep(time.Until(began.Add(least))) // measured, not waited for: no test judges it
}

// watch looks at all of them at the same time.
func (s *idleSite) watch(length time.Duration) {
	var all sync.WaitGroup
	for _, i := range s.list {
		all.Go(func() { i.seen = loadgen.Watch(suite.Family(i.proc.Cmd.Process.Pid), length) })
	}
	all.Wait()
}

// TestBenchIdle measures what programs cost while they wait: a client of four sources at 64 s beside chronyd and ntpd-rs,
// and a server whom nobody asks.
func TestBenchIdle(t *testing.T) {
	p := thePlan(t)
	needed(t)
	s := &idleSite{t: t, dir: t.TempDir(), world: suite.NewNamespace(t), client: suite.NewNamespace(t)}
	s.start()
	settle, window := time.Second, time.Second
	if p.full {
		settle, window = 420*time.Second, 200*time.Second // after the start, whose intervals are shorter
	}
	s.settled(settle)
	s.watch(window)
	finish(t, s.text(settle, window))
}

// text is the document.
func (s *idleSite) text(settle, window time.Duration) string {
	var b strings.Builder
	for _, i := range s.list {
		c := i.seen.Server
		fmt.Fprintf(&b, "| %s | %.1f | %.2f | %.2f | %.1f | %.1f |\n", i.name, c.PerSecond, c.Voluntary, c.Involuntary, float64(c.ResidentKiB)/1024, float64(c.AnonKiB)/1024)
	}
	c := s.list[0].seen.Server
	aim := func(what string, got, most float64) string {
		return fmt.Sprintf("| %s | %.2f | %.2f | %s |\n", what, most, got, verdict(got, most))
	}
	return fmt.Sprintf(`# What waiting costs

Written by `+"`make bench-idle`"+`, which needs root and an idle machine. Run of %s. What an answer costs is in
[performance.md](performance.md) and, in the network driver, in [performance-xdp.md](performance-xdp.md).

| | |
|---|---|
%s
Clients with four sources that are polled every 64 s, all at the same time in one network namespace, and a server whom nobody asks, on both processors. Nobody steers a clock:
clock-control = false, chronyd -x, ntpd-rs with a shim in front of the calls that set it. The window of %v began %v after the start. CPU is user
and system time of all threads; a switch is a thread that goes to sleep, by itself or because another one needs the processor.

| program | CPU µs/s | switches/s | made to wait/s | RSS MiB | of it its own |
|---|---|---|---|---|---|
%s
%s
| our client | at most | measured | met |
|---|---|---|---|
%s%s%s
On a virtual machine that has a battery clock our client looks at it every 0.9 s, to notice within a second that the machine was stopped
(docs/rules/clock.md, standstill); that adds about one wake-up a second and is not in these figures unless the machine above has /sys/class/rtc/rtc0.
`, time.Now().UTC().Format("2006-01-02 15:04 UTC"), suite.Machine(), window, settle, b.String(), s.missing,
		aim("CPU µs/s", c.PerSecond, mostIdleCPU), aim("switches/s", c.Voluntary, mostIdleSwitches), aim("RSS MiB", float64(c.ResidentKiB)/1024, mostIdleMemory))
}
