// Package vmtest runs the suite in virtual machines, where the clock may be set at will: scripts/vmtest.sh prepares
// kernel and emulator, tools/vminit is the guests' only process and holds the scenarios. For tests only.
package vmtest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ntp-daemon/internal/suite"
)

// limit is how long the machines may take; they need less than half of it on an idle machine with two cores.
const limit = 6 * time.Minute

// TestVM boots a server and a client, joined by one cable. Each line of result on the client's console is a subtest
// of its name.
func TestVM(t *testing.T) {
	t.Parallel()
	kernel, root := prepared(t)
	initramfs := image(t, filepath.Join(root, "kernel"), programs(t))
	run := os.Getenv("VMTEST_RUN")
	if run == "" {
		run = "leftovers,sync,steps,panic,exits,start,unset,pause,restore,unplugged,silent,leap"
	}
	if run == "detuned" {
		t.Skip("not in VMTEST_RUN")
	}
	dir := sockets(t)
	begin := time.Now()
	server := boot(t, kernel, initramfs, settings{
		name: "server", dir: dir, rtc: "utc", mac: "52:54:00:00:00:01", here: "s", peer: "c", args: "vmtest.role=server",
	})
	client := boot(t, kernel, initramfs, settings{
		name: "client", dir: dir, rtc: "1996-02-29T12:00:00", mac: "52:54:00:00:00:02", here: "c", peer: "s", args: "vmtest.role=client vmtest.neighbour=52:54:00:00:00:01 vmtest.run=" + run,
	})
	client.finish(t, limit)
	t.Logf("machines ran for %.1f s", time.Since(begin).Seconds())
	report(t, root, client)
	keep(t, root, "client.log", client.console())
	if !server.Running() {
		t.Error("the server ended")
	}
}

// report makes a subtest of each result and writes results and numbers to a file for people.
func report(t *testing.T, root string, m *machine) {
	var text strings.Builder
	for _, l := range m.lines() {
		switch {
		case number.MatchString(l):
			text.WriteString(l + "\n")
		case result.MatchString(l):
			text.WriteString(l + "\n")
			f := result.FindStringSubmatch(l)
			t.Run(f[1], func(t *testing.T) {
				if f[2] == "FAIL" {
					t.Error(f[3])
				}
				t.Log(f[3])
			})
		}
	}
	keep(t, root, "results.txt", text.String())
}

// sockets makes a folder for the sockets of two machines.
func sockets(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "vm-") // short: a socket's path has 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// keep leaves text for people.
func keep(t *testing.T, root, name, text string) {
	if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
		t.Error(err)
	}
}

// programs builds what the machines run, by its place in the image.
func programs(t *testing.T) map[string]string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", dir, "./tools/vminit", "./cmd/ntp-daemon", "./cmd/ntp-ctl")
	cmd.Dir = suite.Root()
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build programs: %v\n%s", err, text)
	}
	return map[string]string{
		"init":           filepath.Join(dir, "vminit"),
		"bin/ntp-daemon": filepath.Join(dir, "ntp-daemon"), "bin/ntp-ctl": filepath.Join(dir, "ntp-ctl"),
	}
}
