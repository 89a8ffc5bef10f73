package e2e_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"ntp-daemon/internal/suite"
)

// viewedPool is a pool with a time source that serves and one that is not there, an admin listener, and a while between the order
// to stop and the end.
const viewedPool = `
[nts-pool-ke-server]
listen = "127.0.0.1:%[1]d"
admin-listen = %[2]d
log-exchanges = "failures"
drain-delay-ms = 3000
certificate-authority-path = "test-keys/testca.pem"
certificate-chain-path = "test-keys/end.fullchain.pem"
private-key-path = "test-keys/end.key"
key-exchange-servers = [
    { domain = "localhost", port = %[3]d, id = "alive" },
    { domain = "localhost", port = %[4]d, id = "dead" },
]
[observability]
observation-path = "%[5]s/pool.sock"
`

// viewedServer is its time source.
const viewedServer = `
[observability]
observation-path = "%[3]s/server.sock"
[[server]]
listen = "127.0.0.1:%[2]d"
[[nts-ke-server]]
listen = "127.0.0.1:%[1]d"
certificate-chain-path = "test-keys/end.fullchain.pem"
private-key-path = "test-keys/end.key"
authorized-pool-server-certificates = ["test-keys/end.pem"]
ntp-port = %[2]d
[synchronization]
local-stratum = 5
clock = "virtual"
[state]
directory = "%[3]s"
`

// browse is what the admin listener answers; 0 if it does not.
func browse(t *testing.T, url string) (code int, body string) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, ""
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, ""
	}
	return resp.StatusCode, string(b)
}

// TestPoolSeenFromOutside: page, metrics, readiness and both commands of ntp-ctl say the same of a running pool; a script learns from
// exit codes who is handed out; balancers hear of the end before it comes.
func TestPoolSeenFromOutside(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	users, admin, alive, dead, clock := suite.FreePort(t), suite.FreePort(t), suite.FreePort(t), suite.FreePort(t), suite.FreePort(t)
	config := filepath.Join(dir, "pool.toml")
	suite.WriteFile(t, filepath.Join(dir, "server.toml"), fmt.Sprintf(viewedServer, alive, clock, dir))
	suite.WriteFile(t, config, fmt.Sprintf(viewedPool, users, admin, alive, dead, dir))
	suite.Start(t, suite.Program(t, "ntp-daemon"), "-c", filepath.Join(dir, "server.toml"))
	front := suite.Start(t, suite.Program(t, "nts-pool-ke"), "-c", config)
	front.WaitLog("admin listener on http://127.0.0.1")
	front.WaitLog("listening on")
	ctl := func(args ...string) (code int, out string) {
		cmd := exec.Command(suite.Program(t, "ntp-ctl"), args...)
		cmd.Dir = suite.Root()
		b, _ := cmd.CombinedOutput()
		return cmd.ProcessState.ExitCode(), string(b)
	}
	front.Until("a user gets keys", func() bool {
		code, _ := ctl("query", "--nts", "--ca", "test-keys/testca.pem", "-n", "1", fmt.Sprintf("localhost:%d", users))
		return code == 0
	})
	front.Until("the time source that is not there is left alone", func() bool {
		code, out := ctl("pool", "explain", "-c", config, "dead")
		return code == 1 && strings.Contains(out, "is NOT handed out: left alone")
	})
	if code, out := ctl("pool", "explain", "-c", config, "alive"); code != 0 || !strings.Contains(out, " is handed out: ") || !strings.Contains(out, "served 1") {
		t.Errorf("explain alive: exit %d\n%s", code, out)
	}
	if code, out := ctl("pool", "status", "-s", filepath.Join(dir, "pool.sock")); code != 0 || !strings.Contains(out, "is ready: 1 of 2 time sources handed out") {
		t.Errorf("status: exit %d\n%s", code, out)
	}

	base := fmt.Sprintf("http://127.0.0.1:%d", admin)
	if code, body := browse(t, base+"/"); code != 200 || !strings.Contains(body, "left alone") || !strings.Contains(body, "<title>Ready") {
		t.Errorf("page: %d, %d bytes", code, len(body))
	}
	families := func(text string) (names []string) {
		for line := range strings.Lines(text) {
			if name, ok := strings.CutPrefix(line, "# TYPE "); ok {
				names = append(names, name)
			}
		}
		return names
	}
	_, scraped := browse(t, base+"/metrics")
	if _, told := ctl("status", "-f", "prometheus", "-c", config); strings.Join(families(scraped), "") != strings.Join(families(told), "") ||
		!strings.Contains(scraped, `ntspool_server_up{server="dead"} 0`) || !strings.Contains(scraped, `ntspool_server_up{server="alive"} 1`) {
		t.Errorf("metrics of the listener:\n%s\nof ntp-ctl:\n%s", scraped, told)
	}
	if code, body := browse(t, base+"/readyz"); code != 200 {
		t.Errorf("readyz: %d %s", code, body)
	}
	if log := front.Log(); strings.Contains(log, "received records from the client") {
		t.Errorf("log-exchanges = \"failures\" writes the steps of a user:\n%s", log)
	}

	_ = front.Cmd.Process.Signal(syscall.SIGTERM)
	front.Until("not ready before the end", func() bool {
		code, body := browse(t, base+"/readyz")
		return code == 503 && strings.Contains(body, "the pool was told to stop")
	})
	if code := front.Exit(); code != 0 {
		t.Errorf("exit %d", code)
	}
}
