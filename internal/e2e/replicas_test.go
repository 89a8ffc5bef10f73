package e2e_test

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"ntp-daemon/internal/nts/ke"
	"ntp-daemon/internal/observe"
	"ntp-daemon/internal/suite"
)

// replica is the configuration of one of several pools that share a folder: certificate, key, authority, list with tokens. Its
// own are its addresses and its observation socket.
func replica(n int, more string) string {
	return fmt.Sprintf(`
[observability]
log-format = "console"
observation-path = "{dir}/replica%[1]d.sock"
[nts-pool-ke-server]
listen = "127.0.0.1:447%[1]d"
admin-listen = "127.0.0.1:947%[1]d"
certificate-authority-path = "{dir}/shared/testca.pem"
certificate-chain-path = "{dir}/shared/end.fullchain.pem"
private-key-path = "{dir}/shared/end.key"
key-exchange-servers = [{ domain = "localhost", port = 8080, token-file = "{dir}/shared/token" }]
%[2]s`, n, more)
}

// share fills the folder that the replicas have in common, and returns what it holds, by name.
func (s *testHost) share(t *testing.T) {
	t.Helper()
	if err := os.Mkdir(filepath.Join(s.dir, "shared"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"testca.pem", "end.fullchain.pem", "end.key"} {
		b, err := os.ReadFile(filepath.Join(suite.Root(), "test-keys", name))
		if err != nil {
			t.Fatal(err)
		}
		suite.WriteFile(t, filepath.Join(s.dir, "shared", name), string(b))
	}
	suite.WriteFile(t, filepath.Join(s.dir, "shared", "token"), poolToken+"\n")
}

// shared is what the folder holds: names, times of change and sums.
func (s *testHost) shared(t *testing.T) (text string) {
	t.Helper()
	err := filepath.Walk(filepath.Join(s.dir, "shared"), func(path string, st os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		b, _ := os.ReadFile(path) // none of the folder itself
		text += fmt.Sprintf("%s %v %x\n", path, st.ModTime(), sha256.Sum256(b))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// replica starts one, to which the shared folder is a file system that cannot be written.
func (s *testHost) replica(n int, more string) *suite.Proc {
	s.t.Helper()
	path := s.file(fmt.Sprintf("replica%d.toml", n), replica(n, more))
	folder := filepath.Join(s.dir, "shared")
	// ip netns exec has made a mount namespace for this one.
	cmd := s.Command("sh", "-ec", `mount --bind "$0" "$0"; mount -o remount,bind,ro "$0"; ! touch "$0/x" 2>/dev/null; exec "$1" -c "$2"`,
		folder, suite.Program(s.t, "nts-pool-ke"), path)
	p := suite.StartCmd(s.t, cmd)
	p.Name = fmt.Sprintf("replica%d", n)
	p.WaitLog("listening on")
	return p
}

// from is one exchange of a user with that source address.
func (s *testHost) from(source, address string) error {
	_, err := s.exchange(4460, func(c *ke.ClientConfig) {
		c.Dial = func(ctx context.Context, _, _ string) (conn net.Conn, err error) {
			inside(s.t, s.Namespace, func() error {
				d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}}
				conn, err = d.DialContext(ctx, "tcp4", address)
				return nil
			})
			return conn, err
		}
	})
	return err
}

// TestReplicas_OneIsKilled: three pools that share a folder which none of them writes; one is killed under load and comes back. An
// exchange that it had under way fails, once, and succeeds with the next replica; nobody else notices anything.
func TestReplicas_OneIsKilled(t *testing.T) {
	t.Parallel()
	const replicas, threads, victim = 3, 6, 1
	s := newTestHost(t)
	s.share(t)
	before := s.shared(t)
	s.up(s.start("server", server("server")))
	var procs [replicas]*suite.Proc
	for n := range procs {
		procs[n] = s.replica(n, "connections-per-client = 0\n")
	}
	var served, lost, refused atomic.Int64 // lost: an exchange that the victim had under way
	var wait sync.WaitGroup
	end := make(chan struct{})
	for thread := range threads {
		wait.Go(func() {
			for first := thread; ; first++ {
				select {
				case <-end:
					return
				default:
				}
				for try := 0; ; try++ {
					n := (first + try) % replicas
					err := s.from("127.0.0.1", fmt.Sprintf("127.0.0.1:447%d", n))
					if err == nil {
						served.Add(1)
						break
					}
					switch {
					case n != victim:
						t.Errorf("replica %d, which lives: %v", n, err)
					case strings.Contains(err.Error(), "refused"):
						refused.Add(1)
					default:
						lost.Add(1)
					}
					if try > 0 {
						t.Errorf("the retry fails, too: %v", err)
						break
					}
				}
			}
		})
	}
	more := func(n int64) {
		t.Helper()
		want := served.Load() + n
		eventually(t, suite.Patience, "more users", func() bool { return served.Load() >= want || t.Failed() })
	}
	more(60)
	_ = procs[victim].Cmd.Process.Kill()
	procs[victim].Exit()
	more(60)
	if refused.Load() == 0 {
		t.Error("nobody noticed that one is gone: the test shows nothing")
	}
	procs[victim] = s.replica(victim, "connections-per-client = 0\n")
	after := served.Load()
	more(60)
	o := suite.Snapshot(s.socket(fmt.Sprintf("replica%d", victim)))
	if o == nil || o.Pool.Outcomes["served"] == 0 {
		t.Errorf("none of %d users was served by the replica that came back: %+v", served.Load()-after, o)
	}
	close(end)
	wait.Wait()
	if n := lost.Load(); n > threads {
		t.Errorf("%d exchanges were lost, %d users were there at a time", n, threads)
	}
	t.Logf("%d users served, %d exchanges lost with the replica, %d tries refused while it was away", served.Load(), lost.Load(), refused.Load())
	for n, p := range procs {
		o := suite.Snapshot(s.socket(p.Name))
		if o == nil {
			t.Errorf("%s cannot be seen", p.Name)
			continue
		}
		for what, count := range o.Pool.Outcomes {
			if n != victim && what != "served" && count > 0 {
				t.Errorf("%s: %d users ended with %s", p.Name, count, what)
			}
		}
		calm(t, p)
	}
	if after := s.shared(t); after != before {
		t.Errorf("the shared folder was\n%snow it is\n%s", before, after)
	}
}

// haproxy is the program that scripts/peers.sh unpacked.
func haproxy(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("NTPD_PEERS")
	if dir == "" {
		t.Skip("needs haproxy: run `make interop`, or set NTPD_PEERS to what scripts/peers.sh unpacked")
	}
	path := filepath.Join(dir, "haproxy/usr/sbin/haproxy")
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("NTPD_PEERS is set, but: %v", err)
	}
	return path
}

// TestInterop_HAProxy: the example of docs/pool-operations.md, run: Debian's haproxy with PROXY v2 and checks of readiness in
// front of two replicas. They tell the users' networks apart, and each can be restarted in turn without a failed exchange; the
// checks count as no user's failure.
func TestInterop_HAProxy(t *testing.T) {
	program := haproxy(t)
	t.Parallel()
	s := newTestHost(t)
	s.share(t)
	s.up(s.start("server", server("server")))
	const more = "connections-per-client = 2\ndrain-delay-ms = 1500\nproxy-protocol = { trusted-peers = [\"127.0.0.0/8\"] }\n"
	replicas := [2]*suite.Proc{s.replica(0, more), s.replica(1, more)}
	conf := filepath.Join(s.dir, "haproxy.cfg")
	suite.WriteFile(t, conf, strings.NewReplacer("192.0.2.10:4460", "127.0.0.1:4460",
		"192.0.2.21:4460 send-proxy-v2 check port 9976", "127.0.0.1:4470 send-proxy-v2 check port 9470",
		"192.0.2.22:4460 send-proxy-v2 check port 9976", "127.0.0.1:4471 send-proxy-v2 check port 9471").Replace(exampleOf(t, "haproxy")))
	front := s.Start(program, "-f", conf, "-db")
	front.Name = "haproxy"
	const users = "127.0.0.1:4460"
	front.Until("a user through haproxy", func() bool { return s.from("127.0.1.1", users) == nil })

	// Two connections of one network at each replica, and no more; others are not concerned.
	var held []net.Conn
	for range 2 * len(replicas) {
		held = append(held, s.hold(t, "127.0.2.1", users))
	}
	eventually(t, suite.Patience, "four connections that are held", func() bool { return s.from("127.0.2.1", users) != nil })
	for range 4 {
		if err := s.from("127.0.2.1", users); err == nil {
			t.Error("a network that is at its limit is served")
		}
		if err := s.from("127.0.2.2", users); err != nil {
			t.Errorf("its neighbour: %v", err)
		}
	}
	closeAll(held)
	eventually(t, suite.Patience, "the network is served again", func() bool { return s.from("127.0.2.1", users) == nil })

	// Users of different networks, one connection each, while the replicas are restarted.
	var served atomic.Int64
	var wait sync.WaitGroup
	end := make(chan struct{})
	for thread := range 4 {
		wait.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-end:
					return
				default:
				}
				if err := s.from(fmt.Sprintf("127.0.%d.%d", 10+thread, n%200+1), users); err != nil {
					t.Errorf("user %d of thread %d: %v", n, thread, err)
					return
				}
				served.Add(1)
			}
		})
	}
	for n, p := range replicas {
		want := served.Load() + 50
		eventually(t, suite.Patience, "users", func() bool { return served.Load() >= want || t.Failed() })
		_ = p.Cmd.Process.Signal(syscall.SIGTERM)
		if code := p.Exit(); code != 0 {
			t.Errorf("%s: exit %d", p.Name, code)
		}
		replicas[n] = s.replica(n, more)
		replicas[n].WaitSnapshot(s.socket(p.Name), "users of the new one", func(o *observe.Snapshot) bool { return o.Pool.Outcomes["served"] > 10 || t.Failed() })
	}
	close(end)
	wait.Wait()
	t.Logf("%d users served", served.Load())
	for _, p := range replicas {
		o := suite.Snapshot(s.socket(p.Name))
		if o == nil {
			t.Errorf("%s cannot be seen", p.Name)
			continue
		}
		for what, count := range o.Pool.Outcomes {
			if what != "served" && what != "health_check" && count > 0 {
				t.Errorf("%s: %d users ended with %s", p.Name, count, what)
			}
		}
	}
}

