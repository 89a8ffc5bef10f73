package handover

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// helperEnv turns the test process into one that the service manager started: it prints what it was passed; "offer": into one
// that offers the hand-over socket that it was passed.
const helperEnv = "HANDOVER_HELPER"

func TestMain(m *testing.M) {
	if os.Getenv(helperEnv) == "offer" {
		ln, err := net.FileListener(os.NewFile(3, "handover"))
		if err == nil {
			ln.(*net.UnixListener).SetUnlinkOnClose(false)
			offer := Offer{Sockets: func() []Socket { return []Socket{{Listener: ln, Name: "handover"}} }, Serving: func() {}, Failed: func(error) {}}
			_, err = offer.Serve(context.Background(), ln)
		}
		fmt.Println(err)
		os.Exit(0)
	}
	if os.Getenv(helperEnv) != "" {
		list, err := FromManager()
		for _, s := range list {
			fmt.Printf("%s %v %v\n", s.Name, s.Origin, s.Addr())
		}
		if err != nil {
			fmt.Println("error:", err)
		}
		fmt.Printf("left %q\n", os.Getenv("LISTEN_FDS"))
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func listenTCP(t *testing.T) *net.TCPListener {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return ln.(*net.TCPListener)
}

func listenUnix(t *testing.T, path string) net.Listener {
	t.Helper()
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return ln
}

// file is a descriptor of a connection or listener, as a file.
func file(t *testing.T, c interface{ File() (*os.File, error) }) *os.File {
	t.Helper()
	f, err := c.File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// others are descriptors that are no listening sockets.
func others(t *testing.T) map[string]*os.File {
	t.Helper()
	ln := listenTCP(t)
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	udp, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = udp.Close() })
	plain, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = plain.Close() })
	return map[string]*os.File{"connection": file(t, conn.(*net.TCPConn)), "datagrams": file(t, udp.(*net.UDPConn)), "file": plain}
}

// TestFromManager: a process gets the descriptors that were passed to it, with names and origins, and none that were meant
// for another process.
func TestFromManager(t *testing.T) {
	ln := listenTCP(t)
	good := file(t, ln)
	bad := others(t)
	for _, row := range []struct {
		name, env, pid string
		files          []*os.File
		want           []string
	}{
		{"unit and store", "LISTEN_FDS=2 LISTEN_FDNAMES=nts-pool-ke.socket:kept-listen", "$$", []*os.File{good, good},
			[]string{"nts-pool-ke.socket socket unit " + ln.Addr().String(), "listen descriptor store " + ln.Addr().String(), `left ""`}},
		{"without names", "LISTEN_FDS=1", "$$", []*os.File{good}, []string{"LISTEN_FD_3 socket unit " + ln.Addr().String(), `left ""`}},
		{"for another process", "LISTEN_FDS=1", "1", []*os.File{good}, []string{`left ""`}},
		{"none", "LISTEN_FDS=0", "$$", nil, []string{`left ""`}},
		{"a connection", "LISTEN_FDS=2 LISTEN_FDNAMES=a:b", "$$", []*os.File{good, bad["connection"]}, []string{`error: descriptor "b" of the service manager: not a listening`}},
		{"datagrams", "LISTEN_FDS=1", "$$", []*os.File{bad["datagrams"]}, []string{"error: ", "ListenStream="}},
		{"a file", "LISTEN_FDS=1", "$$", []*os.File{bad["file"]}, []string{"error: "}},
		{"more than there are", "LISTEN_FDS=3", "$$", []*os.File{good}, []string{"error: "}},
	} {
		t.Run(row.name, func(t *testing.T) {
			cmd := exec.Command("sh", "-c", "LISTEN_PID="+row.pid+` exec "$0"`, os.Args[0])
			cmd.Env = append(append(os.Environ(), helperEnv+"=1"), strings.Fields(row.env)...)
			cmd.ExtraFiles = row.files
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			for _, want := range row.want {
				if !strings.Contains(string(out), want) {
					t.Errorf("no %q in\n%s", want, out)
				}
			}
		})
	}
}

