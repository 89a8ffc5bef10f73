package daemon

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"ntp-daemon/internal/config"
	"ntp-daemon/internal/observe"
	"ntp-daemon/internal/privdrop"
	"ntp-daemon/internal/program"
	"ntp-daemon/internal/suite"
	"ntp-daemon/internal/system"
	"ntp-daemon/internal/testca"
	"ntp-daemon/internal/version"
)

// logLines is a log that a test reads while the daemon writes.
type logLines struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logLines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logLines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// run starts a daemon with that configuration, after what befalls the machine once that has been read; stop ends it and
// reports its error.
func run(t *testing.T, text string, befall ...func()) (d *Daemon, log *logLines, stop func() error) {
	t.Helper()
	return runReloaded(t, text, nil, befall...)
}

// runReloaded is run with a signal that asks for a reload.
func runReloaded(t *testing.T, text string, hup <-chan os.Signal, befall ...func()) (d *Daemon, log *logLines, stop func() error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ntp.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, _, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range befall {
		f()
	}
	log = new(logLines)
	d, err = New(cfg, Deps{Log: zerolog.New(log), Rand: rand.Reader, OpenClock: openClock})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx, hup) }()
	stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() { _ = stop() })
	return d, log, stop
}

// eventually waits for what the daemon's other goroutines do.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 10 s: %s", what)
		}
	}
}

// TestObserver_NeverEndsADaemon: a socket without folder, one that another daemon has, and what is no socket cost the
// daemon its socket only, with a line that names path and remedy; the other daemon keeps its own.
func TestObserver_NeverEndsADaemon(t *testing.T) {
	dir := t.TempDir()
	conf := func(path string) string {
		return "[observability]\nobservation-path = \"" + path + "\"\n[synchronization]\nclock = \"virtual\"\n"
	}
	shared := filepath.Join(dir, "observe")
	_, _, stopFirst := run(t, conf(shared))
	owner := func() float64 {
		s, err := observe.Read(t.Context(), shared)
		if err != nil {
			return -1
		}
		return s.Program.UptimeSeconds
	}
	eventually(t, "the first daemon's socket", func() bool { return owner() >= 0 })
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(dir, "no", "such", "observe")
	for path, remedy := range map[string]string{
		shared: "change observation-path, or stop that process", file: "change observation-path, or remove it",
		missing: "create the folder or change observation-path",
	} {
		d, log, stop := run(t, conf(path))
		if down := d.observe.Down(); down == nil || !strings.Contains(down.Reason, path) || !strings.Contains(down.Reason, remedy) {
			t.Errorf("%s: %+v", path, down)
		}
		if path == missing { // it comes by itself once that is mended
			if err := os.MkdirAll(filepath.Dir(missing), 0o755); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the socket in the new folder", func() bool { _, err := observe.Read(t.Context(), missing); return err == nil })
		}
		if err := stop(); err != nil || strings.Count(log.String(), "is down") != 1 {
			t.Errorf("%s: %v, %s", path, err, log.String())
		}
	}
	if owner() < 0 {
		t.Error("the first daemon lost its socket")
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "mine" {
		t.Errorf("%q, %v", b, err)
	}
	if err := stopFirst(); err != nil {
		t.Error(err)
	}
}

// certificate writes a certificate that ends then, and its key, in dir.
func certificate(t *testing.T, ca *testca.CA, dir string, notAfter time.Time) {
	t.Helper()
	leaf := ca.Leaf("localhost")
	chain, key := testca.Files(t, ca.Custom(leaf.PrivateKey.(crypto.Signer), func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().Add(-100*time.Hour), notAfter
	}, "localhost"))
	put(t, filepath.Join(dir, "chain.pem"), chain)
	put(t, filepath.Join(dir, "key.pem"), key)
}

// keyExchange is the configuration of a server with a key exchange whose files are in dir.
func keyExchange(dir string, ntp, ke int) string {
	return fmt.Sprintf("[[server]]\nlisten = \"127.0.0.1:%d\"\n[[nts-ke-server]]\nlisten = \"127.0.0.1:%d\"\nntp-port = %d\n"+
		"certificate-chain-path = %q\nprivate-key-path = %q\n[synchronization]\nclock = \"virtual\"\nlocal-stratum = 3\n",
		ntp, ke, ntp, filepath.Join(dir, "chain.pem"), filepath.Join(dir, "key.pem"))
}

