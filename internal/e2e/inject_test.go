//go:build !race

// The programs under strace are the same in both halves of `make test`; one is enough.

package e2e_test

import (
	"bytes"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"ntp-daemon/internal/suite"
)

// injected runs a program under strace, which makes some of its system calls fail. What is not named is not stopped.
func (s *testHost) injected(name, config string, rules ...string) (p *suite.Proc, trace func() string) {
	s.t.Helper()
	log := filepath.Join(s.dir, name+".trace")
	args := []string{"-f", "-qq", "--seccomp-bpf", "-o", log}
	for _, r := range rules {
		args = append(args, "-e", r)
	}
	args = append(args, suite.Program(s.t, program(name)), "-c", s.file(name+".toml", config))
	p = s.Start("strace", args...)
	p.Name = name
	return p, func() string {
		b, _ := os.ReadFile(log)
		return string(b)
	}
}

// inject is the rule that makes the first and then every step-th of the calls fail.
func inject(call, errno string, first, step int) []string {
	return []string{"trace=" + call, fmt.Sprintf("inject=%s:error=%s:when=%d+%d", call, errno, first, step)}
}

// TestL01_KillAtRandomSystemCalls: SIGKILL at random system calls of a daemon that turns its keys every second.
// Afterwards the state is whole, no key is lost, and a daemon started on it finds no fault.
func TestL01_KillAtRandomSystemCalls(t *testing.T) {
	t.Parallel()
	needStrace(t)
	s := newTestHost(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	const workers, rounds = 4, 9
	var mu sync.Mutex
	struck := map[string]int{}
	var all sync.WaitGroup
	for w := range workers {
		state := filepath.Join(s.dir, fmt.Sprintf("state-%d", w))
		if err := os.Mkdir(state, 0o700); err != nil {
			t.Fatal(err)
		}
		conf := s.file(fmt.Sprintf("kill-%d.toml", w), fmt.Sprintf(rotating, 20200+w, filepath.Join(state, "keys"))+
			fmt.Sprintf("[state]\ndirectory = %q\n", state))
		all.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(w)))
			for range rounds {
				if call := killOnce(t, s, r, conf, state); call != "" {
					mu.Lock()
					struck[call]++
					mu.Unlock()
				}
			}
		})
	}
	all.Wait()
	for w := range workers {
		p := s.Start(suite.Program(t, "ntp-daemon"), "-c", filepath.Join(s.dir, fmt.Sprintf("kill-%d.toml", w)))
		eventually(t, suite.Patience, "a rotation", func() bool {
			info, err := os.Stat(filepath.Join(s.dir, fmt.Sprintf("state-%d", w), "keys"))
			return err == nil && time.Since(info.ModTime()) < 500*time.Millisecond
		})
		p.Stop()
		if regexp.MustCompile(`(WARN|ERROR).*(state|key)`).MatchString(p.Log()) {
			t.Errorf("worker %d: the state is not whole:\n%s", w, p.Log())
		}
	}
	n := 0
	for _, k := range struck {
		n += k
	}
	t.Logf("%d kills in mid-call: %v", n, struck)
	if n == 0 { // strace counts for each thread, so that many a run ends without
		t.Errorf("none of %d runs was killed in a call", workers*rounds)
	}
}

// killCalls are the calls at which a daemon is killed, and up to which one: strace counts for each thread.
var killCalls = []struct {
	calls string
	most  int
}{
	{"openat", 4}, {"write", 3}, {"fsync", 3}, {"renameat", 2}, {"close", 6}, {"newfstatat,fstat", 4}, {"fcntl,flock", 8}, {"read", 6},
	{"all", 150},
}

