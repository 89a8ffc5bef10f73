package exporter

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ntp-daemon/internal/program"
	"ntp-daemon/internal/suite"
)

// TestMain_Faults: what ends the start has the exit code of the manual page, and says which key it is about and what helps.
func TestMain_Faults(t *testing.T) {
	dir := t.TempDir()
	taken, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	free := fmt.Sprintf("127.0.0.1:%d", suite.FreePort(t))
	for _, row := range []struct {
		socket, listen, log string
		code                int
		want                string
	}{
		{dir + "/s", taken.Addr().String(), dir + "/log", program.ExitUnavailable, "metrics-exporter-listen: listen tcp " + taken.Addr().String() + ": bind: address already in use; end who has it"},
		{dir + "/s", free, dir + "/absent/log", program.ExitConfig, "log-path-metrics-exporter: open " + dir + "/absent/log: no such file or directory; make the folder"},
		{"", free, dir + "/log", program.ExitConfig, "observation-path: is not set; add it"},
	} {
		path := filepath.Join(dir, "ntp.toml")
		text := fmt.Sprintf("[observability]\nmetrics-exporter-listen = %q\nlog-path-metrics-exporter = %q\n", row.listen, row.log)
		if row.socket != "" {
			text += fmt.Sprintf("observation-path = %q\n", row.socket)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		err := Main(t.Context(), path, nil)
		if code := program.ExitCode(err, nil); code != row.code || !strings.Contains(fmt.Sprint(err), row.want) {
			t.Errorf("%d, %v; want %d, %q", code, err, row.code, row.want)
		}
	}
}
