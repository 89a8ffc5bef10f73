package logging

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

func golden(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func compare(t *testing.T, got, want string) {
	t.Helper()
	if got == want {
		return
	}
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range max(len(g), len(w)) {
		var a, b string
		if i < len(g) {
			a = g[i]
		}
		if i < len(w) {
			b = w[i]
		}
		if a != b {
			t.Errorf("line %d\n got %s\nwant %s", i+1, a, b)
		}
	}
}

// The lines of the document that the project began from, byte for byte.
func TestSeedLines(t *testing.T) {
	var out bytes.Buffer
	var now time.Time
	root := New(Options{Level: zerolog.InfoLevel, Format: Console, Out: &out, Now: func() time.Time { return now }})
	system := Target(root, "ntpd::daemon::system")
	kalman := Target(root, "ntp_proto::algorithm::kalman")
	pool := Target(root, "nts_pool_ke")
	at := func(s string) {
		var err error
		if now, err = time.Parse("2006-01-02 15:04:05.000000", s); err != nil {
			t.Fatal(err)
		}
		now = now.In(time.FixedZone("elsewhere", 7200)) // the zone must not show
	}
	source := func(when string, id int, addr string) {
		at(when)
		system.Info().Str("source_id", fmt.Sprintf("SourceId(%d)", id)).Str("addr", addr).Str("spawner", "SpawnerId(1)").Msg("new source")
	}
	offset := func(when, ms, err, ppm string) {
		at(when)
		kalman.Info().Msgf("Offset: %s+-%sms, frequency: 0+-%sppm", ms, err, ppm)
	}
	source("2023-12-21 10:49:12.702642", 1, "213.109.127.82:123")
	source("2023-12-21 10:49:12.702693", 2, "94.198.159.16:123")
	source("2023-12-21 10:49:12.702706", 3, "154.51.12.215:123")
	source("2023-12-21 10:49:12.702719", 4, "45.138.55.60:123")
	offset("2023-12-21 10:49:12.709153", "2.2252593194659007", "70.88905127356101", "10000000")
	offset("2023-12-21 10:49:12.709438", "1.6675194083763052", "50.70180376962068", "7071067.811865476")
	offset("2023-12-21 10:49:12.711005", "1.3434683112795662", "43.24338657667398", "5773502.691896257")
	for _, l := range [][2]string{
		{"34.628308", "listening on 'Ok(0.0.0.0:4460)'"},
		{"37.765321", "received records from the client"},
		{"37.766481", "checking supported algorithms for 'localhost:8081'"},
		{"37.767102", "checking supported algorithms for 'localhost:8080'"},
		{"37.769478", "established connection to the server"},
		{"37.769717", "received supported algorithms from the NTS KE server"},
		{"37.770599", "fetching cookies from the NTS KE server"},
		{"37.770834", "received cookies from the NTS KE server"},
		{"37.770868", "wrote records for client"},
	} {
		at("2023-12-21 10:49:" + l[0])
		pool.Info().Msg(l[1])
	}
	source("2023-12-21 13:11:03.577635", 1, "127.0.0.1:123")
	offset("2023-12-21 13:11:03.580097", "-0.043484615172139515", "44.92576728378405", "10000000")
	system.Debug().Msg("below the level")
	compare(t, out.String(), strings.ReplaceAll(golden(t, "seed.golden"), "\r", ""))
}

// speak writes one line of every shape.
func speak(log zerolog.Logger) {
	log.Trace().Msg("plain")
	pool := Target(log, "nts_pool_ke")
	pool.Debug().Int("n", -3).Bool("ok", true).Interface("none", nil).Float64("f", 0.1).Dur("d", 1500*time.Millisecond).Msg("Address:Port")
	system := Target(log, "ntpd::daemon::system")
	system.Warn().Str("a", "two words").Str("b", "").Str("c", "x=y").Str("d", "tab\t").Str("e", `"q"`).Str("f", "\x1b[2J").
		Str("g", "naïve").Str("h", `back\slash`).Str("i", "[::1]:123").Msg("quoted")
	log.Error().Int("z", 1).Int("a", 2).Int("m", 3).Err(errors.New("open /x: no such file")).Ints("list", []int{1, 2}).
		Dict("dict", zerolog.Dict().Str("k", "v w")).Time("when", time.Date(2026, 11, 25, 12, 0, 0, 0, time.FixedZone("", 7200))).Msg("later fields")
	log.Info().Msg("forged\n2026-11-25T10:00:00.000001Z ERROR \x1b[31mline \"kept\" 'kept' %d")
	log.Log().Msg("no level")
	log.Info().Str("empty", "").Msg("")
}

func shapes(f Format, color bool) string {
	var out bytes.Buffer
	speak(New(Options{Level: zerolog.TraceLevel, Format: f, Out: &out, Color: color,
		Now: func() time.Time { return time.Date(2026, 11, 25, 10, 0, 0, 1000, time.UTC) }}))
	return out.String()
}

func TestConsoleShapes(t *testing.T) { compare(t, shapes(Console, false), golden(t, "shapes.golden")) }

func TestConsoleColour(t *testing.T) {
	if got := shapes(Console, true); !strings.Contains(got, "Z \x1b[33m WARN\x1b[0m ntpd::daemon::system: quoted a=") {
		t.Errorf("%q", got)
	}
}

func TestJournalPriorities(t *testing.T) {
	lines := strings.Split(golden(t, "shapes.golden"), "\n")
	for i, p := range []string{"<7>", "<7>", "<4>", "<3>", "<6>", "<6>", "<6>"} {
		_, rest, _ := strings.Cut(lines[i], "Z ")
		lines[i] = p + rest[len("LEVEL "):]
	}
	compare(t, shapes(Journal, false), strings.Join(lines, "\n"))
}

func TestJSONShape(t *testing.T) {
	for _, l := range strings.Split(strings.TrimSpace(shapes(JSON, true)), "\n") {
		var m map[string]any
		if err := json.Unmarshal([]byte(l), &m); err != nil || m["time"] != "2026-11-25T10:00:00.000001Z" {
			t.Errorf("%s: %v", l, err)
		}
	}
}

func TestDetect(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	st := info.Sys().(*syscall.Stat_t)
	ours := fmt.Sprintf("%d:%d", st.Dev, st.Ino)
	for _, row := range []struct {
		name   string
		out    any
		stream string
		want   Format
	}{
		{"buffer", &bytes.Buffer{}, ours, JSON}, {"file", f, "", JSON}, {"journal", f, ours, Journal},
		{"redirected under systemd", f, "1:1", JSON}, {"garbage", f, "x", JSON},
	} {
		out, _ := row.out.(interface{ Write([]byte) (int, error) })
		if got := detect(out, row.stream); got != row.want {
			t.Errorf("%s: %s, want %s", row.name, got, row.want)
		}
	}
}

func TestParse(t *testing.T) {
	for _, s := range []string{"trace", "debug", "info", "warn", "error"} {
		if l, err := ParseLevel(s); err != nil || l.String() != s {
			t.Errorf("%s: %v %v", s, l, err)
		}
	}
	for _, s := range []string{"", "INFO", "fatal", "panic", "disabled", "1", "verbose"} {
		if _, err := ParseLevel(s); err == nil {
			t.Errorf("level %q accepted", s)
		}
	}
}

// What is no record of zerolog's passes as it is; nothing is lost and nothing panics.
func FuzzTextWriter(f *testing.F) {
	for _, s := range []string{`{"level":"info","message":"m","a":1}`, `{"level":1,"time":[],"message":{}}`, `{"a":`, `[]`, ``, `{"a":"\ud800"}`, "{\"\x1b\":\"\\n\"}"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, record []byte) {
		var out bytes.Buffer
		w := textWriter{out: &out, prefix: consolePrefix(false)}
		if n, err := w.Write(record); err != nil || n != len(record) {
			t.Fatal(n, err)
		}
		if _, err := parse(record); err == nil && strings.Count(out.String(), "\n") != 1+bytes.Count(record, []byte("\n")) && !bytes.Contains(record, []byte("\n")) {
			t.Errorf("%q became %q", record, out.String())
		}
	})
}