func TestSocket_At(t *testing.T) {
	ln := listenTCP(t)
	tcp, path := Socket{Listener: ln}, Socket{Listener: listenUnix(t, filepath.Join(t.TempDir(), "s"))}
	at := ln.Addr().(*net.TCPAddr).AddrPort()
	for _, row := range []struct {
		at   netip.AddrPort
		want bool
	}{
		{at, true},
		{netip.AddrPortFrom(at.Addr(), 0), true},
		{netip.AddrPortFrom(netip.MustParseAddr("::ffff:127.0.0.1"), at.Port()), true},
		{netip.AddrPortFrom(at.Addr(), at.Port()-1), false},
		{netip.AddrPortFrom(netip.MustParseAddr("127.0.0.2"), at.Port()), false},
		{netip.AddrPortFrom(netip.IPv4Unspecified(), at.Port()), false},
	} {
		if tcp.At(row.at) != row.want || path.At(row.at) {
			t.Errorf("%v is at %v: %v", at, row.at, !row.want)
		}
	}
}

// manager is the other end of sd_notify.
func manager(t *testing.T) (Manager, *net.UnixConn) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	t.Setenv("NOTIFY_SOCKET", path)
	return TheManager(), c
}

// TestManager: what the service manager is told, and that the descriptor it keeps is the listening socket itself: it
// outlives the listener, and connections that wait with it.
func TestManager(t *testing.T) {
	m, c := manager(t)
	read := func() (string, []*os.File) {
		t.Helper()
		buf, oob := make([]byte, 256), make([]byte, 64)
		n, rights, _, _, err := c.ReadMsgUnix(buf, oob)
		if err != nil {
			t.Fatal(err)
		}
		files, _, err := descriptors(oob[:rights])
		if err != nil {
			t.Fatal(err)
		}
		return string(buf[:n]), files
	}
	for want, tell := range map[string]func(){"READY=1": m.Ready, "STOPPING=1": m.Stopping, "RELOADING=1\nMONOTONIC_USEC=": m.Reloading,
		"FDSTOREREMOVE=1\nFDNAME=kept-x": func() { m.Forget("x") }} {
		tell()
		if got, files := read(); !strings.HasPrefix(got, want) || len(files) != 0 {
			t.Errorf("%q with %d descriptors, want %q", got, len(files), want)
		}
	}
	ln := listenTCP(t)
	if err := m.Keep(&Socket{Listener: ln, Name: "listen"}); err != nil {
		t.Fatal(err)
	}
	text, files := read()
	if !strings.HasPrefix(text, "FDSTORE=1\n") || !strings.Contains(text, "\nFDNAME=kept-listen") || len(files) != 1 {
		t.Fatalf("%q with %d descriptors", text, len(files))
	}
	waiting, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer waiting.Close()
	_ = ln.Close()
	next, err := adopt(files[0])
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	greet(t, next, waiting)

	var none Manager
	none.Ready()
	if err := none.Keep(&Socket{Listener: ln}); err != nil {
		t.Errorf("without a service manager: %v", err)
	}
}

