package e2e_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ntp-daemon/internal/observe"
	"ntp-daemon/internal/suite"
)

// users are people who exchange keys with a pool one after the other, without a pause, from several threads.
type users struct {
	s            *testHost
	served       atomic.Int64
	failed       atomic.Int64
	mu           sync.Mutex
	first        error // of the failures
	wait         sync.WaitGroup
	end          chan struct{}
	once         sync.Once
	firstAtCount int64
}

// come starts n threads of users of the pool at port.
func come(s *testHost, n, port int) *users {
	u := &users{s: s, end: make(chan struct{})}
	s.t.Cleanup(u.stop)
	for range n {
		u.wait.Go(func() {
			for {
				select {
				case <-u.end:
					return
				default:
				}
				if _, err := s.exchange(port, nil); err != nil {
					u.fail(err)
				} else {
					u.served.Add(1)
				}
			}
		})
	}
	return u
}

func (u *users) fail(err error) {
	u.failed.Add(1)
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.first == nil {
		u.first, u.firstAtCount = err, u.served.Load()
	}
}

// more waits until n more users were served.
func (u *users) more(t *testing.T, n int64) {
	t.Helper()
	want := u.served.Load() + n
	eventually(t, suite.Patience, "more users", func() bool { return u.served.Load() >= want || u.failed.Load() > 0 })
}

// stop ends them.
func (u *users) stop() {
	u.once.Do(func() { close(u.end) })
	u.wait.Wait()
}

// leave stops them; none may have failed.
func (u *users) leave(t *testing.T) {
	t.Helper()
	u.stop()
	if n := u.failed.Load(); n > 0 {
		t.Errorf("%d of %d users failed; the first after %d: %v", n, n+u.served.Load(), u.firstAtCount, u.first)
	}
	t.Logf("%d users", u.served.Load())
}

// queue opens n connections to the pool that wait to be accepted, or are served, and returns who finishes with them.
func (s *testHost) queue(t *testing.T, n int) func() {
	t.Helper()
	var wait sync.WaitGroup
	opened := make(chan error, n)
	for range n {
		wait.Go(func() {
			_, err := s.exchange(4460, nil) // its connection is established by the kernel, whoever accepts it
			opened <- err
		})
	}
	return func() {
		wait.Wait()
		close(opened)
		for err := range opened {
			if err != nil {
				t.Errorf("a connection that waited: %v", err)
			}
		}
	}
}

// TestUpgrade_ByHandOver: pools replace each other over handover-path under load. No user notices, nor of one that fails
// before it is ready; each predecessor ends by itself, in order, and the observation socket is the successor's.
func TestUpgrade_ByHandOver(t *testing.T) {
	t.Parallel()
	s := newTestHost(t)
	ts := s.start("server", server("server"))
	s.up(ts)
	front := observingPool("pool") + "handover-path = \"{dir}/handover\"\n"
	old := s.start("pool", front)
	old.WaitLog("listening on")
	load := come(s, 4, 4460)
	load.more(t, 50)

	broken := s.start("pool", strings.Replace(front, ":4460", ":8080", 1)) // the time source has that port
	if code := broken.Exit(); code == 0 || !old.Running() {
		t.Fatalf("a successor that cannot run exits with %d, its predecessor runs: %v", code, old.Running())
	}
	old.WaitLog("a successor did not take over, this process goes on")
	load.more(t, 50)

	for range 4 {
		next := s.start("pool", front)
		next.WaitLog("took over from the pool before this one")
		if code := old.Exit(); code != 0 {
			t.Errorf("the predecessor exits with %d", code)
		}
		load.more(t, 50)
		if o := suite.Snapshot(s.socket("pool")); o == nil || o.Pool.Listener != "predecessor" || o.Pool.Stage != "serving" || o.Pool.Outcomes["served"] == 0 {
			t.Errorf("seen from outside: %+v", o)
		}
		old = next
	}
	load.leave(t)
	calm(t, old)
	old.Stop()
	for _, path := range []string{s.socket("pool"), filepath.Join(s.dir, "handover")} {
		if _, err := os.Lstat(path); !os.IsNotExist(err) {
			t.Errorf("%s is left behind: %v", path, err)
		}
	}
}

// observingPool is poolFront with an observation socket, for any number of users from one address.
func observingPool(name string) string {
	return strings.ReplaceAll(observing, "NAME", name) + strings.TrimPrefix(poolFront, "\n[observability]\nlog-format = \"console\"\n") +
		"connections-per-client = 0\n"
}

// serviceManager is what systemd is to a service: it hears of its states and keeps its descriptors.
type serviceManager struct {
	t    *testing.T
	path string
	c    *net.UnixConn

	mu    sync.Mutex
	heard []string
	kept  *os.File
	name  string
}

func newServiceManager(t *testing.T) *serviceManager {
	m := &serviceManager{t: t, path: filepath.Join(tempDir(t), "notify")}
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: m.path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	m.c = c
	var done sync.WaitGroup
	done.Go(m.listen)
	t.Cleanup(func() { _ = c.Close(); done.Wait() })
	return m
}