// killOnce runs the daemon until the injected kill, or one rotation long, and checks the keys. It returns the call.
func killOnce(t *testing.T, s *testHost, r *rand.Rand, conf, state string) string {
	t.Helper()
	pick := killCalls[r.IntN(len(killCalls))]
	when := 1 + r.IntN(pick.most)
	keys := filepath.Join(state, "keys")
	old, _ := os.ReadFile(keys)
	p := s.traced([]string{"-o", os.DevNull, "-e", fmt.Sprintf("inject=%s:signal=KILL:when=%d", pick.calls, when)}, conf)
	killed := true
	select {
	case <-p.Done():
	case <-time.After(1800 * time.Millisecond): // a rotation, slowed by strace
		killed = false
		if children, err := tracees(p); err == nil { // else it has just ended
			for _, pid := range children {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
		_ = p.Cmd.Process.Kill()
		<-p.Done()
	}
	now, _ := os.ReadFile(keys)
	switch _, err := keySetOf(keys); {
	case os.IsNotExist(err) && old == nil:
	case err != nil:
		t.Errorf("killed at %s %d: %v", pick.calls, when, err)
	case old != nil && !bytes.HasSuffix(now[20:len(now)-32], old[20:len(old)-32]):
		t.Errorf("killed at %s %d: keys lost", pick.calls, when)
	}
	if !killed {
		return ""
	}
	return pick.calls
}

// TestS20_InjectedSendErrors: answers that the kernel refuses to send are lost and counted, the others go; nothing is
// logged and nothing ends. EINTR loses nothing.
func TestS20_InjectedSendErrors(t *testing.T) {
	t.Parallel()
	needStrace(t)
	for _, errno := range []string{"ENOBUFS", "EPERM", "EAGAIN", "EINVAL", "EMSGSIZE", "ENETUNREACH", "EINTR"} {
		t.Run(errno, func(t *testing.T) {
			t.Parallel()
			s := newTestHost(t)
			p, trace := s.injected("server", server("server"), inject("sendmmsg", errno, 2, 3)...)
			s.up(p)
			p.WaitLog("NTS key exchange listening")
			a := newAsker(t, s.Namespace, "127.0.0.1:123")
			answered := 0
			const asked = 6 // the 2nd and 5th are refused
			for range asked {
				if a.ask() {
					answered++
				}
			}
			refused := strings.Count(trace(), "INJECTED")
			lost := refused
			if errno == "EINTR" {
				lost = 0
			}
			// An answer may be too late for a busy machine, so those that left are counted where they left.
			if refused < 2 || answered > asked-lost || answered < asked/2 {
				t.Errorf("%d of %d answered, %d sends refused", answered, asked, refused)
			}
			snap := suite.Snapshot(s.socket("server"))
			if snap == nil || snap.Servers[0].Stats.SendErrors != uint64(lost) || snap.Servers[0].Stats.Accepted != asked {
				t.Errorf("snapshot %+v, want %d send errors", snap, lost)
			}
			if strings.Contains(p.Log(), "WARN") || strings.Contains(p.Log(), "ERROR") {
				t.Errorf("logged %q", p.Log())
			}
			calm(t, p)
			stopTraced(t, p)
		})
	}
}

// TestC31_InjectedErrors: sockets that cannot be had, and addresses that cannot be reached, cost a client those polls
// and a line for each outage; it goes on measuring.
func TestC31_InjectedErrors(t *testing.T) {
	t.Parallel()
	needStrace(t)
	for _, row := range []struct {
		call, errno string
		every       int // about as many calls as make two exchanges
	}{
		{"connect", "EPERM", 2}, {"connect", "EADDRNOTAVAIL", 2}, {"socket", "EMFILE", 2}, {"socket", "ENOBUFS", 2}, {"recvmmsg", "ENOMEM", 7},
	} {
		t.Run(row.call+" "+row.errno, func(t *testing.T) {
			t.Parallel()
			s := newTestHost(t)
			s.up(s.start("server", plainServer("server", "")))
			// Not the first: the observation socket and the look at the network's interfaces come before.
			p, trace := s.injected("client", client("client", "server", "127.0.0.1:123"), inject(row.call, row.errno, 4, row.every)...)
			s.up(p)
			eventually(t, suite.Patience, "four faults", func() bool { return strings.Count(trace(), "INJECTED") >= 4 })
			eventually(t, suite.Patience, "good polls among the last eight", func() bool {
				o := suite.Snapshot(s.socket("client"))
				return o != nil && len(o.Sources) == 1 && bits.OnesCount8(o.Sources[0].Reach) >= 3
			})
			calm(t, p)
			if n := strings.Count(p.Log(), "could not be sent"); n > strings.Count(trace(), "INJECTED") {
				t.Errorf("%d lines:\n%s", n, p.Log())
			}
			stopTraced(t, p)
		})
	}
}

// TestKS14_InjectedAcceptErrors: connections that cannot be accepted or answered are lost; those after them are served,
// by the key exchange server and by the pool.
func TestKS14_InjectedAcceptErrors(t *testing.T) {
	t.Parallel()
	needStrace(t)
	for _, errno := range []string{"EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "ECONNABORTED", "EPERM", "EPROTO", "EINTR"} {
		t.Run(errno, func(t *testing.T) {
			t.Parallel()
			s := newTestHost(t)
			srv, traced := s.injected("server", server("server"), inject("accept4", errno, 2, 3)...)
			s.up(srv)
			pool, pooled := s.injected("pool", poolFront, inject("accept4", errno, 2, 3)...)
			pool.WaitLog("listening on")
			faults := func(trace string) int { return strings.Count(trace, "INJECTED") }
			rounds := 0 // strace counts for each thread, so it takes a few
			for ; rounds < 4 || rounds < 50 && (faults(traced()) < 2 || faults(pooled()) < 2); rounds++ {
				for _, port := range []int{8080, 4460} {
					if _, err := s.exchange(port, nil); err != nil {
						t.Errorf("port %d: %v", port, err)
					}
				}
			}
			for name, n := range map[string]int{"server": faults(traced()), "pool": faults(pooled())} {
				if n < 2 || n > 10*rounds {
					t.Errorf("%s: %d faults in %d rounds, want some and no busy loop", name, n, rounds)
				}
			}
			for _, p := range []*suite.Proc{srv, pool} {
				calm(t, p)
				stopTraced(t, p)
			}
		})
	}
}

// TestP05_InjectedUpstreamErrors: when the pool has no socket for its time source the user gets an error, not silence,
// and the next user is served.
func TestP05_InjectedUpstreamErrors(t *testing.T) {
	t.Parallel()
	needStrace(t)
	for _, row := range []struct{ call, errno string }{
		{"connect", "EADDRNOTAVAIL"}, {"connect", "ENETUNREACH"}, {"connect", "EPERM"}, {"socket", "EMFILE"}, {"socket", "ENOBUFS"},
	} {
		t.Run(row.call+" "+row.errno, func(t *testing.T) {
			t.Parallel()
			s := newTestHost(t)
			// No connection is kept, so every user needs a new one. The first sockets are those of the start.
			s.up(s.start("server", strings.Replace(server("server"), "key-exchange-timeout-ms", "longlived-connections = 0\nkey-exchange-timeout-ms", 1)))
			pool, trace := s.injected("pool", poolFront, inject(row.call, row.errno, 4, 4)...)
			pool.WaitLog("listening on")
			good, bad := 0, 0
			for range 16 {
				switch _, err := s.exchange(4460, nil); {
				case err == nil:
					good++
				case strings.Contains(err.Error(), "timeout"), strings.Contains(err.Error(), "deadline"):
					t.Errorf("silence: %v", err)
				default:
					bad++
				}
			}
			t.Logf("%d served, %d refused, %d faults", good, bad, strings.Count(trace(), "INJECTED"))
			if good < 3 || !strings.Contains(trace(), "INJECTED") {
				t.Errorf("%d served and %d refused:\n%s", good, bad, pool.Log())
			}
			calm(t, pool)
			stopTraced(t, pool)
		})
	}
}

// TestL02_ErrorAtEachWrite: whichever step of replacing a state file fails, the old file stays whole, one error is
// logged, everybody is served, and the next rotation that may write does.
func TestL02_ErrorAtEachWrite(t *testing.T) {
	t.Parallel()
	needStrace(t)
	for _, row := range []struct{ call, errno string }{
		{"openat", "ENOSPC"}, {"openat", "EROFS"}, {"openat", "EMFILE"}, {"write", "ENOSPC"}, {"write", "EIO"}, {"write", "EDQUOT"},
		{"fsync", "EIO"}, {"fsync", "ENOSPC"}, {"renameat", "ENOSPC"}, {"renameat", "EROFS"}, {"close", "EIO"},
	} {
		t.Run(row.call+" "+row.errno, func(t *testing.T) {
			t.Parallel()
			s := newTestHost(t)
			state := filepath.Join(s.dir, "state")
			if err := os.Mkdir(state, 0o700); err != nil {
				t.Fatal(err)
			}
			keys := filepath.Join(state, "keys")
			conf := server("server", "[keyset]\nkey-rotation-interval = 1\nstale-key-count = 100", "[state]\ndirectory = \"{dir}/state\"")
			first := s.start("server", conf)
			s.up(first)
			first.Stop()
			whole := func(old []byte) []byte {
				now, _ := os.ReadFile(keys)
				if _, err := keySetOf(keys); err != nil || old != nil && !bytes.HasSuffix(now[20:len(now)-32], old[20:len(old)-32]) {
					t.Fatalf("the key file is not what it was or longer: %v", err)
				}
				return now
			}
			old := whole(nil)
			log := filepath.Join(s.dir, "trace")
			// Only calls about the temporary file are looked at: the log must go on. Strace counts for each thread.
			p := s.traced([]string{
				"-o", log, "-P", filepath.Join(state, ".keys.tmp"), "-e", "inject=" + row.call + ":error=" + row.errno + ":when=1",
			}, s.file("server.toml", conf))
			p.Name = "server"
			s.up(p)
			p.WaitLog("could not store the cookie keys")
			if now := whole(old); len(now) != len(old) {
				t.Errorf("%d bytes, %d before the failed rotation", len(now), len(old))
			}
			if _, err := s.exchange(8080, nil); err != nil || !newAsker(t, s.Namespace, "127.0.0.1:123").ask() {
				t.Errorf("not served after the failure: %v", err)
			}
			eventually(t, suite.Patience, "a stored rotation", func() bool { return len(whole(old)) > len(old) })
			b, _ := os.ReadFile(log)
			if said, faults := strings.Count(p.Log(), "could not store"), strings.Count(string(b), "INJECTED"); said > faults {
				t.Errorf("%d errors logged for %d faults", said, faults)
			}
			calm(t, p)
			stopTraced(t, p)
			left, _ := filepath.Glob(filepath.Join(state, ".keys.tmp"))
			if len(left) != 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}
