package docs_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// unitScores are the highest exposure levels of systemd-analyze, in tenths (reliability.md section 6).
var unitScores = map[string]string{
	"ntp-daemon.service": "20", "nts-pool-ke.service": "13", "ntp-metrics-exporter.service": "12", "ntp-daemon-wait.service": "6",
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
	}
}

// TestInstall checks that make install puts everything under DESTDIR, with the prefix in the units.
func TestInstall(t *testing.T) {
	dest := t.TempDir()
	out, err := exec.Command("make", "-s", "-C", root, "install", "DESTDIR="+dest, "PREFIX=/opt/ntp", "BIN="+filepath.Join(dest, "build")).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	want := []string{
		"bin/ntp-daemon", "bin/nts-pool-ke", "bin/ntp-ctl", "bin/ntp-metrics-exporter",
		"share/man/man8/ntp-daemon.8", "share/man/man5/ntp.toml.5", "share/doc/ntp-daemon/examples/client.toml",
		"lib/sysusers.d/ntp-daemon.conf",
	}
	for unit := range unitScores {
		want = append(want, "lib/systemd/system/"+unit)
	}
	for _, f := range want {
		b, err := os.ReadFile(filepath.Join(dest, "opt/ntp", f))
		if err != nil {
			t.Error(err)
		}
		if strings.HasSuffix(f, ".service") && (!bytes.Contains(b, []byte("\nExecStart=/opt/ntp/bin/")) || bytes.Contains(b, []byte("/usr/local/"))) {
			t.Errorf("%s does not start the installed program", f)
		}
	}
}
