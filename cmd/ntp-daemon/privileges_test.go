package main_test

import (
	"debug/elf"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"ntp-daemon/internal/suite"
)

// capabilities returns what /proc tells of the sets of a process, and whether it may regain any.
func capabilities(t *testing.T, p *suite.Proc) string {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, m := range regexp.MustCompile(`(?m)^(CapPrm|CapEff|CapBnd|CapAmb|NoNewPrivs):\s*0*([0-9a-f]+)$`).FindAllStringSubmatch(string(status), -1) {
		list = append(list, m[1]+" "+m[2])
	}
	return strings.Join(list, ", ")
}

// TestPrivileges: started by root, the programs keep what they need and nothing else: a daemon that does not steer the
// machine's clock may bind ports (capability 10), not set the clock (25); a pool may do nothing. Both say at the start
// which files a reload could not read.
func TestPrivileges(t *testing.T) {
	if runtime.GOOS != "linux" || os.Geteuid() != 0 || suite.Race {
		t.Skip("skipped: needs root, and programs without cgo")
	}
	foreign := t.TempDir() // a folder that its owner alone may enter, as ACME clients have
	suite.WriteFile(t, filepath.Join(foreign, "tokens"), "a token of the operator\n")
	for _, name := range []string{"end.fullchain.pem", "end.key", "testca.pem"} {
		b, err := os.ReadFile(filepath.Join(suite.Root(), "test-keys", name))
		if err != nil {
			t.Fatal(err)
		}
		suite.WriteFile(t, filepath.Join(foreign, name), string(b))
	}
	if err := os.Chown(foreign, 1000, 1000); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(foreign, 0o700); err != nil {
		t.Fatal(err)
	}
	const unreadable = "a reload will not be able to"

	const onlyPorts = "CapPrm 400, CapEff 400, CapBnd 400, CapAmb 0, NoNewPrivs 1"
	p, dir := suite.Daemon(t, island(t)+fmt.Sprintf("[[nts-ke-server]]\nlisten = \"127.0.0.1:%d\"\ncertificate-chain-path = %q\nprivate-key-path = %q\n",
		suite.FreePort(t), filepath.Join(foreign, "end.fullchain.pem"), filepath.Join(foreign, "end.key")))
	p.WaitSnapshot(dir+"/s", "snapshot", started)
	if got := capabilities(t, p); got != onlyPorts {
		t.Errorf("server: %s", got)
	}
	if n := strings.Count(p.Log(), unreadable); n != 2 {
		t.Errorf("%d files that a reload cannot read are named: %s", n, p.Log())
	}
	p, dir = suite.Daemon(t, "[observability]\nobservation-path = \"{dir}/s\"\n[[source]]\nmode = \"server\"\naddress = \"127.0.0.1:9\"\n"+
		"[synchronization]\nclock = \"virtual\"\nminimum-agreeing-sources = 1\n")
	p.WaitSnapshot(dir+"/s", "snapshot", started)
	if got := capabilities(t, p); got != onlyPorts || strings.Contains(p.Log(), unreadable) {
		t.Errorf("client of a virtual clock: %s", got)
	}

	conf := filepath.Join(t.TempDir(), "pool.toml")
	suite.WriteFile(t, conf, fmt.Sprintf("[nts-pool-ke-server]\nlisten = \"127.0.0.1:%d\"\ncertificate-authority-path = %q\n"+
		"certificate-chain-path = %q\nprivate-key-path = %q\nkey-exchange-servers = [{ domain = \"localhost\", port = 8081, token-file = %q }]\n[observability]\nlog-path = %q\n", suite.FreePort(t),
		filepath.Join(foreign, "testca.pem"), filepath.Join(foreign, "end.fullchain.pem"), filepath.Join(foreign, "end.key"),
		filepath.Join(foreign, "tokens"), filepath.Join(foreign, "log")))
	p = suite.Start(t, suite.Program(t, "nts-pool-ke"), "-c", conf)
	p.Until("what a reload cannot read, and the log that it cannot make", func() bool {
		log, _ := os.ReadFile(filepath.Join(foreign, "log"))
		return strings.Count(string(log), unreadable) == 5 && strings.Contains(string(log), "make it anew")
	})
	if got := capabilities(t, p); got != "CapPrm 0, CapEff 0, CapBnd 0, CapAmb 0, NoNewPrivs 1" {
		t.Errorf("pool: %s", got)
	}
}

// TestPositionIndependent: the kernel may put the programs where it likes.
func TestPositionIndependent(t *testing.T) {
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" && runtime.GOARCH != "arm64" || suite.Race {
		t.Skip("skipped: not built so here")
	}
	f, err := elf.Open(suite.Program(t, "ntp-daemon"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if f.Type != elf.ET_DYN {
		t.Errorf("type %v", f.Type)
	}
}
