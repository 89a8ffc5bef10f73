package docs_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// unitScores are the highest exposure levels of systemd-analyze, in tenths (docs/rules/lifecycle.md#units).
var unitScores = map[string]string{
	"ntp-daemon.service": "20", "nts-pool-ke.service": "13", "ntp-metrics-exporter.service": "12", "ntp-daemon-wait.service": "6", "ntp-xdp.service": "20",
}

// TestUnitsSecurity checks that the units are as closed as they should be.
func TestUnitsSecurity(t *testing.T) {
	if err := exec.Command("systemd-analyze", "security", "--help").Run(); err != nil {
		t.Skip("no systemd-analyze")
	}
	for unit, most := range unitScores {
		path := filepath.Join(root, "configs/systemd", unit)
		out, err := exec.Command("systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold="+most, path).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", unit, err, out)
		}
		for line := range strings.Lines(string(out)) {
			if strings.Contains(line, "Overall exposure") {
				t.Log(strings.TrimSpace(line))
			}
		}
	}
}

// TestUnits checks what systemd-analyze cannot know: programs, exit codes and that every unit is installed.
func TestUnits(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(root, "configs/systemd/*.service"))
	if err != nil || len(files) != len(unitScores) {
		t.Fatalf("%d units, %d scores (%v)", len(files), len(unitScores), err)
	}
	exec := regexp.MustCompile(`(?m)^ExecStart=/usr/local/bin/(\S+)(.*)$`)
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		m := exec.FindStringSubmatch(string(b))
		if m == nil {
			t.Errorf("%s starts nothing in /usr/local/bin", file)
			continue
		}
		if _, err := os.Stat(filepath.Join(root, "cmd", m[1])); err != nil {
			t.Errorf("%s starts %s, which does not exist", file, m[1])
		}
		if watched := filepath.Base(file) == "ntp-daemon.service"; strings.Contains(string(b), "\nWatchdogSec=") != watched {
			t.Errorf("%s: ntp-daemon sends watchdog messages, the other programs do not", file)
		}
		// A reload of a file that would be refused fails before the signal is sent.
		if check, hup := strings.Index(string(b), "ntp-ctl validate"+m[2]+"; test $$? -le 1"), strings.Index(string(b), "kill -HUP"); hup >= 0 && (check < 0 || check > hup) != (m[1] == "ntp-metrics-exporter") {
			t.Errorf("%s: a reload is not checked first, or with another file than the program has", file)
		}
	}
}

// TestUnits_XDPTriesOn: a fault that passes by itself, as an interface that is not there yet, is tried again however long it lasts: systemd
// gives up on a unit that has a limit of starts and reaches it.
func TestUnits_XDPTriesOn(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(root, "configs/systemd/ntp-xdp.service"))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"StartLimitIntervalSec=0", "Restart=on-failure", "RestartSec=30s"} {
		if !strings.Contains(string(b), "\n"+line+"\n") {
			t.Errorf("no %s", line)
		}
	}
	if again := regexp.MustCompile(`(?m)^RestartPreventExitStatus=.*\b69\b`); again.Match(b) {
		t.Error("an interface that is not there yet (69) is not tried again")
	}
}

// TestUnits_Niceness: what the unit of the daemon forbids, and a key of the configuration needs, the manual page says.
func TestUnits_Niceness(t *testing.T) {
	unit, err := os.ReadFile(filepath.Join(root, "configs/systemd/ntp-daemon.service"))
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(root, "docs/man/ntp.toml.5"))
	if err != nil {
		t.Fatal(err)
	}
	_, key, _ := strings.Cut(string(page), ".It Va handshake-niceness\n")
	key, _, _ = strings.Cut(key, ".It Va")
	allowed := regexp.MustCompile(`(?m)^SystemCallFilter=[^~].*\bsetpriority\b`).Match(unit)
	if told := strings.Contains(key, ".Dl SystemCallFilter=setpriority\n"); told == allowed {
		t.Errorf("the unit allows setpriority: %v; ntp.toml(5) says how to allow it: %v", allowed, told)
	}
}

