package main_test

import (
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"ntp-daemon/internal/fastpath"
	"ntp-daemon/internal/suite"
)

func TestCommandLine(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs Linux")
	}
	for _, tt := range []struct {
		name string
		args []string
		code int
		out  string
	}{
		{"help", []string{"--help"}, 0, "Usage: ntp-xdp"},
		{"version", []string{"-v"}, 0, "ntp-xdp 0."},
		{"unknown option", []string{"--sokket"}, 64, "unknown option --sokket"},
		{"unknown mode", []string{"-m", "fast"}, 64, "--mode is driver or generic"},
		{"no daemon", []string{"-s", filepath.Join(t.TempDir(), "none")}, 69, "is it running, with xdp in a [[server]]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := suite.Start(t, suite.Program(t, "ntp-xdp"), tt.args...)
			if code := p.Exit(); code != tt.code || !strings.Contains(p.Log(), tt.out) {
				t.Fatalf("exit %d, output %q; want %d and %q", code, p.Log(), tt.code, tt.out)
			}
		})
	}
}

// TestNoOrder: a daemon that closes the connection before it has said anything is a fault, which the unit tries again: the sockets
// answer all, and nobody would see why.
func TestNoOrder(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs Linux")
	}
	path := filepath.Join(t.TempDir(), "xdp")
	ln, err := fastpath.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	p := suite.Start(t, suite.Program(t, "ntp-xdp"), "-s", path)
	c, err := fastpath.Accept(ln)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	if code := p.Exit(); code != 69 || !strings.Contains(p.Log(), "before it said what to answer") {
		t.Errorf("exit %d, output %q", code, p.Log())
	}
}
