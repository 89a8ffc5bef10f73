package main_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/observe"
	"ntp-daemon/internal/suite"
)

// The two ends of the wire.
const (
	serverIP4, serverIP6 = "10.77.0.1", "fd77::1"
	clientIP4, clientIP6 = "10.77.0.2", "fd77::2"
)

// wire is a server and a client in namespaces of their own, joined by a veth pair, whose server end is xs.
type wire struct {
	t              *testing.T
	server, client *suite.Namespace
	dir            string
}

func newWire(t *testing.T) *wire {
	w := &wire{t: t, server: suite.NewNamespace(t), client: suite.NewNamespace(t), dir: t.TempDir()}
	w.server.IP("link", "add", "xs", "type", "veth", "peer", "name", "xc", "netns", w.client.Name)
	for _, end := range []struct {
		n     *suite.Namespace
		name  string
		addrs []string
	}{{w.server, "xs", []string{serverIP4 + "/24", serverIP6 + "/64"}}, {w.client, "xc", []string{clientIP4 + "/24", clientIP6 + "/64"}}} {
		for _, a := range end.addrs {
			end.n.IP("addr", "add", a, "dev", end.name, "nodad")
		}
		end.n.IP("link", "set", end.name, "up")
	}
	return w
}

// configure writes the daemon's file, with more in its server's table.
func (w *wire) configure(more string) {
	suite.WriteFile(w.t, filepath.Join(w.dir, "ntp.toml"), fmt.Sprintf(`
[observability]
log-format = "console"
observation-path = "%[1]s/observe"
[process]
user = "root"
xdp-path = "%[1]s/xdp"
[state]
directory = "%[1]s"
[synchronization]
clock-control = false
local-stratum = 5
[[server]]
listen = "[::]:123"
%[2]s
`, w.dir, more))
}

// daemon starts ntp-daemon, which serves its own clock after some seconds.
func (w *wire) daemon() *suite.Proc {
	p := suite.StartCmd(w.t, w.server.Command(suite.Program(w.t, "ntp-daemon"), "-c", filepath.Join(w.dir, "ntp.toml")))
	p.WaitSnapshot(filepath.Join(w.dir, "observe"), "a daemon", func(*observe.Snapshot) bool { return true })
	return p
}

func (w *wire) helper(args ...string) *suite.Proc {
	return suite.StartCmd(w.t, w.server.Command(suite.Program(w.t, "ntp-xdp"), append([]string{"-s", filepath.Join(w.dir, "xdp")}, args...)...))
}

// wait waits for something about the fast path.
func (w *wire) wait(p *suite.Proc, what string, ok func(*observe.Server, *observe.FastPath) bool) {
	w.t.Helper()
	p.WaitSnapshot(filepath.Join(w.dir, "observe"), what, func(s *observe.Snapshot) bool {
		return len(s.Servers) == 1 && s.Servers[0].FastPath != nil && ok(&s.Servers[0], s.Servers[0].FastPath)
	})
}

// attached reports whether a program is on the server's interface.
func (w *wire) attached() bool {
	out, err := w.server.Command("ip", "-d", "link", "show", "xs").CombinedOutput()
	if err != nil {
		w.t.Fatalf("%v: %s", err, out)
	}
	return strings.Contains(string(out), "xdp")
}

// ask sends a request from the client's namespace and returns the answer, and readings of the one clock that both ends have.
func (w *wire) ask(host string, request []byte) (reply []byte, before, after ntp.Timestamp) {
	w.t.Helper()
	w.send("", host, func(c net.Conn) error {
		before = ntp.FromTime(time.Now())
		if _, err := c.Write(request); err != nil {
			return err
		}
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		b := make([]byte, 1000)
		n, err := c.Read(b)
		after = ntp.FromTime(time.Now())
		reply = b[:n]
		return err
	})
	return reply, before, after
}

