package main_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"ntp-daemon/internal/suite"
)

// The user daemon of every Unix, whose numbers are the same everywhere that it exists with them.
const (
	someUser = "daemon"
	someUID  = 1
)

// needUsers skips where a program cannot change to another user.
func needUsers(t *testing.T) {
	t.Helper()
	passwd, _ := os.ReadFile("/etc/passwd")
	if runtime.GOOS != "linux" || os.Geteuid() != 0 || suite.Race || !strings.Contains("\n"+string(passwd), "\n"+someUser+":x:1:1:") {
		t.Skip("skipped: needs root, a user daemon with the number 1, and programs without cgo")
	}
}

// openFolder is a folder that everybody may enter, with the certificates, and a folder "state" that the user has to himself.
func openFolder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{filepath.Dir(dir), dir} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"end.fullchain.pem", "end.key"} {
		b, err := os.ReadFile(filepath.Join(suite.Root(), "test-keys", name))
		if err != nil {
			t.Fatal(err)
		}
		suite.WriteFile(t, filepath.Join(dir, name), string(b))
		if err := os.Chmod(filepath.Join(dir, name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	state := filepath.Join(dir, "state")
	if err := os.Mkdir(state, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{state, filepath.Join(dir, "end.key")} {
		if err := os.Chown(path, someUID, someUID); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(dir, "end.key"), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// userConf is a server of time and keys in that folder.
func userConf(t *testing.T, dir, process string) string {
	t.Helper()
	conf := filepath.Join(dir, "ntp.toml")
	suite.WriteFile(t, conf, strings.ReplaceAll(island(t), "{dir}", dir)+fmt.Sprintf("[state]\ndirectory = %q\n[[nts-ke-server]]\nlisten = \"127.0.0.1:%d\"\n"+
		"certificate-chain-path = %q\nprivate-key-path = %q\n%s", filepath.Join(dir, "state"), suite.FreePort(t), filepath.Join(dir, "end.fullchain.pem"), filepath.Join(dir, "end.key"), process))
	if err := os.Chmod(conf, 0o644); err != nil {
		t.Fatal(err)
	}
	return conf
}

// identities are the users, groups and capabilities of all threads, each combination once.
func identities(t *testing.T, p *suite.Proc) string {
	t.Helper()
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", p.Cmd.Process.Pid))
	if err != nil || len(tasks) < 2 {
		t.Fatalf("threads %v, %v", tasks, err)
	}
	seen := map[string]bool{}
	var list []string
	for _, task := range tasks {
		b, err := os.ReadFile(task)
		if err != nil {
			continue // the thread has ended
		}
		var row []string
		for _, m := range regexp.MustCompile(`(?m)^(Uid|Gid|Groups|CapPrm|CapEff|CapBnd):(.*)$`).FindAllStringSubmatch(string(b), -1) {
			value := strings.Join(strings.Fields(m[2]), "/")
			if strings.HasPrefix(m[1], "Cap") {
				value = strings.TrimLeft(value, "0")
			}
			row = append(row, m[1]+" "+value)
		}
		if text := strings.Join(row, ", "); !seen[text] {
			seen[text] = true
			list = append(list, text)
		}
	}
	return strings.Join(list, "\n")
}

const (
	asUser   = "Uid 1/1/1/1, Gid 1/1/1/1, Groups 1, "
	onlyBind = "CapPrm 400, CapEff 400, CapBnd 400"
)

// owner is whose a file is.
func owner(t *testing.T, path string) uint32 {
	t.Helper()
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return st.Sys().(*syscall.Stat_t).Uid
}

// TestUser: a daemon that root has started becomes the user of [process] on all threads, with that user's groups, keeps the
// capability that it needs, owns its cookie keys, also after another start, and reads its certificates anew on SIGHUP. What it
// could not read then, it says at the start.
func TestUser(t *testing.T) {
	needUsers(t)
	dir := openFolder(t)
	conf := userConf(t, dir, "[process]\nuser = \"daemon\"\n")
	keys := filepath.Join(dir, "state", "keys")
	var before []byte
	for range 2 {
		p := suite.Start(t, suite.Program(t, "ntp-daemon"), "-c", conf)
		p.WaitSnapshot(dir+"/s", "snapshot", started)
		if got := identities(t, p); got != asUser+onlyBind {
			t.Errorf("threads:\n%s", got)
		}
		if uid := owner(t, keys); uid != someUID {
			t.Errorf("the cookie keys are of user %d", uid)
		}
		now, err := os.ReadFile(keys)
		if err != nil || before != nil && string(now) != string(before) {
			t.Errorf("a restart costs the cookie keys: %v", err)
		}
		before = now
		if err := p.Cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		p.WaitLog("reloaded: nothing has changed")
		if log := p.Log(); strings.Contains(log, "a reload will not") || strings.Contains(log, "could not") || strings.Contains(log, "belongs to user") {
			t.Errorf("complains: %s", log)
		}
		p.Stop()
	}

	for _, path := range []string{filepath.Join(dir, "end.key"), filepath.Join(dir, "state")} {
		if err := os.Chown(path, 0, 0); err != nil {
			t.Fatal(err)
		}
	}
	p := suite.Start(t, suite.Program(t, "ntp-daemon"), "-c", conf)
	p.WaitLog("end.key.*a reload will not be able to|a reload will not be able to.*end.key")
	p.WaitLog("could not write what root.*/state|/state.*could not write what root")
	if got := identities(t, p); got != asUser+onlyBind {
		t.Errorf("threads:\n%s", got)
	}
}

// TestUser_Unknown: a user that does not exist is a mistake of the configuration.
func TestUser_Unknown(t *testing.T) {
	p, _ := suite.Daemon(t, island(t)+"[process]\nuser = \"no-such-user\"\n")
	if code := p.Exit(); code != 78 || !regexp.MustCompile(`ntp\.toml:\d+:\d+: process\.user: there is no user "no-such-user"`).MatchString(p.Log()) {
		t.Errorf("ends with %d: %s", code, p.Log())
	}
}

// TestUser_Default: without the key the daemon becomes ntp-daemon only where that user exists and can go on with every file;
// else it stays root as ever, and names the first that it cannot. "root" asks for that.
func TestUser_Default(t *testing.T) {
	needUsers(t)
	if err := exec.Command("unshare", "-m", "true").Run(); err != nil {
		t.Skipf("skipped: needs mount namespaces for a list of users of its own: %v", err)
	}
	const asRoot = "Uid 0/0/0/0, Gid 0/0/0/0, "
	for _, tt := range []struct {
		name, process, shut string // shut is what the user cannot have
		user                string
		says                string
	}{
		{name: "becomes ntp-daemon", user: asUser, says: "changed to the user of the program"},
		{name: "state", shut: "state", user: asRoot, says: "stays root.*state"},
		{name: "key", shut: "end.key", user: asRoot, says: "stays root.*end.key"},
		{name: "configuration", shut: "ntp.toml", user: asRoot, says: "stays root.*ntp.toml"},
		{name: "root", process: "[process]\nuser = \"root\"\n", user: asRoot},
		{name: "empty", process: "[process]\nuser = \"\"\n", user: asRoot},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := openFolder(t)
			conf := userConf(t, dir, tt.process)
			if tt.shut != "" {
				path := filepath.Join(dir, tt.shut)
				if err := os.Chown(path, 0, 0); err != nil {
					t.Fatal(err)
				}
				if err := os.Chmod(path, 0o700); err != nil {
					t.Fatal(err)
				}
			}
			passwd := filepath.Join(dir, "passwd")
			suite.WriteFile(t, passwd, "root:x:0:0::/:/bin/sh\nntp-daemon:x:1:1::/:/bin/false\n")
			p := suite.Start(t, "unshare", "-m", "sh", "-c", `mount --bind "$0" /etc/passwd && exec "$@"`, passwd, suite.Program(t, "ntp-daemon"), "-c", conf)
			p.WaitSnapshot(dir+"/s", "snapshot", started)
			if got := identities(t, p); !strings.HasPrefix(got, tt.user) || !strings.HasSuffix(got, onlyBind) || strings.Contains(got, "\n") {
				t.Errorf("threads:\n%s", got)
			}
			if log := p.Log(); tt.says == "" && strings.Contains(log, "stays root") || !regexp.MustCompile(tt.says).MatchString(log) {
				t.Errorf("not %q: %s", tt.says, log)
			}
			if names, _ := filepath.Glob(filepath.Join(dir, "state", ".user-*")); names != nil {
				t.Errorf("left behind: %v", names)
			}
		})
	}
}

// TestUser_Pool: the pool does likewise, keeps no capability, and reloads.
func TestUser_Pool(t *testing.T) {
	needUsers(t)
	dir := openFolder(t)
	token := filepath.Join(dir, "token")
	suite.WriteFile(t, token, "0123456789abcdef0123456789abcdef\n")
	if err := os.Chmod(token, 0o644); err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(dir, "pool.toml")
	suite.WriteFile(t, conf, fmt.Sprintf("[observability]\nobservation-path = %q\n[nts-pool-ke-server]\nlisten = \"127.0.0.1:%d\"\n"+
		"certificate-chain-path = %q\nprivate-key-path = %q\nkey-exchange-servers = [{ domain = \"localhost\", port = 8081, token-file = %q }]\n[process]\nuser = \"daemon\"\n",
		filepath.Join(dir, "s"), suite.FreePort(t), filepath.Join(dir, "end.fullchain.pem"), filepath.Join(dir, "end.key"), token))
	if err := os.Chmod(conf, 0o644); err != nil {
		t.Fatal(err)
	}
	p := suite.Start(t, suite.Program(t, "nts-pool-ke"), "-c", conf)
	p.WaitSnapshot(dir+"/s", "snapshot", started)
	p.WaitLog("changed to the user of the program")
	if got := identities(t, p); got != asUser+"CapPrm , CapEff , CapBnd " {
		t.Errorf("threads:\n%s", got)
	}
	if err := p.Cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	p.WaitLog("configuration reloaded")
	if strings.Contains(p.Log(), "a reload will not") {
		t.Errorf("complains: %s", p.Log())
	}
	p.Stop()

	if err := os.Chmod(token, 0o600); err != nil { // root's alone
		t.Fatal(err)
	}
	p = suite.Start(t, suite.Program(t, "nts-pool-ke"), "-c", conf)
	p.WaitLog("/token.*a reload will not be able to|a reload will not be able to.*/token")
}
