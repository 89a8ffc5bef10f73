package config

import (
	"strings"
	"testing"
)

// TestMonitorIsOff_InOldFiles: the table, a source, or a selection of ours switches the monitor on; nothing else does.
func TestMonitorIsOff_InOldFiles(t *testing.T) {
	const base = "[nts-pool-ke-server]\nlisten = \"[::]:4460\"\ncertificate-chain-path = \"a\"\nprivate-key-path = \"b\"\nkey-exchange-servers = [{ domain = \"a.example\", port = 4460 }]\n"
	const reference = "[[source]]\nmode = \"server\"\naddress = \"time.example\"\n"
	for _, tt := range []struct {
		text string
		want bool
		warn string
	}{
		{base, false, ""},
		{base + "[monitor]\n", true, ""},
		{base + "[monitor]\nenable = false\n", false, ""},
		{base + reference, true, ""},
		{base + reference + "[monitor]\nenable = false\n", false, "source: has no effect, the monitor is off"},
		{base + "selection = \"weighted\"\n", true, ""},
		{base + "selection = \"weighted\"\n[monitor]\nenable = false\n", false, ""},
		{base + "selection = \"round-robin\"\n", false, ""},
	} {
		p, warnings, err := ParsePool("pool.toml", []byte(tt.text))
		if err != nil {
			t.Errorf("%s: %v", tt.text, err)
			continue
		}
		if p.Monitor.Enabled != tt.want {
			t.Errorf("enabled: %v in\n%s", p.Monitor.Enabled, tt.text)
		}
		var said []string
		for _, w := range warnings {
			said = append(said, w.Problem.String())
		}
		if got := strings.Join(said, "\n"); !strings.Contains(got, tt.warn) || tt.warn == "" && got != "" {
			t.Errorf("warnings %q in\n%s", got, tt.text)
		}
	}
}

// TestMonitorSources: a source that a pool cannot have is named.
func TestMonitorSources(t *testing.T) {
	for text, want := range map[string]string{
		"[[source]]\nmode = \"sock\"\npath = \"/run/x.sock\"\nprecision = 1e-3\n": "not built yet",
		"[[source]]\nmode = \"server\"\n":                                         "source.address: is missing",
		"[[source]]\nmode = \"server\"\naddress = \"a.example\"\ncount = 3\n":     "no key of mode \"server\"",
		"[monitor]\nintervall = 3\n":                                              "monitor.intervall",
	} {
		if _, _, err := ParsePool("pool.toml", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
