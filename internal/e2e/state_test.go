package e2e_test

import (
	"bytes"
	"crypto/rand"
	"fmt"
	mrand "math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/nts"
	"ntp-daemon/internal/nts/ke"
	"ntp-daemon/internal/suite"
)

// keySetOf reads a key file as the daemon would.
func keySetOf(path string) (*nts.KeySet, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	set, _, err := nts.UnmarshalKeySet(b, time.Now(), 100)
	return set, err
}

// rotating is a server that has a new cookie key every second.
const rotating = `[observability]
log-format = "console"
[[server]]
listen = "127.0.0.1:%d"
[keyset]
key-rotation-interval = 1
stale-key-count = 100
key-storage-path = %q
[synchronization]
clock-control = false
local-stratum = 2
`

// TestL01_KillDuringKeyRotation: SIGKILL at 200 random moments, half of them while the first key file is written, half
// around a rotation. What is on disk afterwards is always whole and never loses a key.
func TestL01_KillDuringKeyRotation(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("needs root for network namespaces")
	}
	s := newTestHost(t)
	program := suite.Program(t, "ntp-daemon")
	var mu sync.Mutex
	before, after := 0, 0
	kill := func(worker int, delay time.Duration) {
		path := filepath.Join(s.dir, fmt.Sprintf("keys-%d", worker))
		conf := filepath.Join(s.dir, fmt.Sprintf("%d.toml", worker))
		if err := os.WriteFile(conf, fmt.Appendf(nil, rotating, 20000+worker, path), 0o600); err != nil {
			t.Error(err)
			return
		}
		old, _ := os.ReadFile(path)
		cmd := s.Command(program, "-c", conf)
		if err := cmd.Start(); err != nil {
			t.Error(err)
			return
		}
		time.Sleep(delay)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_, err := keySetOf(path)
		now, _ := os.ReadFile(path)
		mu.Lock()
		defer mu.Unlock()
		switch {
		case os.IsNotExist(err) && old == nil:
			before++
			return
		case err != nil:
			t.Errorf("after %v: %v", delay, err)
			return
		}
		after++
		// Keys follow each other newest first: whatever was there before still is.
		if old != nil && !bytes.HasSuffix(now[20:len(now)-32], old[20:len(old)-32]) {
			t.Errorf("after %v: the keys of before are gone", delay)
		}
	}
	const workers, rounds = 20, 5
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			r := mrand.New(mrand.NewPCG(1, uint64(w)))
			for i := range rounds { // the first file
				_ = os.Remove(filepath.Join(s.dir, fmt.Sprintf("keys-%d", w)))
				kill(w, time.Duration(r.Int64N(int64(60+30*i)))*time.Millisecond)
			}
		})
	}
	wg.Wait()
	if before == 0 || after == 0 {
		t.Errorf("%d kills before the first file and %d after it: not spread around its writing", before, after)
	}
	for w := range workers {
		wg.Go(func() {
			r := mrand.New(mrand.NewPCG(2, uint64(w)))
			kill(w, 200*time.Millisecond)
			for range rounds {
				// A second after the file was last written the keys turn.
				kill(w, 300*time.Millisecond+time.Duration(r.Int64N(int64(time.Second))))
			}
		})
	}
	wg.Wait()
	left, _ := filepath.Glob(filepath.Join(s.dir, ".keys-*"))
	if len(left) > workers {
		t.Errorf("%d temporary files left: %v", len(left), left)
	}
	t.Logf("%d kills before the first file was there, %d after; %d temporary files left", before, after, len(left))
}

// TestL01_KillAtEachSystemCall: SIGKILL at each of the system calls that replace the key file.
func TestL01_KillAtEachSystemCall(t *testing.T) {
	t.Parallel()
	needStrace(t)
	s := newTestHost(t)
	path := filepath.Join(s.dir, "keys")
	conf := s.file("a.toml", fmt.Sprintf(rotating, 20100, path))
	const rotation = 1500 * time.Millisecond // longer than one
	start := func(most time.Duration, args ...string) string {
		log := filepath.Join(s.dir, "trace")
		p := s.traced(append(args, "-o", log), conf)
		select {
		case <-p.Done():
		case <-time.After(most):
			stopTraced(t, p)
		}
		b, _ := os.ReadFile(log)
		return string(b)
	}
	start(rotation, "-e", "trace=none") // the first file
	if _, err := keySetOf(path); err != nil {
		t.Fatal(err)
	}
	for _, call := range []string{"fsync", "renameat"} {
		for when := 1; when <= 2; when++ {
			old, _ := os.ReadFile(path)
			most := rotation
			if when == 1 {
				most = 20 * time.Second // every rotation reaches the first, which ends it; a busy machine takes its time
			}
			trace := start(most, "-e", "trace="+call, "-e", fmt.Sprintf("inject=%s:signal=KILL:when=%d", call, when))
			now, _ := os.ReadFile(path)
			if _, err := keySetOf(path); err != nil {
				t.Errorf("killed at %s %d: %v", call, when, err)
			} else if !bytes.HasSuffix(now[20:len(now)-32], old[20:len(old)-32]) {
				t.Errorf("killed at %s %d: keys lost", call, when)
			}
			if when == 1 && !strings.Contains(trace, "SIGKILL") {
				t.Errorf("%s was not reached:\n%s", call, trace)
			}
		}
	}
}

