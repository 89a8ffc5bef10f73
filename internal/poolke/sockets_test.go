package poolke

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"ntp-daemon/internal/handover"
	"ntp-daemon/internal/nts/aead"
	"ntp-daemon/internal/nts/record"
	"ntp-daemon/internal/observe"
	"ntp-daemon/internal/program"
)

// socket opens one as another process would have.
func socket(t *testing.T, name string, origin handover.Origin) handover.Socket {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return handover.Socket{Listener: ln, Name: name, Origin: origin}
}

// at is where it is bound.
func at(s handover.Socket) netip.AddrPort { return s.Addr().(*net.TCPAddr).AddrPort() }

// closed reports whether nobody listens there any more.
func closed(s handover.Socket) bool {
	c, err := net.Dial("tcp", s.Addr().String())
	if err == nil {
		_ = c.Close()
	}
	return err != nil
}

// TestSockets_ForUsers: which of the sockets that other processes opened serves users, and what becomes of the others.
func TestSockets_ForUsers(t *testing.T) {
	unit, unit2 := socket(t, "nts-pool-ke.socket", handover.Unit), socket(t, "v6", handover.Unit)
	kept, given := socket(t, usersSocket, handover.Store), socket(t, usersSocket, handover.Predecessor)
	admin := socket(t, adminSocket, handover.Unit)
	elsewhere := netip.MustParseAddrPort("127.0.0.1:9")
	for _, row := range []struct {
		name   string
		have   []handover.Socket
		listen netip.AddrPort
		want   []handover.Socket // empty: a new one
		warns  int
	}{
		{"none", nil, elsewhere, nil, 0},
		{"of a unit", []handover.Socket{unit}, at(unit), []handover.Socket{unit}, 0},
		{"of a unit, elsewhere", []handover.Socket{unit}, elsewhere, []handover.Socket{unit}, 1},
		{"two of a unit", []handover.Socket{unit, unit2}, at(unit), []handover.Socket{unit, unit2}, 1},
		{"admin is none for users", []handover.Socket{admin}, elsewhere, nil, 0},
		{"kept", []handover.Socket{kept}, at(kept), []handover.Socket{kept}, 0},
		{"given", []handover.Socket{given}, at(given), []handover.Socket{given}, 0},
		{"given, at any port", []handover.Socket{given}, netip.MustParseAddrPort("127.0.0.1:0"), []handover.Socket{given}, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newTestPool(t)
			opened := socket(t, "", handover.Opened)
			w.fake("ts.example", healthy, nil)
			p := w.make(Deps{Sockets: row.have, Listen: func(context.Context, string) (net.Listener, error) { return opened, nil }})
			list, err := p.listen(t.Context(), row.listen)
			if err != nil {
				t.Fatal(err)
			}
			if row.want == nil {
				row.want = []handover.Socket{opened}
			}
			if len(list) != len(row.want) {
				t.Fatalf("%d sockets, want %d", len(list), len(row.want))
			}
			for i := range list {
				if list[i].Addr().String() != row.want[i].Addr().String() || list[i].Origin != row.want[i].Origin || list[i].Name != usersSocket {
					t.Errorf("%v from %v, want %v", list[i].Addr(), list[i].Origin, row.want[i].Addr())
				}
			}
			if got := len(w.log.lines(t)); got != row.warns {
				t.Errorf("%d lines in the log, want %d:\n%s", got, row.warns, w.log.String())
			}
		})
	}
}

// TestSockets_NotUsed: a socket that is not where the configuration says, or comes from a place of less rank, is closed.
func TestSockets_NotUsed(t *testing.T) {
	unit, kept, given, wrong := socket(t, "listen", handover.Unit), socket(t, usersSocket, handover.Store), socket(t, usersSocket, handover.Predecessor),
		socket(t, usersSocket, handover.Store)
	f, err := unit.Listener.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	same, err := net.FileListener(f)
	if err != nil {
		t.Fatal(err)
	}
	twice := handover.Socket{Listener: same, Name: usersSocket, Origin: handover.Store} // the unit's, and left in the store before there was a unit
	w := newTestPool(t)
	p := w.make(Deps{Sockets: []handover.Socket{twice, kept, given, unit}})
	if list, err := p.listen(t.Context(), at(unit)); err != nil || len(list) != 1 || list[0].Origin != handover.Unit {
		t.Errorf("%v, %v", list, err)
	}
	if closed(unit) || !closed(kept) || !closed(given) {
		t.Error("the unit's is closed, or the others are not")
	}
	w = newTestPool(t)
	p = w.make(Deps{Sockets: []handover.Socket{wrong}})
	if list, err := p.listen(t.Context(), netip.MustParseAddrPort("127.0.0.1:0")); err != nil || list[0].Origin != handover.Store {
		t.Errorf("at any port: %v, %v", list, err)
	}
	wrong = socket(t, usersSocket, handover.Store)
	p = w.make(Deps{Sockets: []handover.Socket{wrong}, Listen: func(context.Context, string) (net.Listener, error) { return nil, errors.New("opened anew") }})
	if _, err := p.listen(t.Context(), netip.MustParseAddrPort("127.0.0.2:1")); err == nil || !strings.Contains(err.Error(), "opened anew") || !closed(wrong) {
		t.Errorf("elsewhere: %v", err)
	}
}

