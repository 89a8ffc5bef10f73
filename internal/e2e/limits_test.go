package e2e_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ntp-daemon/internal/suite"
)

// TestL06_ResourceLimits: under a limit the programs either serve, quietly and without spinning, or end at once with
// the limit named; never with a stack trace.
func TestL06_ResourceLimits(t *testing.T) {
	t.Parallel()
	type row struct {
		name    string
		limits  []string
		program string
		serves  bool
		says    string
	}
	rows := []row{
		{"NOFILE-16-server", []string{"--nofile=16"}, "server", true, ""},
		{"NOFILE-32-server", []string{"--nofile=32"}, "server", true, ""},
		{"NOFILE-16-pool", []string{"--nofile=16"}, "pool", true, ""},
		{"NOFILE-32-pool", []string{"--nofile=32"}, "pool", true, ""},
		{"NOFILE-8-server", []string{"--nofile=8"}, "server", false, "RLIMIT_NOFILE leaves 8"},
		{"NOFILE-8-pool", []string{"--nofile=8"}, "pool", false, "RLIMIT_NOFILE leaves 8"},
		{"AS-1-GB-server", []string{"--as=1073741824"}, "server", false, "RLIMIT_AS leaves 1073741824"},
		{"AS-1-GB-pool", []string{"--as=1073741824"}, "pool", false, "RLIMIT_AS leaves 1073741824"},
		{"AS-2-GB-server", []string{"--as=2147483648"}, "server", true, ""},
		{"AS-2-GB-pool", []string{"--as=2147483648"}, "pool", true, ""},
		{"NPROC-8-server", []string{"--nproc=8"}, "server", false, "RLIMIT_NPROC leaves 8"},
		{"NPROC-8-pool", []string{"--nproc=8"}, "pool", false, "RLIMIT_NPROC leaves 8"},
		{"NPROC-100-server", []string{"--nproc=100"}, "server", true, ""},
	}
	if suite.EarlyLimits && !suite.Race { // these two limits end the Go runtime itself
		space := "RLIMIT_AS leaves less than the 1536 MB that are needed; raise it with LimitAS= or ulimit -v, and limit memory with MemoryMax= instead\n"
		threads := "RLIMIT_NPROC leaves less than 6 threads; raise it with LimitNPROC= or ulimit -u\n"
		for i := range rows {
			if strings.HasPrefix(rows[i].name, "AS-1-GB") {
				rows[i].says = space
			}
		}
		// Below some 30 MB the kernel cannot even map the program, and kills it.
		for _, mb := range []int{64, 128, 256, 512, 900, 1200, 1300, 1535} {
			limit := fmt.Sprintf("--as=%d", mb<<20)
			rows = append(rows, row{fmt.Sprintf("AS-%d-MB-server", mb), []string{limit}, "server", false, "ntp-daemon: " + space},
				row{fmt.Sprintf("AS-%d-MB-pool", mb), []string{limit}, "pool", false, "nts-pool-ke: " + space})
		}
		for n := 1; n < 6; n++ {
			rows = append(rows, row{fmt.Sprintf("NPROC-%d-server", n), []string{fmt.Sprintf("--nproc=%d", n)}, "server", false, threads})
		}
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			s := newTestHost(t)
			conf := map[string]string{"server": strings.Replace(plainServer("server", ""), ":123", ":1123", 1), "pool": poolFront}[row.program]
			var p *suite.Proc
			if strings.HasPrefix(row.name, "NPROC") {
				p = s.unprivileged(row.limits, row.program, conf)
			} else {
				p = s.limited(row.limits, row.program, conf)
			}
			defer calm(t, p)
			if !row.serves {
				if code := p.Exit(); code < 69 || code > 71 || !strings.Contains(p.Log(), row.says) {
					t.Errorf("exit %d, %q; want 69 to 71 and %q", code, p.Log(), row.says)
				}
				return
			}
			serve := func() {
				t.Helper()
				if row.program == "pool" {
					c := dial(t, s.Namespace, "tcp4", "127.0.0.1:4460")
					_, _ = c.Write([]byte("GET / HTTP/1.1\r\n\r\n"))
					_ = c.SetReadDeadline(time.Now().Add(4 * time.Second))
					if _, err := io.Copy(io.Discard, c); err != nil && strings.Contains(err.Error(), "timeout") {
						t.Errorf("nobody serves: %v", err)
					}
					return
				}
				a := newAsker(t, s.Namespace, "127.0.0.1:1123")
				eventually(t, 5*time.Second, "answer", a.ask)
			}
			if row.program == "pool" {
				p.WaitLog("listening on")
			} else {
				s.up(p)
			}
			serve()
			before := use(t, p).cpu
			time.Sleep(time.Second) // the time in which CPU use is measured
			if spent := use(t, p).cpu - before; spent > 50*time.Millisecond {
				t.Errorf("%v of CPU time in an idle second", spent)
			}
			serve()
		})
	}
}

