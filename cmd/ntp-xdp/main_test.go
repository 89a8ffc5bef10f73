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

// TestNoOrder: a daemon that closes the connection before it has said anything, or that says why there is nothing to answer, is a
// fault, which the unit tries again: the sockets answer all, and nobody would see why.
func TestNoOrder(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs Linux")
	}
	for name, tt := range map[string]struct {
		orders []fastpath.Order
		out    string
	}{
		"nothing":  {nil, "before it said what to answer"},
		"a reason": {[]fastpath.Order{{Error: "the lists are too long; write fewer"}}, "ntp-xdp: ntp-daemon cannot say what to answer: the lists are too long; write fewer\n"},
		"a reason after a reload": {
			[]fastpath.Order{{Policy: &fastpath.Policy{Interfaces: []fastpath.Interface{}}}, {Error: "the lists are too long; write fewer"}},
			"ntp-xdp: ntp-daemon cannot say what to answer: the lists are too long; write fewer\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
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
			for _, o := range tt.orders {
				if err := fastpath.Write(c, &o); err != nil {
					t.Fatal(err)
				}
				if o.Policy == nil {
					continue
				}
				if err := fastpath.Read(c, new(fastpath.Report)); err != nil {
					t.Fatal(err)
				}
			}
			_ = c.Close()
			if code := p.Exit(); code != 69 || !strings.Contains(p.Log(), tt.out) {
				t.Errorf("exit %d, output %q", code, p.Log())
			}
		})
	}
}