// TestSockets_Operator: the admin listener of a socket unit is used wherever it is, one of a predecessor only where the
// configuration says; what nobody asks for is closed.
func TestSockets_Operator(t *testing.T) {
	unit, given, rest := socket(t, adminSocket, handover.Unit), socket(t, adminSocket, handover.Predecessor), socket(t, "another", handover.Predecessor)
	fresh := socket(t, "", handover.Opened)
	open := func() (net.Listener, error) { return fresh, nil }
	no := func(*handover.Socket) bool { return false }
	s := sockets{waiting: []handover.Socket{unit}}
	if ln, err := s.get(adminSocket, no, open); err != nil || ln.Addr() != unit.Addr() {
		t.Errorf("of a unit: %v, %v", ln, err)
	}
	s = sockets{waiting: []handover.Socket{given, rest}}
	if ln, err := s.get(adminSocket, no, open); err != nil || ln.Addr() != fresh.Addr() || !closed(given) {
		t.Errorf("one that does not fit: %v, %v", ln, err)
	}
	if list := s.given(); len(list) != 1 || list[0].Name != adminSocket || list[0].Addr() != fresh.Addr() {
		t.Errorf("for a successor: %v", list)
	}
	if ln, err := s.get(adminSocket, no, open); err != nil || ln.Addr() != fresh.Addr() || len(s.given()) != 1 {
		t.Errorf("opened again: %v, %v, %v", ln, err, s.given())
	}
	if s.closeRest(); !closed(rest) {
		t.Error("one that nobody asked for is open")
	}
}

// TestSuccession: a second pool takes the users' socket and the operator's over from the first one, which ends in order when the
// second one serves, and not before; users notice nothing, and the paths stay until the last one goes.
func TestSuccession(t *testing.T) {
	w := newTestPool(t)
	dir := t.TempDir()
	w.cfg.HandoverPath, w.cfg.ObservationPath, w.cfg.ObservationPermissions = filepath.Join(dir, "next"), filepath.Join(dir, "seen"), 0o600
	ts := w.fake("ts.example", healthy, nil)
	w.start()
	exchange := func(story string) {
		t.Helper()
		if _, err := w.keyExchange([]aead.Algorithm{aead.SIVCMAC256}); err != nil {
			t.Errorf("%s: %v", story, err)
		}
	}
	exchange("the first pool")
	if st, err := os.Stat(w.cfg.HandoverPath); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st, err)
	}

	lost, err := handover.Take(t.Context(), w.cfg.HandoverPath)
	if err != nil || lost == nil {
		t.Fatalf("%v, %v", lost, err)
	}
	lost.Close()
	eventually(t, func() bool { return strings.Contains(w.log.String(), "a successor did not take over") })
	exchange("after a successor that ended")

	running, err := handover.Take(t.Context(), w.cfg.HandoverPath)
	if err != nil || running == nil {
		t.Fatalf("%v, %v", running, err)
	}
	if w.pool.currentStage() != serving {
		t.Errorf("the first pool is %v", w.pool.currentStage())
	}
	first := w.pool
	second := w.make(Deps{Sockets: running.Sockets, Running: running})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- second.Run(ctx) }()
	if err := awaited(t, "the first pool ends", w.done); err != nil {
		t.Errorf("the first pool ends with %v", err)
	}
	w.done <- nil
	if first.currentStage() != draining || !strings.Contains(w.log.String(), "a successor serves, users under way may finish") {
		t.Errorf("the first pool is %v", first.currentStage())
	}
	if requests, _, _ := ts.seen(); len(requests) < 3 || requests[len(requests)-1].Kind == record.FixedKey {
		t.Errorf("the second pool has not asked the time source what it can do before it took over: %d requests", len(requests))
	}
	exchange("the second pool")
	if s, err := observe.Read(t.Context(), w.cfg.ObservationPath); err != nil || s.Pool.Listener != "predecessor" {
		t.Errorf("seen: %v", err)
	}
	cancel()
	if err := awaited(t, "the second pool ends", done); err != nil {
		t.Errorf("the second pool ends with %v", err)
	}
	for _, path := range []string{w.cfg.HandoverPath, w.cfg.ObservationPath} {
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is left: %v", path, err)
		}
	}
}