// listen owns what was heard until the socket is closed.
func (m *serviceManager) listen() {
	buf, oob := make([]byte, 4096), make([]byte, unix.CmsgSpace(4))
	for {
		n, rights, _, _, err := m.c.ReadMsgUnix(buf, oob)
		if err != nil {
			return
		}
		m.mu.Lock()
		text := string(buf[:n])
		m.heard = append(m.heard, text)
		messages, _ := unix.ParseSocketControlMessage(oob[:rights])
		for i := range messages {
			fds, _ := unix.ParseUnixRights(&messages[i])
			for _, fd := range fds {
				if m.kept == nil {
					m.kept = os.NewFile(uintptr(fd), "kept")
					_, after, _ := strings.Cut(text, "FDNAME=")
					m.name, _, _ = strings.Cut(after, "\n")
				} else {
					_ = unix.Close(fd) // as systemd does with one that it has
				}
			}
		}
		m.mu.Unlock()
	}
}

// count is how often a message of that beginning was heard.
func (m *serviceManager) count(prefix string) (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, h := range m.heard {
		if strings.HasPrefix(h, prefix) {
			n++
		}
	}
	return n
}

// all is what was heard so far.
func (m *serviceManager) all() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.heard)
}

// start runs the pool as a service, with the descriptor that is kept, if there is one, or with that of a socket unit.
func (m *serviceManager) start(s *testHost, conf string, unit *os.File) *suite.Proc {
	m.t.Helper()
	m.mu.Lock()
	f, name := m.kept, m.name
	m.mu.Unlock()
	if unit != nil {
		f, name = unit, "nts-pool-ke.socket"
	}
	ready := m.count("READY=1")
	cmd := s.Command("sh", "-c", `LISTEN_PID=$$ exec "$0" -c "$1"`, suite.Program(m.t, "nts-pool-ke"), conf)
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+m.path)
	if f != nil {
		cmd.Env = append(cmd.Env, "LISTEN_FDS=1", "LISTEN_FDNAMES="+name)
		cmd.ExtraFiles = []*os.File{f}
	}
	p := suite.StartCmd(m.t, cmd)
	p.Name = "pool"
	p.Until("READY=1", func() bool { return m.count("READY=1") > ready })
	return p
}

// TestUpgrade_ByDescriptorStore: the service manager keeps the listening socket while one pool ends and the next one starts;
// users who come in between wait, and none of them fails.
func TestUpgrade_ByDescriptorStore(t *testing.T) {
	t.Parallel()
	s := newTestHost(t)
	ts := s.start("server", server("server"))
	s.up(ts)
	m := newServiceManager(t)
	conf := s.file("pool.toml", observingPool("pool"))
	p := m.start(s, conf, nil)
	if m.count("FDSTORE=1") != 1 || m.kept == nil || m.name != "kept-listen" {
		t.Fatalf("the service manager heard %q", m.all())
	}
	load := come(s, 4, 4460)
	for i := range 4 {
		load.more(t, 50)
		stopping := m.count("STOPPING=1")
		_ = p.Cmd.Process.Signal(syscall.SIGTERM)
		code := p.Exit() // what it said by then is on its way
		eventually(t, suite.Patience, "STOPPING=1", func() bool { return m.count("STOPPING=1") > stopping })
		if code != 0 || m.count("STOPPING=1") != stopping+1 {
			t.Fatalf("restart %d: exit %d, heard %q", i, code, m.all())
		}
		waiting := s.queue(t, 30)
		time.Sleep(200 * time.Millisecond) // they fill the queue; a slow start of the next pool
		p = m.start(s, conf, nil)
		waiting()
		if o := suite.Snapshot(s.socket("pool")); o == nil || o.Pool.Listener != "descriptor store" {
			t.Errorf("seen from outside: %+v", o)
		}
	}
	load.leave(t)
	calm(t, p)

	ready := m.count("READY=1")
	_ = p.Cmd.Process.Signal(syscall.SIGHUP)
	p.Until("the end of the reload", func() bool { return m.count("READY=1") > ready })
	if m.count("RELOADING=1\nMONOTONIC_USEC=") != 1 {
		t.Errorf("heard %q", m.all())
	}
}

// TestUpgrade_ListenChanged: a socket that was kept is not used, and not kept any more, when the configuration names another
// address.
func TestUpgrade_ListenChanged(t *testing.T) {
	t.Parallel()
	s := newTestHost(t)
	m := newServiceManager(t)
	p := m.start(s, s.file("pool.toml", observingPool("pool")), nil)
	p.Stop()
	p = m.start(s, s.file("pool.toml", strings.Replace(observingPool("pool"), "0.0.0.0:4460", "127.0.0.1:4461", 1)), nil)
	p.WaitLog(`this socket is not what listen says, it is closed`)
	p.WaitLog(`listening on 'Ok\(127\.0\.0\.1:4461\)'`)
	if m.count("FDSTOREREMOVE=1\nFDNAME=kept-listen") != 1 || m.count("FDSTORE=1") != 2 {
		t.Errorf("heard %q", m.all())
	}
}

