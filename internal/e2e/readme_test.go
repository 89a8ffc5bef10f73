package e2e_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"ntp-daemon/internal/suite"
)

// commands are the lines of the fenced blocks without a language below one heading of the README.
func commands(t *testing.T, heading string) (list []string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(suite.Root(), "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(b), "\n## "+heading+"\n")
	if !ok {
		t.Fatalf("the README has no section %q", heading)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	fence := "" // of the block that we are in
	for line := range strings.Lines(section) {
		switch line = strings.TrimSpace(line); {
		case !strings.HasPrefix(line, "```"):
			if fence == "```" {
				list = append(list, line)
			}
		case fence == "":
			fence = line
		default:
			fence = ""
		}
	}
	return list
}

// cleanRoot prepares, inside a mount namespace of its own, a machine that never saw this suite: /usr/local, /run and
// /var/lib are empty, /etc is a copy without our folder. Go, which may live in /usr/local, is only in the user's PATH:
// sudo, here a script, has a PATH of its own. It also takes CAP_SYS_TIME away, so that nothing can move this machine's clock.
const cleanRoot = `set -eu
mkdir "$W/go" "$W/etc" "$W/bin"
mount --make-rprivate /
mount --bind "$GOROOT" "$W/go"
cp -a /etc/. "$W/etc"
rm -rf "$W/etc/ntp-daemon"
mount --bind "$W/etc" /etc
for d in /usr/local /run /var/lib; do mount -t tmpfs none $d; done
cat >"$W/bin/sudo" <<'END'
#!/bin/sh
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH
command -v go >/dev/null && [ "$1" = make ] && set -- "$@" GO=/nonexistent/go
exec setpriv --bounding-set -sys_time -- "$@"
END
chmod +x "$W/bin/sudo"
export PATH="$W/bin:$W/go/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
unset GOROOT
cd "$W/source tree"
`

// TestReadmeForReal follows the README's section "For real" line by line on a clean machine in a network that has
// pool.ntp.org, and must end with a synchronised client. Two things are ours: the installed configuration gets a virtual
// clock, 250 ms wrong, instead of this machine's, and the daemon runs in the background instead of a terminal of its own.
func TestReadmeForReal(t *testing.T) {
	host := suite.Internet(t)
	for _, tool := range []string{"make", "setpriv", "mount"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs %s", tool)
		}
	}
	work := t.TempDir()
	tree := filepath.Join(work, "source tree")
	if err := os.Mkdir(tree, 0o755); err != nil {
		t.Fatal(err)
	}
	parts := []string{"-a", "Makefile", "README.md", "LICENSE-APACHE", "LICENSE-MIT", "go.mod", "go.sum", "cmd", "internal", "configs", "docs"}
	cp := exec.Command("cp", append(parts, tree)...)
	cp.Dir = suite.Root()
	if out, err := cp.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	var script strings.Builder
	script.WriteString(cleanRoot)
	daemons, checks := 0, 0
	for _, line := range commands(t, "For real") {
		script.WriteString("echo '$ " + line + "'\n")
		switch {
		case strings.HasPrefix(line, "sudo ntp-daemon"):
			daemons++
			script.WriteString("printf '[synchronization]\\nclock = \"virtual\"\\nvirtual-offset = 0.25\\n' >>/etc/ntp-daemon/ntp.toml\n")
			script.WriteString(line + " &\n")
			script.WriteString("trap 'kill $!' EXIT\nwhile [ ! -S /run/ntp-daemon/observe ]; do kill -0 $! || exit 1; sleep 0.1; done\n")
		case strings.HasPrefix(line, "ntp-ctl"):
			checks++
			fallthrough
		default:
			script.WriteString(line + "\n")
		}
	}
	if daemons != 1 || checks == 0 {
		t.Fatalf("the README starts %d daemons and looks at them %d times", daemons, checks)
	}
	cmd := host.Command("sh", "-c", script.String())
	cmd.Env = append(os.Environ(), "W="+work, "GOROOT="+strings.TrimSpace(string(goroot)))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	_, status, _ := bytes.Cut(out, []byte("$ ntp-ctl status\n"))
	if !regexp.MustCompile(`(?m)^Synchronised: +yes`).Match(status) {
		t.Errorf("not synchronised at the end:\n%s", out)
	}
}
