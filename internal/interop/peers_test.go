package interop_test

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"ntp-daemon/internal/suite"
	"ntp-daemon/internal/version"
)

// The two settings of these tests.
const (
	peersEnv = "NTPD_PEERS"  // folder with chrony/ and ntpsec/ (scripts/peers.sh); not set: tests with peers are skipped
	docEnv   = "INTEROP_DOC" // 1: the run writes docs/interop.md
)

// The peers' programs inside the folder.
const (
	chronydPath = "chrony/usr/sbin/chronyd"
	chronycPath = "chrony/usr/bin/chronyc"
	ntpdPath    = "ntpsec/usr/sbin/ntpd"
)

// peersDir returns the folder of the peers. Whoever names one expects the tests to run, so what is missing there
// is a failure and not a reason to skip.
func peersDir(t *testing.T) string {
	t.Helper()
	dir := os.Getenv(peersEnv)
	if dir == "" {
		t.Skipf("needs chrony and ntpsec: run `make interop`, or set %s to what scripts/peers.sh unpacked", peersEnv)
	}
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is set in CI, but this is not root", peersEnv)
		}
		t.Skip("needs root for network namespaces and port 123")
	}
	for _, p := range []string{chronydPath, chronycPath, ntpdPath} {
		if _, err := os.Stat(filepath.Join(dir, p)); err != nil {
			t.Fatalf("%s is set, but: %v", peersEnv, err)
		}
	}
	for _, tool := range []string{"ip", "setpriv"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("%s is set, but: %v", peersEnv, err)
		}
	}
	return dir
}

func peerProgram(t *testing.T, path string) string { return filepath.Join(peersDir(t), path) }

// row is one line of docs/interop.md.
type row struct {
	order                         int // of the sections
	peer, role, protocol, checked string
}

// report collects the rows of the run.
var report struct {
	mu       sync.Mutex
	rows     []row
	versions string // of sid's programs, rows of the first table
	matrix   string // the section that TestInteropMatrix writes
}

// done notes what a test has shown; it must be the last thing that the test does. With INTEROP_DOC=1 the document is
// written anew with each row, so that a run leaves exactly what passed.
func done(t *testing.T, r row) {
	t.Helper()
	if t.Failed() {
		return
	}
	report.mu.Lock()
	defer report.mu.Unlock()
	report.rows = append(report.rows, r)
	if dir := os.Getenv(peersEnv); dir != "" && os.Getenv(docEnv) == "1" {
		if err := writeReport(dir); err != nil {
			t.Error(err)
		}
	}
}

// peerVersion asks a peer's program for its name and version; the package name says which build it is.
func peerVersion(dir, path, deb string) string {
	out, err := exec.Command(filepath.Join(dir, path), "--version").Output()
	if err != nil {
		return err.Error()
	}
	words := strings.Fields(string(out))
	text := strings.Join(words[:min(4, len(words))], " ")
	if files, _ := filepath.Glob(filepath.Join(dir, "debs", deb+"_*.deb")); len(files) > 0 {
		text += ", package " + strings.TrimSuffix(filepath.Base(files[len(files)-1]), ".deb")
	}
	return text
}

// writeReport writes docs/interop.md from the rows so far; the caller holds report.mu.
func writeReport(dir string) error {
	slices.SortFunc(report.rows, func(a, b row) int {
		return cmp.Or(cmp.Compare(a.order, b.order), cmp.Compare(a.peer, b.peer), cmp.Compare(a.role, b.role),
			cmp.Compare(a.protocol, b.protocol), cmp.Compare(a.checked, b.checked))
	})
	var b strings.Builder
	b.WriteString(`# Interoperability

Written by ` + "`INTEROP_DOC=1 make interop`" + `; every line is a test of internal/interop that passed in that run. The peers run
as Debian ships them, unpacked side by side into build/peers and build/sid, in network namespaces and without control
over the machine's clock.

| program | version |
|---|---|
`)
	fmt.Fprintf(&b, "| ntp-daemon, nts-pool-ke | %s, %s %s/%s |\n", version.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	fmt.Fprintf(&b, "| chronyd | %s |\n", peerVersion(dir, chronydPath, "chrony"))
	fmt.Fprintf(&b, "| ntpd | %s |\n", peerVersion(dir, ntpdPath, "ntpsec"))
	b.WriteString("| beevik/ntp | v1.6.0 |\n" + report.versions)
	b.WriteString(report.matrix + "\n## One by one\n\n| peer | the peer is | protocol | checked |\n|---|---|---|---|\n")
	for _, r := range report.rows {
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", r.peer, r.role, r.protocol, r.checked)
	}
	return os.WriteFile(filepath.Join(suite.Root(), "docs", "interop.md"), []byte(b.String()), 0o644)
}