// partOf is what readers see of the part with that word in its name.
func partOf(t *testing.T, d *Daemon, word string) observe.Part {
	t.Helper()
	for _, p := range (&observer{d}).snapshot().Suite.Parts {
		if strings.Contains(p.Name, word) {
			return p
		}
	}
	t.Fatalf("no part %q", word)
	return observe.Part{}
}

// TestKeyExchange_BadCertificateCostsItsListener: whatever is wrong with the certificate of a key exchange, the daemon
// starts, NTP is served, and the key exchange says what is wrong; it comes up when that is mended, by itself or at once by
// a reload.
func TestKeyExchange_BadCertificateCostsItsListener(t *testing.T) {
	ca := testca.New(t)
	for story, spoil := range map[string]func(dir string){
		"expired": func(dir string) { certificate(t, ca, dir, time.Now().Add(-time.Hour)) },
		"missing": func(dir string) { _ = os.Remove(filepath.Join(dir, "chain.pem")) },
		"no PEM":  func(dir string) { put(t, filepath.Join(dir, "chain.pem"), []byte("x")) },
		"mismatched": func(dir string) {
			_, key := testca.Files(t, ca.Leaf("localhost"))
			put(t, filepath.Join(dir, "key.pem"), key)
		},
	} {
		t.Run(story, func(t *testing.T) {
			dir := t.TempDir()
			certificate(t, ca, dir, time.Now().Add(time.Hour))
			at := suite.FreePort(t)
			d, log, stop := run(t, keyExchange(dir, suite.FreePort(t), at), func() { spoil(dir) })
			if p := partOf(t, d, "key exchange"); p.Up || !strings.Contains(p.Reason, dir) {
				t.Errorf("%+v", p)
			}
			if p := partOf(t, d, "NTP server"); !p.Up {
				t.Errorf("%+v", p)
			}
			if c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", at)); err == nil {
				c.Close()
				t.Error("it listens")
			}
			certificate(t, ca, dir, time.Now().Add(30*24*time.Hour))
			reload(t, d)
			eventually(t, "the key exchange", func() bool { return partOf(t, d, "key exchange").Up })
			c, err := tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", at), &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost", NextProtos: []string{"ntske/1"}})
			if err != nil {
				t.Fatal(err)
			}
			c.Close()
			if err := stop(); err != nil || strings.Count(log.String(), "is down") != 1 || !strings.Contains(log.String(), "is up again") {
				t.Errorf("%v: %s", err, log.String())
			}
		})
	}
}

// TestCertificates_WarnedOf: one that ends within 14 days is named in the log once, and its end is in the snapshot.
func TestCertificates_WarnedOf(t *testing.T) {
	dir, end := t.TempDir(), time.Now().Add(5*24*time.Hour)
	certificate(t, testca.New(t), dir, end)
	d, log, stop := run(t, keyExchange(dir, suite.FreePort(t), suite.FreePort(t)))
	eventually(t, "the warning", func() bool { return strings.Contains(log.String(), "certificate expires on") })
	if s := (&observer{d}).snapshot(); s.Suite.KeyExchangeServers[0].CertificateNotAfter != end.Unix() {
		t.Errorf("%+v", s.Suite.KeyExchangeServers)
	}
	if err := stop(); err != nil || !strings.Contains(log.String(), filepath.Join(dir, "chain.pem")) {
		t.Error(err, log.String())
	}
}

// TestBelieved: certificates are judged by the clock as the sources put it right, and never by one that nobody has set.
func TestBelieved(t *testing.T) {
	d, _, _ := run(t, "[synchronization]\nclock = \"virtual\"\n")
	off := func(offset time.Duration, known bool) time.Duration {
		d.report.Store(&system.Report{EstimateKnown: known, Offset: offset})
		return d.believed().Sub(d.wall()).Round(time.Second)
	}
	if got := off(50*time.Hour, true); got != 50*time.Hour {
		t.Errorf("a clock that is 50 h behind is put right by %v", got)
	}
	if got := off(50*time.Hour, false); got != 0 {
		t.Errorf("without an estimate by %v", got)
	}
	if d.report.Store(&system.Report{EstimateKnown: true, Offset: -80 * 365 * 24 * time.Hour}); !d.believed().Equal(version.Built()) {
		t.Errorf("a clock that shows %v is believed", d.believed())
	}
}