// TestUpgrade_SocketUnit: a socket that the service manager opened is listened on, whatever the configuration says, and is not
// left in the store: the unit has it.
func TestUpgrade_SocketUnit(t *testing.T) {
	t.Parallel()
	s := newTestHost(t)
	ts := s.start("server", server("server"))
	s.up(ts)
	m := newServiceManager(t)
	unit, err := listen(t, s.Namespace, "127.0.0.1:4470").(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer unit.Close()
	conf := s.file("pool.toml", observingPool("pool"))
	p := m.start(s, conf, unit)
	p.WaitLog(`the socket unit says where to listen, and listen of the configuration is not used`)
	p.WaitLog(`listening on 'Ok\(127\.0\.0\.1:4470\)'`)
	load := come(s, 2, 4470)
	load.more(t, 10)
	_ = p.Cmd.Process.Signal(syscall.SIGTERM)
	if code := p.Exit(); code != 0 {
		t.Errorf("exit %d", code)
	}
	m.start(s, conf, unit)
	load.more(t, 10)
	load.leave(t)
	if m.count("FDSTORE") != 0 {
		t.Errorf("heard %q", m.all())
	}
}

// TestStop_SecondSignalEndsAtOnce: one user who is under way may take the time to drain; a second signal does not wait for
// him. The first one closes the listener and leaves him be.
func TestStop_SecondSignalEndsAtOnce(t *testing.T) {
	t.Parallel()
	s := newTestHost(t)
	p := s.start("pool", strings.Replace(poolFront, "[nts-pool-ke-server]", "[nts-pool-ke-server]\nkey-exchange-timeout-ms = 60000\ndrain-timeout-ms = 60000", 1))
	p.WaitLog("listening on")
	c := dial(t, s.Namespace, "tcp4", "127.0.0.1:4460")
	if _, err := c.Write([]byte{0x16}); err != nil {
		t.Fatal(err)
	}
	eventually(t, suite.Patience, "the connection", func() bool { return open(p) > 0 })
	_ = p.Cmd.Process.Signal(syscall.SIGTERM)
	p.WaitLog("stopping: not ready any more")
	_ = c.SetReadDeadline(time.Now().Add(2 * time.Second))
	if _, err := c.Read(make([]byte, 1)); !os.IsTimeout(err) || !p.Running() {
		t.Errorf("a user under way: %v", err)
	}
	begin := time.Now()
	_ = p.Cmd.Process.Signal(syscall.SIGINT)
	p.Exit()
	if took := time.Since(begin); took > 2*time.Second {
		t.Errorf("ended %v after the second signal", took)
	}
}

// open is how many TCP connections the program has accepted, as the kernel lists them.
func open(p *suite.Proc) (n int) {
	b, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(p.Cmd.Process.Pid), "net", "tcp"))
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 3 && strings.HasSuffix(f[1], ":116C") && f[3] == "01" {
			n++
		}
	}
	return n
}

// TestUpgrade_SystemdSocketActivate: what systemd's own tool passes is understood.
func TestUpgrade_SystemdSocketActivate(t *testing.T) {
	t.Parallel()
	activate, err := exec.LookPath("systemd-socket-activate")
	if err != nil {
		t.Skip("needs systemd-socket-activate")
	}
	s := newTestHost(t)
	s.up(s.start("server", server("server")))
	conf := s.file("pool.toml", observingPool("pool"))
	p := s.Start(activate, "--listen=127.0.0.1:4460", "--fdname=listen", suite.Program(t, "nts-pool-ke"), "-c", conf)
	p.Name = "pool"
	// The first connection is what starts the program, and it is served.
	eventually(t, suite.Patience, "the tool's socket", func() bool { _, err := s.exchange(4460, nil); return err == nil })
	served := func(o *observe.Snapshot) bool { return o.Pool.Outcomes["served"] > 0 } // which is counted after the answer has left
	o := p.WaitSnapshot(s.socket("pool"), "the exchange", served)
	if o.Pool.Listener != "socket unit" || o.Pool.Address != "127.0.0.1:4460" {
		t.Errorf("%+v", o.Pool)
	}
}

// TestUpgrade_OfAnotherUser: pools that root starts, and that become another user once their sockets are open, replace each other
// all the same.
func TestUpgrade_OfAnotherUser(t *testing.T) {
	t.Parallel()
	s := newTestHost(t)
	s.up(s.start("server", server("server")))
	front := observingPool("pool") + "handover-path = \"{dir}/handover\"\n[process]\nuser = \"nobody\"\n"
	old := s.start("pool", front)
	old.WaitLog("changed to the user of the program")
	load := come(s, 2, 4460)
	for range 2 {
		load.more(t, 10)
		next := s.start("pool", front)
		next.WaitLog("took over from the pool before this one")
		next.WaitLog("changed to the user of the program")
		if code := old.Exit(); code != 0 {
			t.Errorf("the predecessor exits with %d", code)
		}
		old = next
	}
	load.more(t, 10)
	load.leave(t)
}