// send gives use a socket of the client's namespace, from that address or any, to the server's port.
func (w *wire) send(from, host string, use func(net.Conn) error) {
	w.t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		done <- func() error {
			ns, err := os.Open("/run/netns/" + w.client.Name)
			if err != nil {
				return err
			}
			defer ns.Close()
			if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
				return err
			}
			d := net.Dialer{LocalAddr: &net.UDPAddr{IP: net.ParseIP(from)}}
			c, err := d.Dial("udp", net.JoinHostPort(host, "123"))
			if err != nil {
				return err
			}
			defer c.Close()
			return use(c)
		}()
	}()
	if err := <-done; err != nil {
		w.t.Fatalf("ask %s: %v", host, err)
	}
}

// plain is a request that the driver answers; with a unique identifier behind it, the sockets do.
func plain(identified bool) []byte {
	b := make([]byte, ntp.HeaderLen)
	b[0], b[2] = 4<<3|3, 6
	binary.BigEndian.PutUint64(b[40:], 0xfeedface)
	if identified {
		b = ntp.AppendField(b, ntp.FieldUniqueID, bytes.Repeat([]byte{7}, 32))
	}
	return b
}

// TestWire: with daemon and helper, plain requests are answered in front of the sockets with what the sockets answer, and the
// stamps are right by the clock that client and server share; lists hold; the end of the daemon ends it.
func TestWire(t *testing.T) {
	w := newWire(t)
	w.configure(`xdp = "xs"`)
	d := w.daemon()
	w.wait(d, "no helper yet", func(_ *observe.Server, f *observe.FastPath) bool {
		return f.Mode == "" && f.Reason == "ntp-xdp is not connected"
	})
	h := w.helper()
	w.wait(d, "the helper", func(_ *observe.Server, f *observe.FastPath) bool { return f.Mode == "generic" && f.Reason == "" })

	const each = 20
	for range each {
		for _, host := range []string{serverIP4, serverIP6} {
			fast, fastBefore, fastAfter := w.ask(host, plain(false))
			slow, slowBefore, slowAfter := w.ask(host, plain(true))
			w.compare(fast, slow)
			checkStamps(t, "driver", fast, fastBefore, fastAfter)
			checkStamps(t, "sockets", slow, slowBefore, slowAfter)
		}
	}
	w.wait(d, "the counts", func(s *observe.Server, f *observe.FastPath) bool {
		return f.Answered == 2*each && s.Stats.Accepted == 4*each && s.Stats.Received == 4*each
	})

	w.configure("xdp = \"xs\"\ndenylist = { filter = [\"" + clientIP4 + "/32\"], action = \"deny\" }")
	_ = d.Cmd.Process.Signal(syscall.SIGHUP)
	d.WaitLog("reloaded: access lists")
	w.wait(d, "the other lists", func(_ *observe.Server, f *observe.FastPath) bool {
		reply, _, _ := w.ask(serverIP4, plain(false))
		if kiss := string(reply[12:16]); reply[1] != 0 || kiss != "DENY" {
			return false // the driver answers by the old lists still
		}
		return f.Listed > 0
	})
	if reply, _, _ := w.ask(serverIP6, plain(false)); reply[1] == 0 && string(reply[12:16]) == "DENY" {
		t.Error("denied who is not on the list")
	}

	if !w.attached() {
		t.Error("no program on the interface")
	}
	_ = d.Cmd.Process.Kill()
	if code := h.Exit(); code != 0 {
		t.Errorf("the helper's exit is %d after the end of the daemon", code)
	}
	if w.attached() {
		t.Error("the program is still on the interface")
	}
}

// compare holds an answer of the driver against one of the sockets: nothing in the header differs but the times and what
// grows with them.
func (w *wire) compare(fast, slow []byte) {
	w.t.Helper()
	if len(fast) != ntp.HeaderLen || !bytes.Equal(fast[:8], slow[:8]) || !bytes.Equal(fast[12:16], slow[12:16]) || !bytes.Equal(fast[24:32], slow[24:32]) {
		w.t.Errorf("driver  % x\nsockets % x", fast, slow)
	}
}