// TestManager_NobodyReads: a service manager that hangs, or a stand-in for one that nobody reads, holds nobody up: its queue
// is full then.
func TestManager_NobodyReads(t *testing.T) {
	m, _ := manager(t)
	for fd := nonblocking(t); ; {
		if err := unix.Sendto(fd, []byte("X=1"), 0, &unix.SockaddrUnix{Name: m.socket}); errors.Is(err, unix.EAGAIN) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	told := make(chan struct{})
	go func() { m.Stopping(); close(told) }()
	select {
	case <-told:
	case <-time.After(tellTime + 20*time.Second):
		t.Fatal("it waits for ever")
	}
}

// nonblocking is a datagram socket that waits for nobody.
func nonblocking(t *testing.T) int {
	t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	return fd
}

// greet requires that the connection, which waits at the listener, can be accepted and used.
func greet(t *testing.T, ln net.Listener, waiting net.Conn) {
	t.Helper()
	c, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	_ = waiting.SetReadDeadline(time.Now().Add(10 * time.Second))
	got := make([]byte, 5)
	if _, err := io.ReadFull(waiting, got); err != nil || !bytes.Equal(got, []byte("hello")) {
		t.Errorf("%q, %v", got, err)
	}
}

// running is a process that offers its sockets at a path.
type running struct {
	path   string
	users  *net.TCPListener
	failed chan error
	done   chan bool
	stop   context.CancelFunc
	told   chan struct{} // closed when it is to stop accepting
}

func run(t *testing.T) *running {
	t.Helper()
	dir, err := os.MkdirTemp("", "ho-") // short enough for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	r := &running{path: filepath.Join(dir, "s"), users: listenTCP(t), failed: make(chan error, 10), done: make(chan bool, 1), told: make(chan struct{})}
	ln := listenUnix(t, r.path)
	ln.(*net.UnixListener).SetUnlinkOnClose(false)
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	r.stop = cancel
	offer := Offer{
		Sockets: func() []Socket {
			return []Socket{{Listener: r.users, Name: "listen"}, {Listener: ln, Name: "handover"}}
		},
		Serving: func() { close(r.told); _ = r.users.Close() },
		Failed:  func(err error) { r.failed <- err },
	}
	go func() {
		ok, err := offer.Serve(ctx, ln)
		if err != nil {
			t.Error(err)
		}
		r.done <- ok
	}()
	return r
}

// TestTake_PID: the process that is named is the one that hands over, not the one that once began to listen, which is gone
// after two successions.
func TestTake_PID(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), helperEnv+"=offer")
	cmd.ExtraFiles = []*os.File{file(t, listenUnix(t, path).(*net.UnixListener))}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	next, err := Take(t.Context(), path)
	if err != nil || next == nil {
		t.Fatalf("%v, %v", next, err)
	}
	if next.PID != cmd.Process.Pid {
		t.Errorf("process %d, not %d; this one is %d", next.PID, cmd.Process.Pid, os.Getpid())
	}
	if err := next.Serving(t.Context()); err != nil {
		t.Error(err)
	}
	CloseAll(next.Sockets)
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// TestTakeOver: the successor gets the sockets with what waits at them, the predecessor is told when it serves, and the
// hand-over socket itself goes on to the next.
func TestTakeOver(t *testing.T) {
	old := run(t)
	waiting, err := net.Dial("tcp", old.users.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer waiting.Close()
	next, err := Take(t.Context(), old.path)
	if err != nil || next == nil {
		t.Fatalf("%v, %v", next, err)
	}
	defer next.Close()
	if next.PID != os.Getpid() || len(next.Sockets) != 2 || next.Sockets[0].Name != "listen" || next.Sockets[1].Name != "handover" ||
		next.Sockets[0].Origin != Predecessor || next.Sockets[1].Addr().String() != old.path {
		t.Fatalf("%+v", next)
	}
	select {
	case <-old.told:
		t.Fatal("told to stop before the successor serves")
	default:
	}
	if err := next.Serving(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-old.told
	if ok := <-old.done; !ok {
		t.Error("no successor, it says")
	}
	greet(t, next.Sockets[0], waiting)

	last := Offer{Sockets: func() []Socket { return next.Sockets }, Serving: func() {}, Failed: func(err error) { t.Error(err) }}
	done := make(chan error, 1)
	go func() { _, err := last.Serve(t.Context(), next.Sockets[1]); done <- err }()
	third, err := Take(t.Context(), old.path)
	if err != nil || third == nil {
		t.Fatalf("the third: %v, %v", third, err)
	}
	if err := third.Serving(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	third.Close()
}

// TestTakeOver_SaidLast: the successor hears that nobody is accepted any more when that is so, and not before, although the running process
// ends meanwhile.
func TestTakeOver_SaidLast(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	ln := listenUnix(t, path)
	ctx, end := context.WithCancel(t.Context())
	stopping, left := make(chan struct{}), make(chan struct{})
	offer := Offer{
		Sockets: func() []Socket { return []Socket{{Listener: ln, Name: "handover"}} },
		Serving: func() { end(); close(stopping); <-left },
		Failed:  func(err error) { t.Error(err) },
	}
	done := make(chan error, 1)
	go func() { _, err := offer.Serve(ctx, ln); done <- err }()
	next, err := Take(t.Context(), path)
	if err != nil || next == nil {
		t.Fatalf("%v, %v", next, err)
	}
	heard := make(chan error, 1)
	go func() { heard <- next.Serving(t.Context()) }()
	<-stopping
	select {
	case err := <-heard:
		t.Errorf("told that nobody is accepted any more before it was so: %v", err)
		heard <- err
	case <-time.After(50 * time.Millisecond): // a pass that is too early to see is no failure
	}
	close(left)
	if err := <-heard; err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	CloseAll(next.Sockets)
}

// TestTakeOver_Broken: a successor that ends, or says something else, leaves the running process as it was, ready for
// another one.
func TestTakeOver_Broken(t *testing.T) {
	old := run(t)
	for name, spoil := range map[string]func(r *Running){
		"ends":              func(r *Running) { r.Close() },
		"says another word": func(r *Running) { _, _ = r.c.Write([]byte("hello\n")); r.Close() },
		"says too much":     func(r *Running) { _, _ = r.c.Write(bytes.Repeat([]byte("x"), 500)); r.Close() },
	} {
		r, err := Take(t.Context(), old.path)
		if err != nil || r == nil {
			t.Fatalf("%s: %v, %v", name, r, err)
		}
		spoil(r)
		select {
		case err := <-old.failed:
			if !strings.Contains(err.Error(), "did not get ready") {
				t.Errorf("%s: %v", name, err)
			}
		case <-old.told:
			t.Fatalf("%s: told to stop accepting", name)
		}
	}
	select {
	case <-old.told:
		t.Error("told to stop accepting")
	default:
	}
	c, err := net.Dial("tcp", old.users.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	greet(t, old.users, c)
}

// TestTakeOver_Stopped: a process that is told to stop while its successor prepares takes nothing away from it.
func TestTakeOver_Stopped(t *testing.T) {
	old := run(t)
	next, err := Take(t.Context(), old.path)
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	old.stop()
	if ok := <-old.done; ok {
		t.Error("succeeded, it says")
	}
	_ = old.users.Close()
	if err := next.Serving(t.Context()); err != nil {
		t.Errorf("serving in place of one that is gone: %v", err)
	}
	c, err := net.Dial("tcp", next.Sockets[0].Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	greet(t, next.Sockets[0], c)
}

// TestTake_Nobody: a path where nobody listens is no error: this process is the first.
func TestTake_Nobody(t *testing.T) {
	dir := t.TempDir()
	dead := filepath.Join(dir, "dead")
	ln := listenUnix(t, dead)
	ln.(*net.UnixListener).SetUnlinkOnClose(false)
	_ = ln.Close()
	for _, path := range []string{filepath.Join(dir, "absent"), dead} {
		if r, err := Take(t.Context(), path); r != nil || err != nil {
			t.Errorf("%s: %v, %v", path, r, err)
		}
	}
	if _, err := Take(t.Context(), filepath.Join(dir, strings.Repeat("x", 200))); err == nil {
		t.Error("no error for an impossible path")
	}
}

// TestTake_BadGreeting: what a process that is none of ours says is not taken for sockets.
func TestTake_BadGreeting(t *testing.T) {
	tcp := listenTCP(t)
	conn := others(t)["connection"]
	own, err := descriptor(tcp)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(own)
	for _, row := range []struct {
		name, line string
		fds        []int
	}{
		{"silence", "", nil},
		{"another program", "SSH-2.0\n", nil},
		{"another version", "hand-over 2 listen\n", []int{own}},
		{"fewer names", "hand-over 1 listen\n", []int{own, own}},
		{"fewer descriptors", "hand-over 1 listen admin\n", []int{own}},
		{"a connection", "hand-over 1 listen\n", []int{int(conn.Fd())}},
		{"no end", strings.Repeat("x", maxLine+1), nil},
		{"too many", "hand-over 1" + strings.Repeat(" x", 40) + "\n", slices.Repeat([]int{own}, 40)},
	} {
		t.Run(row.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "s")
			ln := listenUnix(t, path)
			go func() {
				c, err := ln.Accept()
				if err == nil {
					_, _, _ = c.(*net.UnixConn).WriteMsgUnix([]byte(row.line), unix.UnixRights(row.fds...), nil)
					_ = c.Close()
				}
			}()
			if r, err := Take(t.Context(), path); err == nil || r != nil {
				t.Errorf("%+v, %v", r, err)
			}
		})
	}
}

// TestDescriptor_Flags: passing a descriptor on leaves the listener in order: it does not block, and can be interrupted.
func TestDescriptor_Flags(t *testing.T) {
	ln := listenTCP(t)
	fd, err := descriptor(ln)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK == 0 {
		t.Errorf("flags %#x, %v", flags, err)
	}
	if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("would be inherited by a child: %#x, %v", flags, err)
	}
	_ = ln.SetDeadline(time.Now().Add(time.Millisecond))
	if _, err := ln.Accept(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("accept: %v", err)
	}
}
