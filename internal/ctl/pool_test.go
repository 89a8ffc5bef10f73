package ctl

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"ntp-daemon/internal/observe"
)

// fits fails the test for lines that are wider than a terminal.
func fits(t *testing.T, text string) {
	t.Helper()
	for line := range strings.Lines(text) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > lineWidth {
			t.Errorf("%d wide: %s", n, line)
		}
	}
}

// TestPoolStatus: the same table as status has for a pool, in 80 columns, and the snapshot as JSON.
func TestPoolStatus(t *testing.T) {
	c := newConsole(t)
	path := observed(t, pooling)
	config := writeFile(t, t.TempDir(), "pool.toml", "[nts-pool-ke-server]\nlisten = \"[::]:4460\"\ncertificate-chain-path = \"../../test-keys/end.fullchain.pem\"\n"+
		"private-key-path = \"../../test-keys/end.key\"\nkey-exchange-servers = []\n[observability]\nobservation-path = \""+path+"\"\n")
	for _, args := range [][]string{{"pool", "status", "-s", path}, {"pool", "-s", path, "status"}, {"pool", "status", "-c", config}, {"-c", config, "pool", "status"}} {
		c.expect(t, c.run(args...), 0, "ntspool.example is ready: 2 of 3 time sources handed out\n", "")
		if got := c.out.String(); got != poolStatus(pooling(), false) {
			t.Errorf("%v prints something else than status:\n%s", args, got)
		}
	}
	fits(t, c.out.String())
	if code := c.run("pool", "status", "--json", "-s", path); code != 0 {
		t.Fatalf("exit %d: %s", code, c.err.String())
	}
	var s observe.Snapshot
	if err := json.Unmarshal(c.out.Bytes(), &s); err != nil || s.Pool == nil || len(s.Pool.Servers) != 3 {
		t.Errorf("%v: %+v", err, s.Pool)
	}
}

// TestPoolExplain: sentences for a person, an object for a script, and an exit code that says whether users get it.
func TestPoolExplain(t *testing.T) {
	c := newConsole(t)
	path := observed(t, pooling)
	for _, tt := range []struct {
		member string
		code   int
		file   string
	}{
		{"a.example:4460", 0, "explain-a.txt"}, {"b", 1, "explain-b.txt"}, {"2f8c0c5e", 0, "explain-c.txt"},
	} {
		if code := c.run("pool", "explain", "-s", path, tt.member); code != tt.code {
			t.Errorf("%s: exit %d, want %d: %s", tt.member, code, tt.code, c.err.String())
		}
		golden(t, tt.file, c.out.String())
		fits(t, c.out.String())
	}
	if code := c.run("pool", "explain", "b.ex", "--json", "-s", path); code != 1 {
		t.Errorf("exit %d: %s", code, c.err.String())
	}
	var e map[string]any
	if err := json.Unmarshal(c.out.Bytes(), &e); err != nil || e["schema"] != "ntp-ctl.pool-explain/1" || e["handed_out"] != false || e["health"] != "left alone" ||
		e["server"] != "b.example:8080" || e["id"] != "b" || len(e["facts"].([]any)) == 0 || len(e["try"].([]any)) == 0 {
		t.Errorf("%v: %v", err, e)
	}
}

// TestPool_Failures: one line that says what to write instead, with the exit code of its kind.
func TestPool_Failures(t *testing.T) {
	c := newConsole(t)
	path, daemon := observed(t, pooling), observed(t, busy)
	empty := observed(t, func() *observe.Snapshot { return &observe.Snapshot{Pool: &observe.Pool{}} })
	for _, tt := range []struct {
		args []string
		code int
		err  string
	}{
		{[]string{"pool"}, 64, "pool needs a command: status or explain"},
		{[]string{"pool", "statsu"}, 64, "did you mean status?"},
		{[]string{"pool", "status", "x"}, 64, `takes no argument "x"`},
		{[]string{"pool", "explain", "-s", path}, 64, "explain needs one time source"},
		{[]string{"pool", "explain", "-s", path, "a", "b"}, 64, "explain needs one time source"},
		{[]string{"pool", "explain", "-s", path, "a"}, 64, "a is the beginning of several; use one of a.example:4460, a-time-source"},
		{[]string{"pool", "explain", "-s", path, "x\x1b[31m"}, 64, "no time source is called x?[31m; use one of a.example:4460, b.example:8080"},
		{[]string{"pool", "explain", "-s", empty, "x"}, 64, "the pool has none"},
		{[]string{"pool", "status", "-s", daemon}, 64, "is the socket of ntp-daemon"},
		{[]string{"pool", "status", "-s", path + "-gone"}, 69, "is its program running"},
		{[]string{"pool", "status", "-c", "missing.toml"}, 78, "missing.toml"},
		{[]string{"pool", "status", "--no-such"}, 64, "no-such"},
	} {
		if code := c.run(tt.args...); code != tt.code || !strings.Contains(c.err.String(), tt.err) || c.out.Len() > 0 || strings.Count(c.err.String(), "\n") != 1 {
			t.Errorf("%q: exit %d, want %d, out %q, err %q", tt.args, code, tt.code, c.out.String(), c.err.String())
		}
	}
}

// TestPool_Hostile: names that a configuration or a time source chose move no cursor, and cost no line its end.
func TestPool_Hostile(t *testing.T) {
	s := pooling()
	evil := "evil\x1b[2J\u202e\n" + strings.Repeat("w", 300)
	s.Pool.Names, s.Pool.NotReady, s.Pool.Stage, s.Pool.Selection, s.Pool.Address = []string{evil}, []string{evil}, evil, evil, evil
	s.Pool.Outcomes[evil] = 1
	for i := range s.Pool.Servers {
		m := &s.Pool.Servers[i]
		m.Server, m.Dialect, m.LastError, m.Operator = evil, evil, evil, evil
	}
	c := newConsole(t)
	path := observed(t, func() *observe.Snapshot { return s })
	for _, args := range [][]string{{"pool", "status", "-s", path}, {"pool", "explain", "-s", path, "b"}} {
		c.run(args...)
		if text := c.out.String(); strings.ContainsAny(text, "\x1b\u202e") || text == "" {
			t.Errorf("%q prints %.300q", args, text)
		}
	}
}

func TestMiddle(t *testing.T) {
	for _, tt := range []struct {
		name  string
		width int
		want  string
	}{{"short", 5, "short"}, {"abcdefghij", 9, "abcd…ghij"}, {"abcdefghij", 8, "abcd…hij"}, {"äöüäöüäöü", 5, "äö…öü"}} {
		if got := middle(tt.name, tt.width); got != tt.want || utf8.RuneCountInString(got) > tt.width {
			t.Errorf("%s in %d: %s, want %s", tt.name, tt.width, got, tt.want)
		}
	}
}