// traced runs the daemon under strace.
func (s *testHost) traced(args []string, conf string) *suite.Proc {
	s.t.Helper()
	args = append([]string{"-f", "-qq"}, args...)
	return s.Start("strace", append(args, suite.Program(s.t, "ntp-daemon"), "-c", conf)...)
}

// stopTraced ends the daemon under strace in order: strace itself hears no signals while it has a child.
func stopTraced(t *testing.T, p *suite.Proc) {
	t.Helper()
	children, err := tracees(p)
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range children {
		_ = syscall.Kill(pid, syscall.SIGTERM)
	}
	p.Exit()
}

// tracees are the processes that strace has started.
func tracees(p *suite.Proc) (list []int, err error) {
	pid := p.Cmd.Process.Pid
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	for _, f := range strings.Fields(string(b)) {
		child, _ := strconv.Atoi(f)
		list = append(list, child)
	}
	return list, err
}

func needStrace(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("needs strace")
	}
}

// TestL02_FullDisk: with no room for a new key file the old one stays whole, one error is logged, everybody is served,
// and the file is written when there is room again.
func TestL02_FullDisk(t *testing.T) {
	t.Parallel()
	s := newTestHost(t)
	disk := filepath.Join(s.dir, "disk")
	if err := os.Mkdir(disk, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", disk, "tmpfs", 0, "size=64k,mode=700"); err != nil {
		t.Skipf("needs to mount a tmpfs: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(disk, unix.MNT_DETACH) })
	srv := s.start("server", server("server", "[keyset]\nkey-rotation-interval = 1\nstale-key-count = 100", "[state]\ndirectory = \"{dir}/disk\""))
	s.up(srv)
	keys := filepath.Join(disk, "keys")
	if _, err := keySetOf(keys); err != nil {
		t.Fatal(err)
	}
	dev, err := os.OpenFile(filepath.Join(disk, "filler"), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{4096, 1} {
		for {
			if _, err := dev.Write(make([]byte, size)); err != nil {
				break
			}
		}
	}
	_ = dev.Close()
	srv.WaitLog(`ERROR.*could not store the cookie keys.*no space`)
	old, err := os.ReadFile(keys)
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(2200 * time.Millisecond) // two more rotations
	now, _ := os.ReadFile(keys)
	if _, err := keySetOf(keys); err != nil || !bytes.Equal(old, now) {
		t.Errorf("the old file changed: %v", err)
	}
	if n := strings.Count(srv.Log(), "could not store"); n != 1 {
		t.Errorf("%d errors, want 1", n)
	}
	if _, err := s.exchange(8080, nil); err != nil {
		t.Errorf("key exchange with a full disk: %v", err)
	}
	if !newAsker(t, s.Namespace, "127.0.0.1:123").ask() {
		t.Error("no NTP with a full disk")
	}
	_ = os.Remove(filepath.Join(disk, "filler"))
	eventually(t, 5*time.Second, "new key file", func() bool {
		now, err := os.ReadFile(keys)
		return err == nil && len(now) > len(old)
	})
	if err := unix.Mount("", disk, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Skipf("needs to remount: %v", err)
	}
	eventually(t, 5*time.Second, "error about a read-only folder", func() bool {
		return strings.Count(srv.Log(), "could not store") == 2
	})
	if !newAsker(t, s.Namespace, "127.0.0.1:123").ask() {
		t.Error("no NTP with a read-only folder")
	}
	calm(t, srv)
}

// TestL02_MissingFolder: without its state folder the daemon says so once and serves.
func TestL02_MissingFolder(t *testing.T) {
	t.Parallel()
	s := newTestHost(t)
	srv := s.start("server", server("server", "[state]\ndirectory = \"{dir}/nowhere/state\""))
	s.up(srv)
	lines := 0
	for line := range strings.Lines(srv.Log()) {
		if strings.Contains(line, "nowhere/state") {
			lines++
		}
	}
	if lines != 1 {
		t.Errorf("%d lines about the folder:\n%s", lines, srv.Log())
	}
	if _, err := s.exchange(8080, nil); err != nil {
		t.Error(err)
	}
}

// secure asks for the time with NTS and says how the answer looked.
func secure(t *testing.T, s *testHost, r *ke.Result) nts.ResponseVerdict {
	t.Helper()
	uid := make([]byte, 32)
	_, _ = rand.Read(uid)
	packet, err := r.Session.AppendRequest(hello(uint64(uid[0])<<8|1), uid, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := dial(t, s.Namespace, "udp4", "127.0.0.1:123")
	defer c.Close()
	if _, err := c.Write(packet); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
	buf := make([]byte, 2048)
	n, err := c.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	var f ntp.Fields
	if err := f.Trailer(buf[:n], 4); err != nil {
		t.Fatal(err)
	}
	return r.Session.OpenResponse(buf[:n], &f, uid)
}

// TestN19_RestartAndRotation: cookies survive restarts of the server, orderly or not, and as many rotations as there
// are stale keys; after that they get a NAK.
func TestN19_RestartAndRotation(t *testing.T) {
	t.Parallel()
	s := newTestHost(t)
	conf := func(rotation int) string {
		return server("server", fmt.Sprintf("[keyset]\nstale-key-count = 2\nkey-rotation-interval = %d\nkey-storage-path = \"{dir}/keys\"", rotation))
	}
	srv := s.start("server", conf(86400))
	s.up(srv)
	r, err := s.exchange(8080, nil)
	if err != nil {
		t.Fatal(err)
	}
	if v := secure(t, s, &r); v != nts.Authentic {
		t.Fatalf("before the restart: %v", v)
	}
	srv.Stop()
	srv = s.start("server", conf(86400))
	s.up(srv)
	if v := secure(t, s, &r); v != nts.Authentic {
		t.Errorf("after a restart: %v", v)
	}
	_ = srv.Cmd.Process.Kill()
	srv.Exit()
	srv = s.start("server", conf(86400))
	s.up(srv)
	if v := secure(t, s, &r); v != nts.Authentic {
		t.Errorf("after kill -9: %v", v)
	}
	srv.Stop()

	srv = s.start("server", conf(1))
	s.up(srv)
	keys := func() string { b, _ := os.ReadFile(filepath.Join(s.dir, "keys")); return string(b) }
	seen := ""
	for seen != keys() { // no turn during the exchange
		seen = keys()
		if r, err = s.exchange(8080, nil); err != nil {
			t.Fatal(err)
		}
	}
	for turn := 1; turn <= 3; {
		eventually(t, 5*time.Second, "rotation", func() bool { return keys() != seen })
		seen = keys()
		v := secure(t, s, &r) // with one of the cookies of the key exchange: the oldest is spent first
		if keys() != seen {
			turn++ // another turn meanwhile: this answer says nothing
			continue
		}
		if want := map[bool]nts.ResponseVerdict{true: nts.Authentic, false: nts.NAK}[turn <= 2]; v != want {
			t.Errorf("after %d rotations with 2 stale keys: %v, want %v", turn, v, want)
		}
		turn++
	}
}

var (
	createCall = regexp.MustCompile(`openat\([^,]+, "([^"]+)", [A-Z_|]*O_CREAT[A-Z_|]*, (0\d+)\)\s+= \d`)
	umaskCall  = regexp.MustCompile(`umask\((0\d*)\)`)
)

// TestX04_ModesDuringCreation follows the system calls of a daemon that starts, rotates its keys and stops: every
// file is made with its final mode, the socket under a umask that is no wider, and no mode is changed afterwards.
func TestX04_ModesDuringCreation(t *testing.T) {
	t.Parallel()
	needStrace(t)
	s := newTestHost(t)
	conf := server("server", "[keyset]\nkey-rotation-interval = 1", "[state]\ndirectory = \"{dir}/state\"")
	conf = strings.Replace(conf, "[observability]", "[observability]\nobservation-permissions = 0o600", 1)
	if err := os.Mkdir(filepath.Join(s.dir, "state"), 0o700); err != nil {
		t.Fatal(err)
	}
	path := s.file("server.toml", conf)
	log := filepath.Join(s.dir, "trace")
	p := s.traced([]string{"-e", "trace=openat,open,creat,bind,umask,chmod,fchmod,fchmodat,mknod,mknodat", "-o", log}, path)
	p.Name = "server"
	s.up(p)
	time.Sleep(1500 * time.Millisecond) // one rotation
	st, err := os.Stat(s.socket("server"))
	if err != nil {
		t.Fatal(err)
	}
	if st.Mode().Perm() != 0o600 {
		t.Errorf("socket has mode %v", st.Mode())
	}
	stopTraced(t, p)
	b, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	trace := string(b)
	files := map[string]bool{}
	for _, m := range createCall.FindAllStringSubmatch(trace, -1) {
		if !strings.HasPrefix(m[1], s.dir) {
			continue
		}
		files[filepath.Base(m[1])] = true
		if m[2] != "0600" {
			t.Errorf("%s made with mode %s", m[1], m[2])
		}
	}
	if !files[".keys.tmp"] {
		t.Errorf("the key file is not among those made: %v", files)
	}
	if regexp.MustCompile(`\b(f?chmod(at2?)?|creat|mknod(at)?)\(`).MatchString(trace) {
		t.Errorf("a mode is changed after creation:\n%s", trace)
	}
	mask, bound := "", false
	for line := range strings.SplitSeq(trace, "\n") {
		if m := umaskCall.FindStringSubmatch(line); m != nil {
			mask = m[1]
		}
		if strings.Contains(line, "bind(") && strings.Contains(line, "server.sock") {
			bound = true
			if mask != "0177" {
				t.Errorf("socket bound under umask %q", mask)
			}
		}
	}
	if !bound {
		t.Error("no bind of the socket in the trace")
	}
}
