package interop_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// matrix collects what became of the cells.
type matrix struct {
	mu    sync.Mutex
	cells map[string]string // client, server and protocol → "ok…", "–", "failed", "not run"
}

func key(client, server string, p protocol) string { return client + "|" + server + "|" + string(p) }

func (m *matrix) set(client, server string, p protocol, result string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cells[key(client, server, p)] = result
}

// summary counts the cells.
func (m *matrix) summary(took time.Duration) string {
	n := map[string]int{}
	for _, c := range m.cells {
		n[strings.Split(c, ",")[0]]++
	}
	return fmt.Sprintf("%d cells: %d green, %d impossible, %d failed, %d not run, in %v", len(m.cells), n["ok"], n["–"], n["failed"], n["not run"], took)
}

// table is the matrix in Markdown.
func (m *matrix) table() string {
	var b strings.Builder
	b.WriteString("| client | server |")
	for _, p := range protocols {
		fmt.Fprintf(&b, " %s |", p)
	}
	b.WriteString("\n|---|---|" + strings.Repeat("---|", len(protocols)) + "\n")
	for _, client := range matrixClients {
		for _, server := range matrixServers {
			fmt.Fprintf(&b, "| %s | %s |", client.name, server)
			for _, p := range protocols {
				fmt.Fprintf(&b, " %s |", m.cells[key(client.name, server, p)])
			}
			b.WriteString("\n")
		}
	}
	return b.String()
}

// impossibilities lists why cells are not possible, once each.
func impossibilities() []string {
	var list []string
	seen := map[string]bool{}
	for _, client := range matrixClients {
		for _, server := range matrixServers {
			for _, p := range protocols {
				if why := impossible(client.name, server, p); why != "" && !seen[why] {
					seen[why] = true
					list = append(list, why)
				}
			}
		}
	}
	return list
}

// report puts the matrix into docs/interop.md if the run writes it.
func (m *matrix) report(t *testing.T, sid string) {
	t.Helper()
	var b strings.Builder
	b.WriteString("\n## Matrix\n\n" + `Every client against every server in every protocol that both have. "ok": the client itself reports a valid sample
from that server, authenticated if the protocol is NTS; where a pool is between them, the samples come from the member
and the algorithm is the one that pool, member and client agreed on. chronyd, ntpsec and ntpd-rs are Debian sid's
(scripts/sid.sh), chronyd 4.3 is Debian 12's, beevik/ntp asks inside ` + "`ntp-ctl query`" + `.

`)
	b.WriteString(m.table())
	fmt.Fprintf(&b, "\n“–”: not possible, and nothing else is: %s.\n", strings.Join(impossibilities(), "; "))
	b.WriteString(`
ntpd-rs as a client offers AEAD 17 before 15 and has no setting for it, so it agrees on 17 with servers that have that.
Its clock calls are answered by scripts/noclock.c, and nobody here has CAP_SYS_TIME or uses it: this machine's clock is not touched.
`)
	report.mu.Lock()
	defer report.mu.Unlock()
	report.versions, report.matrix = sidVersions(sid), b.String()
	if dir := os.Getenv(peersEnv); os.Getenv(docEnv) == "1" {
		if err := writeReport(dir); err != nil {
			t.Error(err)
		}
	}
}

// sidVersions are further lines of the table of versions.
func sidVersions(sid string) string {
	if sid == "" {
		return ""
	}
	var b strings.Builder
	for _, p := range []struct{ name, program, deb string }{
		{chronyd, "usr/sbin/chronyd", "chrony"}, {ntpSec, "usr/sbin/ntpd", "ntpsec"}, {ntpdRS, "usr/bin/ntp-daemon", "ntpd-rs"},
	} {
		out, err := exec.Command(filepath.Join(sid, "run"), p.program, "--version").CombinedOutput()
		text := strings.Join(strings.Fields(string(out)), " ")
		text, _, _ = strings.Cut(text, " (+")
		if err != nil {
			text = err.Error()
		}
		if files, _ := filepath.Glob(filepath.Join(sid, "debs", p.deb+"_*.deb")); len(files) > 0 {
			text += ", package " + strings.TrimSuffix(filepath.Base(files[0]), ".deb")
		}
		fmt.Fprintf(&b, "| %s (sid) | %s |\n", p.name, text)
	}
	return b.String()
}