// TestUnits_PoolKeepsItsSocket: the units say what the pool counts on when it is replaced: a message when it serves, a place for
// its listening socket, one process for all users, and more time to stop than it takes by default.
func TestUnits_PoolKeepsItsSocket(t *testing.T) {
	for unit, lines := range map[string][]string{
		"nts-pool-ke.service": {"Type=notify", "FileDescriptorStoreMax=4", "TimeoutStopSec=30s"},
		"nts-pool-ke.socket":  {"ListenStream=[::]:4460", "FileDescriptorName=listen", "WantedBy=sockets.target"},
	} {
		b, err := os.ReadFile(filepath.Join(root, "configs/systemd", unit))
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range lines {
			if !strings.Contains(string(b), "\n"+line+"\n") {
				t.Errorf("%s: no %s", unit, line)
			}
		}
		if strings.Contains(string(b), "\nAccept=yes") || strings.Contains(string(b), "\nReusePort=") {
			t.Errorf("%s: every user a process, or several queues", unit)
		}
	}
}

// TestInstall checks that make install puts everything under DESTDIR, with the prefix in the units, leaves a first
// configuration and never touches it again, and needs no Go when the programs are newer than their sources.
func TestInstall(t *testing.T) {
	dest := t.TempDir()
	install := func(more ...string) (string, error) {
		args := append([]string{"-s", "-C", root, "install", "DESTDIR=" + dest, "PREFIX=/opt/ntp", "BIN=" + filepath.Join(dest, "build")}, more...)
		out, err := exec.Command("make", args...).CombinedOutput()
		return string(out), err
	}
	if out, err := install(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	want := []string{
		"bin/ntp-daemon", "bin/nts-pool-ke", "bin/ntp-ctl", "bin/ntp-metrics-exporter", "bin/ntp-xdp",
		"share/man/man8/ntp-daemon.8", "share/man/man5/ntp.toml.5", "share/doc/ntp-daemon/examples/client.toml",
		"share/doc/ntp-daemon/LICENSE-APACHE", "share/doc/ntp-daemon/LICENSE-MIT", "lib/sysusers.d/ntp-daemon.conf",
	}
	for unit := range unitScores {
		want = append(want, "lib/systemd/system/"+unit)
	}
	want = append(want, "lib/systemd/system/nts-pool-ke.socket")
	for _, f := range want {
		b, err := os.ReadFile(filepath.Join(dest, "opt/ntp", f))
		if err != nil {
			t.Error(err)
		}
		if strings.HasSuffix(f, ".service") && (!bytes.Contains(b, []byte("\nExecStart=/opt/ntp/bin/")) || bytes.Contains(b, []byte("/usr/local/"))) {
			t.Errorf("%s does not start the installed program", f)
		}
	}

	config := filepath.Join(dest, "etc/ntp-daemon/ntp.toml")
	if err := os.WriteFile(config, []byte("# mine\n"), 0o600); err != nil {
		t.Errorf("no first configuration: %v", err)
	}
	if out, err := install("GO=/nonexistent/go"); err != nil {
		t.Errorf("the second time, without Go: %v\n%s", err, out)
	}
	if b, err := os.ReadFile(config); err != nil || string(b) != "# mine\n" {
		t.Errorf("the operator's configuration is now %q (%v)", b, err)
	}
	if err := os.Chtimes(filepath.Join(dest, "build/ntp-ctl"), time.Time{}, time.Unix(0, 0)); err != nil {
		t.Fatal(err)
	}
	if out, err := install("GO=/nonexistent/go"); err == nil || !strings.Contains(out, "run make build first") {
		t.Errorf("an old program, without Go: %v\n%s", err, out)
	}
}

// TestReadmeConfiguration: the configuration that the README shows is the one that make install leaves.
func TestReadmeConfiguration(t *testing.T) {
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	installed, err := os.ReadFile(filepath.Join(root, "configs/ntp.toml"))
	if err != nil {
		t.Fatal(err)
	}
	_, installed, _ = bytes.Cut(installed, []byte("\n\n")) // behind the comment
	if blocks := fenced(string(readme), "toml"); len(blocks) != 1 || strings.TrimSpace(blocks[0]) != strings.TrimSpace(string(installed)) {
		t.Errorf("README: %q\nconfigs/ntp.toml: %q", blocks, installed)
	}
}
