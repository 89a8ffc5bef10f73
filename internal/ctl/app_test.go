package ctl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/urfave/cli/v3"

	"ntp-daemon/internal/observe"
)

func TestCommandLine(t *testing.T) {
	c := newConsole(t)
	for _, tt := range []struct {
		args     []string
		code     int
		out, err string
	}{
		{nil, 0, "USAGE", ""},
		{[]string{"-h"}, 0, "USAGE", ""},
		{[]string{"--help"}, 0, "Exit codes", ""},
		{[]string{"-hv"}, 0, "USAGE", ""},
		{[]string{"-v"}, 0, "", "ntp-ctl 0."},
		{[]string{"--version"}, 0, "", "ntp-ctl 0."},
		{[]string{"-v", "-c", "x"}, 0, "", "ntp-ctl 0."},
		{[]string{"-v", "status", "--socket", "/nonexistent"}, 0, "", "ntp-ctl 0."},
		{[]string{"status", "-h"}, 0, "ntp-ctl status", ""},
		{[]string{"query", "--help"}, 0, "HOST[:PORT]", ""},
		{[]string{"statsu"}, 64, "", `unknown command "statsu"; did you mean status?`},
		{[]string{"zzzzzzzz"}, 64, "", "unknown command"},
		{[]string{"x\x1b[2J"}, 64, "", "x?[2J"},
		{[]string{"--konfig", "x"}, 64, "", "konfig"},
		{[]string{"status", "-c"}, 64, "", "-c"},
		{[]string{"validate", "--deep"}, 64, "", "deep"},
		{[]string{"status", "--json=maybe"}, 64, "", "json"},
	} {
		c.expect(t, c.run(tt.args...), tt.code, tt.out, tt.err)
		if tt.code != 0 && strings.Count(c.err.String(), "\n") != 1 {
			t.Errorf("%v: not one line: %q", tt.args, c.err.String())
		}
	}
}

// Options may stand before the command or behind it.
func TestCommandLine_OptionsBeforeTheCommand(t *testing.T) {
	c := newConsole(t)
	path := observed(t, func() *observe.Snapshot { return busy() })
	conf := writeFile(t, t.TempDir(), "ntp.toml", "[observability]\nobservation-path = \""+path+"\"\n")
	c.run("status", "-c", conf, "-f", "prometheus")
	want := c.out.String()
	if !strings.Contains(want, "ntp_uptime_seconds") {
		t.Fatalf("%q", want)
	}
	for _, args := range [][]string{
		{"-c", conf, "-f", "prometheus", "status"}, {"-f", "prometheus", "status", "-c", conf}, {"-fprometheus", "-c" + conf, "status"},
		{"--format=prometheus", "--config=" + conf, "status"}, {"--format", "prometheus", "-s", path, "status"}, {"-c", conf, "status", "--format=prometheus"},
	} {
		if code := c.run(args...); code != 0 || c.out.String() != want {
			t.Errorf("%v: exit %d, %q, %q", args, code, c.out.String(), c.err.String())
		}
	}
	bad := "../config/testdata/bad/F01-unknown-key.toml"
	for _, tt := range []struct {
		args []string
		code int
		err  string
	}{
		{[]string{"--offline", "-c", bad, "validate"}, 78, "unknown key"},
		{[]string{"-y", "-c", bad, "status"}, 64, "-y"},          // an option of another command
		{[]string{"--konfig", "status"}, 64, "konfig"},           // of none
		{[]string{"-f", "prometheus"}, 64, "-f"},                 // no command
		{[]string{"-f", "prometheus", "statsu"}, 64, "statsu"},   // no such command
		{[]string{"-c", conf, "status", "extra"}, 64, `"extra"`}, // a word too many
		{[]string{"-c", conf, "--", "status", "extra"}, 64, ""},  // nothing behind -- is an option
		{[]string{"validate", "ntp.toml"}, 64, `"ntp.toml"`},     // a file without -c
	} {
		c.expect(t, c.run(tt.args...), tt.code, "", tt.err)
	}
}

// Every command has a help text that names its options, and describes itself.
func TestHelp_Complete(t *testing.T) {
	c := newConsole(t)
	for _, cmd := range app(&c.Env).Commands {
		if cmd.Usage == "" || cmd.Action == nil {
			t.Errorf("%s has no description", cmd.Name)
		}
		if code := c.run(cmd.Name, "--help"); code != 0 {
			t.Fatalf("%s --help: exit %d", cmd.Name, code)
		}
		for _, f := range cmd.Flags {
			if !strings.Contains(c.out.String(), "--"+f.Names()[0]) {
				t.Errorf("%s --help lacks --%s", cmd.Name, f.Names()[0])
			}
		}
	}
}

// The list of short options with a value is true.
func TestUnglue_KnowsTheValuedOptions(t *testing.T) {
	c := newConsole(t)
	root := app(&c.Env)
	got := map[byte]bool{}
	for _, cmd := range append(root.Commands, root) {
		for _, f := range cmd.Flags {
			_, isBool := f.(*cli.BoolFlag)
			for _, n := range f.Names() {
				if len(n) == 1 && !isBool {
					got[n[0]] = true
				}
				if len(n) == 1 && isBool && strings.Contains(shortWithValue, n) {
					t.Errorf("-%s of %s takes no value", n, cmd.Name)
				}
			}
		}
	}
	for i := range len(shortWithValue) {
		delete(got, shortWithValue[i])
	}
	if len(got) != 0 {
		t.Errorf("missing: %v", got)
	}
	if got := fmt.Sprint(splitShortOptions([]string{"p", "-cx", "-c", "y", "-v", "--config=z", "--", "-cx"})); got != "[p -c x -c y -v --config=z -- -cx]" {
		t.Error(got)
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

// Half a report must not look like a whole one.
func TestStatus_OutputFails(t *testing.T) {
	c := newConsole(t)
	path := observed(t, func() *observe.Snapshot { return busy() })
	c.Out = brokenPipe{}
	if code := c.run("status", "--socket", path); code == 0 || !strings.Contains(c.err.String(), "broken pipe") {
		t.Errorf("exit %d, %q", code, c.err.String())
	}
}

func TestCodeOf(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want int
	}{
		{nil, 0}, {done(1), 1}, {fail(78, "x: %w", io.EOF), 78}, {fmt.Errorf("more: %w", fail(69, "x")), 69},
		{context.Canceled, 1}, {errors.New("the library's"), 64},
	} {
		if got := codeOf(tt.err); got != tt.want {
			t.Errorf("%v: %d, want %d", tt.err, got, tt.want)
		}
	}
	if !errors.Is(fail(78, "x: %w", io.EOF), io.EOF) {
		t.Error("cause lost")
	}
}
