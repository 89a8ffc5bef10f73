package config

import (
	"strings"
	"testing"
)

// TestAdminListen: a port is one of loopback, everything else has to be written, and what is not on loopback is mentioned.
func TestAdminListen(t *testing.T) {
	for _, tt := range []struct{ line, want, said string }{
		{"", "invalid AddrPort", ""},
		{"admin-listen = 9976", "127.0.0.1:9976", ""},
		{`admin-listen = "127.0.0.2:9976"`, "127.0.0.2:9976", ""},
		{`admin-listen = "[::1]:9976"`, "[::1]:9976", ""},
		{`admin-listen = "192.0.2.1:9976"`, "192.0.2.1:9976", "is not on loopback"},
		{`admin-listen = "0.0.0.0:9976"`, "0.0.0.0:9976", "is not on loopback"},
		{"admin-listen = 0", "", "use 1 to 65535"},
		{"admin-listen = 65536", "", "out of range"},
		{`admin-listen = ":9976"`, "", "is not an IP address with a port"},
		{`admin-listen = "localhost:9976"`, "", "is not an IP address with a port"},
		{`admin-listen = "127.0.0.1:4460"`, "", "is part of 0.0.0.0:4460"},
		{"admin-listen = true", "", "needs a string"},
	} {
		text := "[nts-pool-ke-server]\nlisten = \"0.0.0.0:4460\"\ncertificate-chain-path = \"c\"\nprivate-key-path = \"k\"\n" + tt.line + "\n"
		p, warnings, err := ParsePool("pool.toml", []byte(text))
		said := ""
		for _, w := range warnings {
			if strings.Contains(w.Key, "admin-listen") {
				said = w.What
				if !w.Info {
					t.Errorf("%s: a warning that makes the file a bad one: %s", tt.line, w.What)
				}
			}
		}
		if err != nil {
			said = err.Error()
		} else if got := p.Admin.String(); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.line, got, tt.want)
		}
		if (err != nil) != (tt.want == "") || !strings.Contains(said, tt.said) || (said == "") != (tt.said == "") {
			t.Errorf("%s: %q, want %q", tt.line, said, tt.said)
		}
	}
}
