package observe

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
)

func sample() *Snapshot {
	n := 7
	return &Snapshot{
		Program: Program{Version: "1.0.0", UptimeSeconds: 1.5, Now: Time{1 << 32}},
		System:  System{Stratum: 3, LeapIndicator: "NoWarning"},
		Sources: []Source{{Name: "a:123", ID: 1, NTSCookies: &n, Role: "selected"}},
		Servers: []Server{{Address: "127.0.0.1:123", Stats: ServerStats{Received: 4, Accepted: 3, Ignored: 1}}},
	}
}

func serve(t *testing.T) (path string, stop func()) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "observe")
	ln, err := Listen("observation-path", path, 0o660)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, ln, sample, zerolog.Nop()) }()
	return path, func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	path, stop := serve(t)
	defer stop()
	s, err := Read(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	if s.System.Stratum != 3 || len(s.Sources) != 1 || *s.Sources[0].NTSCookies != 7 || s.Servers[0].Stats.Accepted != 3 {
		t.Fatalf("got %+v", s)
	}
}

// TestX01_LengthPrefixAndGarbageRefused: whoever reads a socket is not made to allocate more than the largest snapshot.
func TestX01_LengthPrefixAndGarbageRefused(t *testing.T) {
	prefix := func(n uint64, body string) []byte { return append(binary.BigEndian.AppendUint64(nil, n), body...) }
	for name, in := range map[string][]byte{
		"empty": nil, "short": {0, 0}, "2^63": prefix(1<<63, "{}"), "all ones": prefix(1<<64-1, "{}"), "sixteen times the most": prefix(maxSnapshot<<4, "{}"),
		"partial": prefix(10, "{"), "the most, and then nothing": prefix(maxSnapshot, "{"), "garbage": prefix(3, "abc"),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := Decode(bytes.NewReader(in))
		runtime.ReadMemStats(&after)
		if err == nil {
			t.Errorf("%s accepted", name)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20+1<<16 {
			t.Errorf("%s: %d bytes allocated", name, n)
		}
	}
}

// TestX01_LongerThanTheMostRefused: a whole snapshot that is one byte too long is not read, however well it is made.
func TestX01_LongerThanTheMostRefused(t *testing.T) {
	for more, accepted := range map[int]bool{0: true, 1: false} {
		body := append(bytes.Repeat([]byte{' '}, maxSnapshot-2+more), "{}"...)
		in := append(binary.BigEndian.AppendUint64(nil, uint64(len(body))), body...)
		if _, err := Decode(bytes.NewReader(in)); (err == nil) != accepted {
			t.Errorf("%d bytes: %v", len(body), err)
		}
	}
}

// TestX01_NobodyIsHeard: the socket only speaks. What a client sends is not read, its connection is closed, and the next one
// is served.
func TestX01_NobodyIsHeard(t *testing.T) {
	path, stop := serve(t)
	defer stop()
	for name, said := range map[string][]byte{
		"garbage": []byte("GET / HTTP/1.1\r\n\r\n"), "partial frame": {0, 0, 0, 0, 0, 0, 0, 9, '{'},
		"2^63": binary.BigEndian.AppendUint64(nil, 1<<63), "60 kB": make([]byte, 60000),
	} {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Write(said)
		_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
		if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: still connected", name)
		}
		c.Close()
		if _, err := Read(context.Background(), path); err != nil {
			t.Errorf("after %s: %v", name, err)
		}
	}
}

// crowd is a listener to which the test brings pipes, and which counts those that are open.
type crowd struct {
	next chan net.Conn
	gone chan struct{}
	open atomic.Int32
}

type member struct {
	net.Conn
	open *atomic.Int32
	left sync.Once
}

func (m *member) Close() error {
	m.left.Do(func() { m.open.Add(-1) })
	return m.Conn.Close()
}

func (l *crowd) Accept() (net.Conn, error) {
	select {
	case c := <-l.next:
		l.open.Add(1)
		return &member{Conn: c, open: &l.open}, nil
	case <-l.gone:
		return nil, net.ErrClosed
	}
}

func (l *crowd) Close() error   { close(l.gone); return nil }
func (l *crowd) Addr() net.Addr { return &net.UnixAddr{} }

// come makes a client and tells when it has been seen to.
func (l *crowd) come() net.Conn {
	ours, theirs := net.Pipe()
	l.next <- theirs
	synctest.Wait()
	return ours
}

// TestX02_IdleReadersAreCappedAndDropped: of a hundred clients that never read, eight hold a place, for half a second; the
// others are closed at once.
func TestX02_IdleReadersAreCappedAndDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &crowd{next: make(chan net.Conn), gone: make(chan struct{})}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- Serve(ctx, l, sample, zerolog.Nop()) }()
		for n := range 100 {
			l.come()
			if open, want := l.open.Load(), int32(min(n+1, 8)); open != want {
				t.Fatalf("%d of %d clients are connected, want %d", open, n+1, want)
			}
		}
		time.Sleep(499 * time.Millisecond)
		synctest.Wait()
		if n := l.open.Load(); n != 8 {
			t.Errorf("%d clients after 499 ms", n)
		}
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		if n := l.open.Load(); n != 0 {
			t.Errorf("%d clients that never read are still connected after 501 ms", n)
		}
		if s, err := Decode(l.come()); err != nil || s.System.Stratum != 3 {
			t.Errorf("the next reader: %v", err)
		}
		l.come()
		begun := time.Now()
		cancel()
		if err := <-done; err != nil || time.Since(begun) > 500*time.Millisecond {
			t.Errorf("ended with a reader that never reads after %v: %v", time.Since(begun), err)
		}
	})
}