// failing refuses every write.
type failing struct{ calls int }

func (f *failing) Write([]byte) (int, error) { f.calls++; return 0, syscall.EPIPE }

func TestL08_WriteErrorsAreSwallowed(t *testing.T) {
	for _, format := range []Format{Console, JSON, Journal} {
		f := &failing{}
		log := New(Options{Format: format, Out: f})
		log.Info().Msg("one")
		log.Info().Msg("two")
		if f.calls != 2 {
			t.Errorf("%s: %d writes", format, f.calls)
		}
	}
}

// childEnv makes this binary a program whose outputs are broken pipes.
const childEnv = "LOGGING_BROKEN_PIPE"

func TestMain(m *testing.M) {
	if file := os.Getenv(childEnv); file != "" {
		var in [1]byte
		os.Stdin.Read(in[:]) // until the readers are gone
		for _, out := range []*os.File{os.Stdout, os.Stderr} {
			log := New(Options{Format: Console, Out: out})
			for range 100 {
				log.Info().Msg("nobody listens")
			}
		}
		os.WriteFile(file, []byte("alive"), 0o600)
		os.Exit(3)
	}
	os.Exit(m.Run())
}

func TestL08_BrokenPipesDoNotKill(t *testing.T) {
	file := filepath.Join(t.TempDir(), "alive")
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+file)
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	errs, err3 := cmd.StderrPipe()
	if err := errors.Join(err1, err2, err3, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	out.Close()
	errs.Close()
	in.Close()
	err := cmd.Wait()
	if alive, _ := os.ReadFile(file); string(alive) != "alive" || cmd.ProcessState.ExitCode() != 3 {
		t.Errorf("process ended with %v", err)
	}
}

