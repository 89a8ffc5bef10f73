// Package suite runs the suite's own programs, built once for each test process, as an operator would: with a
// configuration file, a log and an observation socket. For tests only.
package suite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"ntp-daemon/internal/observe"
	"ntp-daemon/internal/rlimit"
)

// Patience is how long a test waits for something that takes a moment; only a failing test waits it out.
const Patience = 30 * time.Second

// folder is where the programs go; made once, left to the operating system's temporary folder.
var folder = sync.OnceValues(func() (string, error) { return os.MkdirTemp("", "ntp-suite-") })

// built holds one build for each program that was asked for.
var built sync.Map // name → func() (string, error)

// Race makes Program build with the race detector, which needs a C compiler; set it before the first call.
var Race bool

// EarlyLimits says that the programs look at their limits before the Go runtime does, as those of `make build` do.
const EarlyLimits = runtime.GOOS == "linux" && runtime.GOARCH == "amd64"

// build compiles one program and returns its path.
func build(name string) (string, error) {
	dir, err := folder()
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, name)
	// As `make build` does: what is compiled for one is compiled for the other.
	args, cgo := []string{"build", "-trimpath", "-buildvcs=false", "-o", path}, "CGO_ENABLED=0"
	switch {
	case Race:
		args, cgo = append(args, "-race"), "CGO_ENABLED=1"
	case EarlyLimits:
		args = append(args, "-ldflags", rlimit.EntryFlag)
	}
	if !Race && runtime.GOOS == "linux" && (runtime.GOARCH == "amd64" || runtime.GOARCH == "arm64") {
		args = append(args, "-buildmode=pie")
	}
	cmd := exec.Command("go", append(args, "./cmd/"+name)...)
	cmd.Dir = Root()
	cmd.Env = append(os.Environ(), cgo)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", name, err, out)
	}
	return path, nil
}

// Root is the folder of the module.
func Root() string {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "."
	}
	return filepath.Dir(strings.TrimSpace(string(out)))
}

// Program returns the path of one of the suite's programs.
func Program(t testing.TB, name string) string {
	t.Helper()
	once, _ := built.LoadOrStore(name, sync.OnceValues(func() (string, error) { return build(name) }))
	path, err := once.(func() (string, error))()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// Proc is a running program.
type Proc struct {
	Name string
	Cmd  *exec.Cmd

	t    testing.TB
	mu   sync.Mutex
	log  bytes.Buffer
	done chan struct{}
	err  error
}

// Write collects the program's output.
func (p *Proc) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.Write(b)
}

// Log is what the program has printed so far, both streams.
func (p *Proc) Log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

// Forget cuts the log to its first n bytes: a dump that was looked at would only fill the report.
func (p *Proc) Forget(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.log.Truncate(n)
}

// Start runs a command from the module's folder until the test ends; its log is shown if the test failed.
func Start(t testing.TB, name string, args ...string) *Proc {
	t.Helper()
	return StartCmd(t, exec.Command(name, args...))
}

// StartCmd is Start for a command with settings of its own.
func StartCmd(t testing.TB, cmd *exec.Cmd) *Proc {
	t.Helper()
	p := &Proc{Name: filepath.Base(cmd.Path), Cmd: cmd, t: t, done: make(chan struct{})}
	if cmd.Dir == "" {
		cmd.Dir = Root()
	}
	if cmd.Stdout == nil {
		cmd.Stdout, cmd.Stderr = p, p
	}
	cmd.SysProcAttr = dieWithTest()
	cmd.WaitDelay = 5 * time.Second
	if err := spawn(cmd); err != nil {
		t.Fatal(err)
	}
	go func() { p.err = cmd.Wait(); close(p.done) }()
	t.Cleanup(func() {
		p.Stop()
		if t.Failed() {
			t.Logf("--- %s\n%s", p.Name, p.Log())
		}
	})
	return p
}

// starter hands commands to the one thread that starts them. Pdeathsig ends a program with the thread that started
// it, and Go ends threads: this one lives as long as the test process.
var starter = sync.OnceValue(func() chan<- func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range work {
			f()
		}
	}()
	return work
})

func spawn(cmd *exec.Cmd) error {
	done := make(chan error)
	starter() <- func() { done <- cmd.Start() }
	return <-done
}

// Daemon writes config to a file and runs ntp-daemon with it. Every "{dir}" in it becomes the test's own folder.
func Daemon(t testing.TB, config string) (p *Proc, dir string) {
	t.Helper()
	dir = t.TempDir()
	path := filepath.Join(dir, "ntp.toml")
	WriteFile(t, path, strings.ReplaceAll(config, "{dir}", dir))
	return Start(t, Program(t, "ntp-daemon"), "-c", path), dir
}

// WriteFile writes a file of the test.
func WriteFile(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Stop ends the program in order and waits for it; after a while it is killed.
func (p *Proc) Stop() {
	_ = p.Cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(10 * time.Second):
		_ = p.Cmd.Process.Kill()
		<-p.done
	}
}

// Exit waits for the end of the program and returns its exit code, -1 after a signal.
func (p *Proc) Exit() int {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(Patience):
		p.t.Fatalf("%s still runs after %v", p.Name, Patience)
	}
	var ee *exec.ExitError
	if p.err != nil && !errors.As(p.err, &ee) {
		p.t.Fatalf("%s: %v", p.Name, p.err)
	}
	return p.Cmd.ProcessState.ExitCode()
}

// Done is closed when the program has ended.
func (p *Proc) Done() <-chan struct{} { return p.done }

// Running reports whether the program still runs.
func (p *Proc) Running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// WaitLog waits until the log matches the expression.
func (p *Proc) WaitLog(expr string) {
	p.t.Helper()
	re := regexp.MustCompile(expr)
	p.Until(fmt.Sprintf("log line %q", expr), func() bool { return re.MatchString(p.Log()) })
}

// Until waits for a condition while the program runs.
func (p *Proc) Until(what string, ok func() bool) {
	p.t.Helper()
	end := time.Now().Add(Patience)
	for !ok() {
		if !p.Running() && !ok() {
			p.t.Fatalf("%s ended (%d) before %s", p.Name, p.Cmd.ProcessState.ExitCode(), what)
		}
		if time.Now().After(end) {
			p.t.Fatalf("no %s within %v", what, Patience)
		}
		time.Sleep(20 * time.Millisecond) // polls an outside process; nothing to wait on
	}
}

// Snapshot reads the observation socket at path, nil while there is none.
func Snapshot(path string) *observe.Snapshot {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	s, err := observe.Read(ctx, path)
	if err != nil {
		return nil
	}
	return s
}

// WaitSnapshot waits until the snapshot at path satisfies ok.
func (p *Proc) WaitSnapshot(path, what string, ok func(*observe.Snapshot) bool) *observe.Snapshot {
	p.t.Helper()
	var last *observe.Snapshot
	p.Until(what, func() bool {
		last = Snapshot(path)
		return last != nil && ok(last)
	})
	return last
}

// FreePort returns a port of 127.0.0.1 that nobody uses at the moment, for TCP and UDP.
func FreePort(t testing.TB) int {
	t.Helper()
	for range 100 {
		tcp, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := tcp.Addr().(*net.TCPAddr).Port
		udp, err := net.ListenPacket("udp4", fmt.Sprintf("127.0.0.1:%d", port))
		tcp.Close()
		if err == nil {
			udp.Close()
			return port
		}
	}
	t.Fatal("no free port")
	return 0
}