// TestListener_AddressThatNoInterfaceHas: it costs its listener, which readers see, with its reason; the others serve.
func TestListener_AddressThatNoInterfaceHas(t *testing.T) {
	d, log, stop := run(t, fmt.Sprintf("[[server]]\nlisten = \"192.0.2.77:%d\"\n[[server]]\nlisten = \"[fe80::1%%nosuch0]:%d\"\n"+
		"[[server]]\nlisten = \"127.0.0.1:%d\"\n[synchronization]\nclock = \"virtual\"\n", suite.FreePort(t), suite.FreePort(t), suite.FreePort(t)))
	for word, want := range map[string]string{"192.0.2.77": noInterface, "nosuch0": "no such network interface", "127.0.0.1": ""} {
		if p := partOf(t, d, word); p.Up != (want == "") || !strings.Contains(p.Reason, want) {
			t.Errorf("%+v, want %q", p, want)
		}
	}
	if err := stop(); err != nil || !strings.Contains(log.String(), noInterface) {
		t.Errorf("%v: %s", err, log.String())
	}
}

// What another program has is no part to wait for: a second NTP server ends at the start and says why.
func TestListener_TakenEndsTheStart(t *testing.T) {
	text := fmt.Sprintf("[[server]]\nlisten = \"127.0.0.1:%d\"\n[synchronization]\nclock = \"virtual\"\n", suite.FreePort(t))
	run(t, text)
	cfg, _, err := config.Parse("ntp.toml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	var log logLines
	_, err = New(cfg, Deps{Log: zerolog.New(&log), Rand: rand.Reader, OpenClock: openClock})
	if program.ExitCode(err, ExitCode) != program.ExitUnavailable || !strings.Contains(fmt.Sprint(err), "end who has it (ss -tulpn shows that), or change listen of [[server]]") {
		t.Errorf("exit code %d: %v", program.ExitCode(err, ExitCode), err)
	}
	if strings.Contains(log.String(), "everything else runs") {
		t.Errorf("nothing runs, and it says so: %s", log.String())
	}
}

// TestKept: the right to set the clock is kept by who steers the system's clock, by nobody else.
func TestKept(t *testing.T) {
	if slices.Contains(kept(false), privdrop.SysTime) || !slices.Contains(kept(true), privdrop.SysTime) {
		t.Errorf("%v, %v", kept(false), kept(true))
	}
}

// TestLogFile_CannotBeWritten: the daemon runs without its log file and has it as soon as it can be opened.
func TestLogFile_CannotBeWritten(t *testing.T) {
	before := zerolog.GlobalLevel()
	t.Cleanup(func() { zerolog.SetGlobalLevel(before) })
	path := filepath.Join(t.TempDir(), "missing", "log")
	log, file, part := openLog(config.Observability{LogPath: path}, zerolog.InfoLevel)
	if part == nil || part.Down() == nil || !strings.Contains(part.Down().Reason, path) || !strings.Contains(part.Down().Reason, "check log-path") {
		t.Fatalf("%+v", part)
	}
	defer file.Close()
	if err := os.Mkdir(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if shown := (&Daemon{logPart: part}).shownParts(time.Now()); len(shown) != 1 || shown[0].Up || !strings.Contains(shown[0].Name, path) {
		t.Errorf("%+v", shown)
	}
	if err := part.Try(); err != nil {
		t.Fatal(err)
	}
	log.Info().Msg("after")
	if b, err := os.ReadFile(path); err != nil || !strings.Contains(string(b), "after") || !strings.Contains(string(b), "is up again") {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := os.Stdout.Stat(); err != nil {
		t.Errorf("the standard output was closed: %v", err)
	}
}