// uidSerial makes user ids: RLIMIT_NPROC counts all threads of a user.
var uidSerial atomic.Int32

// unprivileged runs the program as a user who is nobody else's.
func (s *testHost) unprivileged(limits []string, name, config string) *suite.Proc {
	s.t.Helper()
	bin := filepath.Join(s.dir, program(name))
	b, err := os.ReadFile(suite.Program(s.t, program(name)))
	if err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(bin, b, 0o755); err != nil {
		s.t.Fatal(err)
	}
	for _, f := range []string{"end.fullchain.pem", "end.key", "testca.pem"} {
		b, err := os.ReadFile(filepath.Join(suite.Root(), "test-keys", f))
		if err != nil {
			s.t.Fatal(err)
		}
		suite.WriteFile(s.t, filepath.Join(s.dir, f), string(b))
	}
	uid := 20000 + int(uidSerial.Add(1))
	path := s.file(name+".toml", strings.ReplaceAll(config, "{keys}", s.dir))
	files, err := os.ReadDir(s.dir)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, f := range files {
		_ = os.Chown(filepath.Join(s.dir, f.Name()), uid, uid)
	}
	_ = os.Chown(s.dir, uid, uid)
	id := fmt.Sprint(uid)
	args := append(append([]string{}, limits...), "--", "setpriv", "--reuid", id, "--regid", id, "--clear-groups", bin, "-c", path)
	p := s.Start("prlimit", args...)
	p.Name = name
	return p
}

// TestL10_ReadyWhenServing: the service manager hears READY=1 when the sockets are open, not before: a request sent at
// that moment is answered by NTP and by the key exchange.
func TestL10_ReadyWhenServing(t *testing.T) {
	t.Parallel()
	s := newTestHost(t)
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: filepath.Join(s.dir, "notify")})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	a := newAsker(t, s.Namespace, "127.0.0.1:123")
	cmd := s.Command(suite.Program(t, "ntp-daemon"), "-c", s.file("server.toml", server("server")))
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+filepath.Join(s.dir, "notify"))
	p := suite.StartCmd(t, cmd)
	_ = manager.SetReadDeadline(time.Now().Add(suite.Patience))
	buf := make([]byte, 1000)
	n, err := manager.Read(buf)
	if err != nil || !strings.Contains(string(buf[:n]), "READY=1") {
		t.Fatalf("%q, %v", buf[:n], err)
	}
	if _, err := a.c.Write(hello(1)); err != nil {
		t.Fatal(err)
	}
	_ = a.c.SetReadDeadline(time.Now().Add(suite.Patience))
	if n, err := a.c.Read(buf); err != nil || n != 48 {
		t.Errorf("%d bytes, %v: not answered at once", n, err)
	}
	if _, err := s.exchange(8080, nil); err != nil {
		t.Error(err)
	}
	calm(t, p)
}