// hold opens a connection to the pool that has spoken TLS and says nothing more.
func (s *testHost) hold(t *testing.T, source, address string) net.Conn {
	t.Helper()
	var conn net.Conn
	inside(t, s.Namespace, func() (err error) {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}, Timeout: 5 * time.Second}
		conn, err = d.Dial("tcp4", address)
		return err
	})
	t.Cleanup(func() { _ = conn.Close() })
	if err := tls.Client(conn, ke.ClientTLS("localhost", testRoots(t), nil)).HandshakeContext(t.Context()); err != nil {
		t.Fatalf("%s: %v", source, err)
	}
	return conn
}

// exampleOf is the block of that language in docs/pool-operations.md.
func exampleOf(t *testing.T, language string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(suite.Root(), "docs/pool-operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, block, found := strings.Cut(string(b), "\n```"+language+"\n")
	block, _, closed := strings.Cut(block, "\n```")
	if !found || !closed {
		t.Fatalf("docs/pool-operations.md has no block of %s", language)
	}
	return block + "\n"
}

// TestInterop_HAProxyChecks: none of the ways in which haproxy looks whether a replica is there counts as a user's failure or
// fills the log.
func TestInterop_HAProxyChecks(t *testing.T) {
	program := haproxy(t)
	t.Parallel()
	s := newTestHost(t)
	s.share(t)
	p := s.replica(0, "proxy-protocol = { trusted-peers = [\"127.0.0.0/8\"] }\n")
	conf := "defaults\n    mode tcp\n    timeout connect 1s\n    timeout client 1s\n    timeout server 1s\nfrontend unused\n    bind 127.0.0.1:4499\n"
	for name, check := range map[string]string{"header": "check", "bare": "check check port 4470", "tls": "check check-ssl verify none", "alpn": "check check-ssl verify none check-alpn ntske/1"} {
		conf += fmt.Sprintf("backend %s\n    server a 127.0.0.1:4470 send-proxy-v2 %s inter 100ms\n", name, check)
	}
	path := filepath.Join(s.dir, "haproxy.cfg")
	suite.WriteFile(t, path, conf)
	front := s.Start(program, "-f", path, "-db")
	front.Name = "haproxy"
	o := p.WaitSnapshot(s.socket(p.Name), "health checks", func(o *observe.Snapshot) bool { return o.Pool.Outcomes["health_check"] >= 40 })
	for what, count := range o.Pool.Outcomes {
		if what != "health_check" && count > 0 {
			t.Errorf("%d ended with %s", count, what)
		}
	}
	if strings.Contains(p.Log(), "refused") {
		t.Error("the log speaks of refusals")
	}
}