func TestLinesStayWhole(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	log := New(Options{Format: Console, Out: w})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				log.Info().Str("k", strings.Repeat("x", 200)).Msg("line")
			}
		})
	}
	go func() { wg.Wait(); w.Close() }()
	var all bytes.Buffer
	if _, err := all.ReadFrom(r); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(all.String()), "\n")
	if len(lines) != 400 {
		t.Errorf("%d lines", len(lines))
	}
	for _, l := range lines {
		if !strings.HasSuffix(l, "INFO line k="+strings.Repeat("x", 200)) {
			t.Fatalf("torn: %s", l)
		}
	}
}

// A reader that never reads costs one short wait and then lines, not the clock.
func TestL08_StuckReaderDoesNotBlock(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	w.Fd() // makes the pipe blocking, as a standard output is
	log := New(Options{Format: Console, Out: w})
	done := make(chan struct{})
	go func() {
		for range 5000 { // several times the pipe's 64 KiB
			log.Info().Str("k", strings.Repeat("x", 100)).Msg("line")
		}
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(8 * time.Second):
		t.Fatal("blocked")
	}
	drained := make([]byte, 1<<20)
	if _, err := r.Read(drained); err != nil {
		t.Fatal(err)
	}
	log.Info().Msg("after the jam")
	n, err := r.Read(drained)
	for err == nil && !bytes.Contains(drained[:n], []byte("after the jam")) {
		n, err = r.Read(drained)
	}
	if err != nil {
		t.Error(err)
	}
}

func TestLimiter(t *testing.T) {
	now := time.Unix(1000, 0)
	l := NewLimiter(time.Hour)
	want := func(what string, key string, repeated uint64, loud bool) {
		t.Helper()
		if r, ok := l.Allow(now, key); r != repeated || ok != loud {
			t.Errorf("%s: %d %v, want %d %v", what, r, ok, repeated, loud)
		}
	}
	want("first", "a", 0, true)
	want("second", "a", 1, false)
	want("third", "a", 2, false)
	want("another kind", "b", 0, true)
	now = now.Add(time.Hour)
	want("after the interval", "a", 2, true)
	want("and again", "a", 1, false)
	for i := range 10 * maxLimited {
		now = now.Add(time.Second)
		l.Allow(now, fmt.Sprint(i))
	}
	if len(l.kinds) != maxLimited {
		t.Errorf("%d kinds kept", len(l.kinds))
	}
	want("one of the latest", fmt.Sprint(10*maxLimited-maxLimited/2), 1, false)
	want("one long ago", "7", 0, true)
}

func TestLimiterEvent(t *testing.T) {
	var out bytes.Buffer
	now := time.Unix(1000, 0)
	log := New(Options{Level: zerolog.InfoLevel, Format: Journal, Out: &out})
	l := NewLimiter(time.Hour)
	for range 3 {
		l.Event(&log, zerolog.WarnLevel, now, "resolve").Str("host", "h").Msg("cannot resolve")
	}
	now = now.Add(2 * time.Hour)
	l.Event(&log, zerolog.WarnLevel, now, "resolve").Str("host", "h").Msg("cannot resolve")
	compare(t, out.String(), "<4>cannot resolve host=h\n<4>cannot resolve repeated=2 host=h\n")
}