// checkStamps: receive and transmit stamp lie between the client's readings of the same clock, in order. A microsecond is for
// the kernel's reading without locks.
func checkStamps(t *testing.T, who string, reply []byte, before, after ntp.Timestamp) {
	t.Helper()
	receive, transmit := ntp.Timestamp(binary.BigEndian.Uint64(reply[32:])), ntp.Timestamp(binary.BigEndian.Uint64(reply[40:]))
	if receive.Sub(before) < -time.Microsecond || !receive.Before(transmit) || transmit.Sub(after) > time.Microsecond {
		t.Errorf("%s: received %v after the request, sent %v after it, back after %v", who, receive.Sub(before), transmit.Sub(before), after.Sub(before))
	}
}

// TestWire_NoInterface: a helper that cannot do it says so in one line, ends, and the daemon serves.
func TestWire_NoInterface(t *testing.T) {
	w := newWire(t)
	w.configure(`xdp = "nonesuch"`)
	d := w.daemon()
	h := w.helper()
	if code := h.Exit(); code != 69 || !strings.Contains(h.Log(), "interface nonesuch: there is no such interface") {
		t.Errorf("exit %d: %s", code, h.Log())
	}
	w.wait(d, "the reason", func(_ *observe.Server, f *observe.FastPath) bool {
		return strings.Contains(f.Reason, "interface nonesuch: there is no such interface")
	})
	if reply, _, _ := w.ask(serverIP4, plain(false)); len(reply) != ntp.HeaderLen {
		t.Errorf("the sockets answer % x", reply)
	}
}

// TestWire_HelperKilled: however the helper ends, the sockets answer, and another one takes over with its counts added.
func TestWire_HelperKilled(t *testing.T) {
	w := newWire(t)
	w.configure(`xdp = "xs"`)
	d := w.daemon()
	answered := func(n uint64) func(*observe.Server, *observe.FastPath) bool {
		return func(_ *observe.Server, f *observe.FastPath) bool { return f.Answered == n && f.Mode != "" }
	}
	for i := range 2 {
		h := w.helper("--mode", "generic")
		w.wait(d, "the helper", answered(uint64(i)))
		w.ask(serverIP6, plain(false))
		w.wait(d, "one more answer", answered(uint64(i)+1))
		_ = h.Cmd.Process.Kill()
		h.Exit()
		w.wait(d, "no helper", func(_ *observe.Server, f *observe.FastPath) bool { return f.Mode == "" && f.Answered == uint64(i)+1 })
		if w.attached() {
			t.Error("the program is still on the interface")
		}
		w.ask(serverIP6, plain(false))
	}
}

// TestWire_Impostors: who writes an address of the server's host, or the broadcast address of a network of it, as the sender gets no
// answer in the driver, whatever interface has it.
func TestWire_Impostors(t *testing.T) {
	w := newWire(t)
	impostors := []string{"10.77.0.9", "10.78.255.255", "10.79.0.8"}
	w.server.IP("link", "set", "lo", "up")
	for _, a := range []string{"10.77.0.9/32", "10.78.0.1/16"} {
		w.server.IP("addr", "add", a, "dev", "lo")
	}
	w.server.IP("addr", "add", "10.79.0.1/24", "broadcast", "10.79.0.8", "dev", "lo")
	for _, a := range impostors {
		w.client.IP("addr", "add", a+"/32", "dev", "xc")
	}
	w.configure(`xdp = "xs"`)
	d := w.daemon()
	w.helper()
	w.wait(d, "the helper", func(_ *observe.Server, f *observe.FastPath) bool { return f.Mode == "generic" && f.Reason == "" })
	for _, a := range impostors {
		w.send(a, serverIP4, func(c net.Conn) error {
			_, err := c.Write(plain(false))
			return err
		})
	}
	w.ask(serverIP4, plain(false)) // comes after them
	w.wait(d, "the count", func(_ *observe.Server, f *observe.FastPath) bool {
		if f.Answered > 1 {
			t.Fatalf("%d impostors were answered", f.Answered-1)
		}
		return f.Answered == 1
	})
}
