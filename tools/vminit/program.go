//go:build linux && amd64

package main

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"ntp-daemon/internal/observe"
)

const (
	observePath = "/run/observe"
	stateDir    = "/var/state"
)

// A client's configuration is clientHead, an address, and what stands after it. oneAgrees is its end where one source is enough.
const (
	clientHead = `
[observability]
log-level = "info"
log-format = "console"
observation-path = "` + observePath + `"
[state]
directory = "` + stateDir + `"
[[source]]
mode = "server"
address = "`
	everySecond = `"
poll-interval-limits = { min = 0, max = 0 }
initial-poll-interval = 0
`
	oneAgrees = `[synchronization]
minimum-agreeing-sources = 1
`
)

// clientConfig polls every second, so that a scenario takes seconds and not minutes; all else is the default.
const clientConfig = clientHead + serverAddress + everySecond + oneAgrees

// exitConfig is the client's, with what the reference suite does after a step beyond a limit.
const exitConfig = clientConfig + "panic-action = \"exit\"\n"

const serverConfig = `
[observability]
log-format = "console"
[[server]]
listen = "0.0.0.0:123"
[synchronization]
local-stratum = 2
`

// line is one line of a program's log and when it came.
type line struct {
	at   time.Duration // monotonic
	text string
}

// program is a running ntp-daemon.
type program struct {
	cmd  *exec.Cmd
	done chan struct{}

	mu  sync.Mutex
	log []line
}

// start runs ntp-daemon with the given configuration; its log goes to the console as well.
func start(config string) (*program, error) {
	path := "/run/ntp.toml"
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(stateDir, 0o700); err != nil {
		return nil, err
	}
	p := &program{cmd: exec.Command("/bin/ntp-daemon", "-c", path), done: make(chan struct{})}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	p.cmd.Stdout, p.cmd.Stderr = w, w
	err = p.cmd.Start()
	w.Close()
	if err != nil {
		r.Close()
		return nil, err
	}
	go p.collect(r)
	return p, nil
}

func (p *program) collect(r *os.File) {
	defer close(p.done)
	defer r.Close()
	for sc := bufio.NewScanner(r); sc.Scan(); {
		at := monotonic()
		p.mu.Lock()
		p.log = append(p.log, line{at, sc.Text()})
		p.mu.Unlock()
		if !strings.Contains(sc.Text(), "Offset: ") { // one a second, and of no use to a reader
			say("| %s", sc.Text())
		}
	}
	_ = p.cmd.Wait()
}

// mark returns a place in the log for find.
func (p *program) mark() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.log)
}

// find returns the lines after the mark that match.
func (p *program) find(mark int, expr string) []line {
	re := regexp.MustCompile(expr)
	p.mu.Lock()
	defer p.mu.Unlock()
	var found []line
	for _, l := range p.log[mark:] {
		if re.MatchString(l.text) {
			found = append(found, l)
		}
	}
	return found
}

// ended reports whether the program is over and its log complete.
func (p *program) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// stop sends a signal and waits; the code is -1 after a deadly signal and -2 if the program goes on.
func (p *program) stop(sig unix.Signal) int {
	_ = p.cmd.Process.Signal(sig)
	return p.exit(10 * time.Second)
}

// exit waits for the end and returns the exit code, -2 if there is none in time.
func (p *program) exit(limit time.Duration) int {
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(limit):
		_ = p.cmd.Process.Kill()
		return -2
	}
}

// snapshot reads the observation socket, nil while there is none.
func snapshot() *observe.Snapshot {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	s, err := observe.Read(ctx, observePath)
	if err != nil {
		return nil
	}
	return s
}

// follow starts the client's daemon and has it stopped with the scenario.
func (t *trial) follow() *program { return t.run(clientConfig) }

// run starts the daemon; it is stopped at the end of the trial.
func (t *trial) run(config string) *program {
	p, err := start(config)
	t.must(err, "start ntp-daemon")
	t.atEnd(func() {
		if !p.ended() {
			p.stop(unix.SIGTERM)
		}
	})
	return p
}

// serve runs the server until the machine is switched off from outside.
func serve() error {
	if err := control(); err != nil {
		return err
	}
	return serveWith(serverConfig)
}

// serveWith runs a server with the given configuration.
func serveWith(config string) error {
	p, err := start(config)
	if err != nil {
		return err
	}
	say("VMTEST server PASS started")
	<-p.done
	return &exec.ExitError{ProcessState: p.cmd.ProcessState}
}