func TestX03_SocketPath(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen("observation-path", file, 0o600); !errors.Is(err, ErrOccupied) {
		t.Errorf("file: %v", err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen("observation-path", link, 0o600); !errors.Is(err, ErrOccupied) {
		t.Errorf("symlink: %v", err)
	}
	stale := filepath.Join(dir, "stale")
	ln, err := net.Listen("unix", stale)
	if err != nil {
		t.Fatal(err)
	}
	ln.(*net.UnixListener).SetUnlinkOnClose(false)
	if _, err := Listen("observation-path", stale, 0o600); !errors.Is(err, ErrInUse) {
		t.Errorf("served socket: %v", err)
	}
	ln.Close()
	toStale := filepath.Join(dir, "link to a socket")
	if err := os.Symlink(stale, toStale); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen("observation-path", toStale, 0o600); !errors.Is(err, ErrOccupied) {
		t.Errorf("link to a stale socket: %v", err)
	}
	ln2, err := Listen("observation-path", stale, 0o640)
	if err != nil {
		t.Fatalf("stale socket not replaced: %v", err)
	}
	defer ln2.Close()
	st, err := os.Stat(stale)
	if err != nil || st.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, %v; want 0640", st.Mode(), err)
	}
	ln3, err := Listen("observation-path", filepath.Join(dir, "run", "s"), 0o600)
	if err != nil {
		t.Fatalf("the last folder, as /run is after a boot: %v", err)
	}
	defer ln3.Close()
	if st, err := os.Stat(filepath.Join(dir, "run")); err != nil || st.Mode().Perm()&^0o755 != 0 {
		t.Errorf("folder: %v, %v", st, err)
	}
	if _, err := Listen("observation-path", filepath.Join(dir, "missing", "run", "s"), 0o600); err == nil || !strings.Contains(err.Error(), "create the folder or change observation-path") {
		t.Errorf("two folders missing: %v", err)
	}
	for path, want := range map[string]string{filepath.Join(dir, "missing", "run", "s"): "create the folder or change handover-path", file: "change handover-path, or remove it"} {
		if _, err := Listen("handover-path", path, 0o600); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "observation") {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	var buf bytes.Buffer
	if err := Write(&buf, sample()); err != nil {
		f.Fatal(err)
	}
	f.Add(buf.Bytes())
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 2, '{', '}'})
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := Decode(bytes.NewReader(b))
		if err != nil {
			return
		}
		if err := Write(io.Discard, s); err != nil {
			t.Fatalf("decoded snapshot does not encode: %v", err)
		}
	})
}

// TestListen_LiveSocketIsNotDisturbed: whoever serves the socket does not even see that somebody looked. An observer of
// ntpd-rs ends over a reader that leaves at once.
func TestListen_LiveSocketIsNotDisturbed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "observe")
	owner, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer owner.Close()
	before, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := Listen("observation-path", path, 0o600); !errors.Is(err, ErrInUse) {
			t.Fatalf("got %v", err)
		}
	}
	if after, err := os.Lstat(path); err != nil || !os.SameFile(before, after) {
		t.Errorf("the owner's socket was replaced: %v", err)
	}
	_ = owner.SetDeadline(time.Now().Add(20 * time.Millisecond)) // what was connected before is accepted at once
	if c, err := owner.Accept(); err == nil {
		c.Close()
		t.Error("the owner was connected to")
	}
}

// TestServe_SlowReaderLosesItsPlace: readers of a snapshot that no buffer holds, who do not read, have given all places
// back after the time of one write.
func TestServe_SlowReaderLosesItsPlace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "observe")
	ln, err := Listen("observation-path", path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	large := sample()
	large.Suite.Refusal = strings.Repeat("x", 1<<20) // several times what the kernel keeps for a reader
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, ln, func() *Snapshot { return large }, zerolog.Nop()) }()
	for range maxClients {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil { // it has its place
			t.Fatal(err)
		}
	}
	if _, err := Read(t.Context(), path); err == nil {
		t.Error("a ninth reader was served")
	}
	deadline := time.Now().Add(10 * writeTimeout)
	for {
		s, err := Read(t.Context(), path)
		if err == nil {
			if len(s.Suite.Refusal) != len(large.Suite.Refusal) {
				t.Error("cut short")
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("readers that do not read still have every place: %v", err)
		}
		time.Sleep(writeTimeout / 10)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestServe_PanicCostsItsReader: a bug in making a snapshot costs the reader who asked, who sees no snapshot, and the next
// one is served.
func TestServe_PanicCostsItsReader(t *testing.T) {
	path := filepath.Join(t.TempDir(), "observe")
	ln, err := Listen("observation-path", path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	var calls atomic.Int32
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- Serve(ctx, ln, func() *Snapshot {
			if calls.Add(1) <= 3 {
				panic("injected")
			}
			return sample()
		}, zerolog.New(&log))
	}()
	for range 3 {
		if _, err := Read(t.Context(), path); err == nil {
			t.Error("a snapshot out of a panic")
		}
	}
	if _, err := Read(t.Context(), path); err != nil {
		t.Error(err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if n := strings.Count(log.String(), "bug: a reader"); n != 1 || !strings.Contains(log.String(), "socket_test.go") {
		t.Errorf("said %d times, or without the place: %s", n, log.String())
	}
}