// lingeringListener is left by its loop when the test says so.
type lingeringListener struct {
	*net.TCPListener
	told, leave chan struct{}
}

func (l *lingeringListener) Accept() (net.Conn, error) {
	c, err := l.TCPListener.Accept()
	if err != nil {
		select {
		case l.told <- struct{}{}:
		default:
		}
		<-l.leave
	}
	return c, err
}

// TestSuccession_LastAccept: the successor hears that the pool before it accepts nobody any more when the last loop has left its socket.
func TestSuccession_LastAccept(t *testing.T) {
	w := newTestPool(t)
	w.cfg.HandoverPath = filepath.Join(t.TempDir(), "next")
	w.fake("ts.example", healthy, nil)
	told, leave := make(chan struct{}, 1), make(chan struct{})
	mayLeave := sync.OnceFunc(func() { close(leave) })
	w.startWith(Deps{Listen: func(context.Context, string) (net.Listener, error) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		return &lingeringListener{ln.(*net.TCPListener), told, leave}, nil
	}})
	defer mayLeave()                                                       // or the pool does not end
	eventually(t, func() bool { return w.pool.currentStage() == serving }) // the hand-over socket is there then
	running, err := handover.Take(t.Context(), w.cfg.HandoverPath)
	if err != nil || running == nil {
		t.Fatalf("%v, %v", running, err)
	}
	defer handover.CloseAll(running.Sockets)
	heard := make(chan error, 1)
	go func() { heard <- running.Serving(t.Context()) }()
	awaited(t, "the loop is to leave", told)
	select {
	case err := <-heard:
		t.Errorf("told before the loop has left: %v", err)
		heard <- err
	case <-time.After(50 * time.Millisecond): // a pass that is too early to see is no failure
	}
	mayLeave()
	if err := awaited(t, "the successor hears", heard); err != nil {
		t.Error(err)
	}
	if err := awaited(t, "the first pool ends", w.done); err != nil {
		t.Error(err)
	}
	w.done <- nil
}

// TestBackground_ClosesWhatNeverServed: a part that was opened at the start gives up what it has although the pool ends before
// the part has run.
func TestBackground_ClosesWhatNeverServed(t *testing.T) {
	w := newTestPool(t)
	p := w.make(Deps{})
	l := newLifetime(t.Context())
	l.over()
	given := 0
	part := program.NewPart("the door", zerolog.Nop(), func() error { return nil }, func(ctx context.Context) error {
		if ctx.Err() != nil {
			given++
		}
		return nil
	})
	if err := part.Try(); err != nil {
		t.Fatal(err)
	}
	p.background(&l, []*program.Part{part}).Wait()
	if given != 1 {
		t.Errorf("given up %d times", given)
	}
}

// TestSuccession_EndBetween: a pool that is told to end when its successor has the sockets and does not serve yet leaves it
// their paths; one whose successor has gone takes them along.
func TestSuccession_EndBetween(t *testing.T) {
	for story, gone := range map[string]bool{"the successor has the sockets": false, "the successor has gone": true} {
		t.Run(story, func(t *testing.T) {
			w := newTestPool(t)
			dir := t.TempDir()
			w.cfg.HandoverPath, w.cfg.ObservationPath, w.cfg.ObservationPermissions = filepath.Join(dir, "next"), filepath.Join(dir, "seen"), 0o600
			w.fake("ts.example", healthy, nil)
			w.start()
			eventually(t, func() bool { return w.pool.currentStage() == serving })
			running, err := handover.Take(t.Context(), w.cfg.HandoverPath)
			if err != nil || running == nil {
				t.Fatalf("%v, %v", running, err)
			}
			defer running.Close()
			if gone {
				running.Close()
				eventually(t, func() bool { return strings.Contains(w.log.String(), "a successor did not take over") })
			}
			w.stop()
			if err := awaited(t, "the pool ends", w.done); err != nil {
				t.Error(err)
			}
			w.done <- nil
			for _, path := range []string{w.cfg.HandoverPath, w.cfg.ObservationPath} {
				c, err := net.Dial("unix", path)
				if (err != nil) != gone || gone != errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%s: %v", path, err)
				}
				if err == nil {
					_ = c.Close()
				}
			}
		})
	}
}
