package assoc

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"ntp-daemon/internal/config"
	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/nts/ke"
	"ntp-daemon/internal/source"
)

// secretValue is what a panic must not bring into the log: it stands for what a stranger sent.
const secretValue = "bytes of a packet"

// panickyConn breaks the handling of the first datagram of each request.
type panickyConn struct {
	Conn
	ok bool
}

func (c *panickyConn) Receive(ctx context.Context, buf []byte) (int, netip.AddrPort, ntp.Stamp, error) {
	if !c.ok {
		c.ok = true
		return len(buf) + 1, netip.AddrPort{}, ntp.Stamp{}, nil // no conn says so: slicing the buffer panics
	}
	return c.Conn.Receive(ctx, buf)
}

// Row L09: a panic while a datagram is handled costs that datagram; the reply behind it counts, and the log has one
// line a minute.
func TestL09_PanicCostsOneReply(t *testing.T) {
	bubble(t, func(t *testing.T, r *testbed) {
		r.names.set("ntp.example", "192.0.2.1")
		r.net.set("192.0.2.1:123", plainHost)
		d := r.deps()
		d.Dial = func(remote netip.AddrPort) (Conn, error) {
			c, err := r.net.dial(remote)
			return &panickyConn{Conn: c}, err
		}
		r.superviseWith(t, config.Source{Mode: source.ModeServer, Host: "ntp.example", Port: 123}, d, "")
		pass(8 * time.Second)
		if n := r.recorder.measured(1); n != 4 {
			t.Errorf("%d measurements", n)
		}
		got := r.log.lines("reply dropped after a panic")
		if len(got) != 1 || !strings.Contains(got[0], "slice bounds out of range") || !strings.Contains(got[0], "task.go") {
			t.Errorf("log %q", got)
		}
	})
}

// The same for a key exchange, whose answers are a stranger's, too: it has failed, and is tried again later.
func TestL09_PanicCostsOneSearch(t *testing.T) {
	bubble(t, func(t *testing.T, r *testbed) {
		server := newSecureHost(7)
		r.net.set("192.0.2.1:123", server.host)
		r.names.set("ntp.example.", "192.0.2.1")
		r.ke.set(func(n int, _ ke.ClientConfig) (ke.Result, error) {
			if n == 1 {
				panic(secretValue)
			}
			return ke.Result{Session: server.session(), Server: "ntp.example", ServerGiven: true, Port: 123}, nil
		})
		r.supervise(t, config.Source{Mode: source.ModeNTS, Host: "ntp.example", Port: 4460})
		pass(30 * time.Second)
		if n := len(r.ke.times()); n != 2 {
			t.Errorf("%d key exchanges", n)
		}
		if n := r.recorder.measured(1); n < 4 {
			t.Errorf("%d measurements", n)
		}
		if got := r.log.lines("search ended by a panic"); len(got) != 1 || !strings.Contains(got[0], "fake_test.go") {
			t.Errorf("log %q", got)
		}
		if got := r.log.lines(secretValue); got != nil {
			t.Errorf("the value of the panic is in the log: %q", got)
		}
	})
}

// Anywhere else in a task a panic ends the supervisor with an error that names it, and everything that it started.
func TestL09_PanicInATaskEndsTheSupervisor(t *testing.T) {
	bubble(t, func(t *testing.T, r *testbed) {
		r.names.set("pool.example", "192.0.2.1", "192.0.2.2")
		r.net.set("192.0.2.1:123", plainHost)
		r.net.set("192.0.2.2:123", plainHost)
		d := r.deps()
		d.Dial = func(remote netip.AddrPort) (Conn, error) {
			if len(r.net.requests("192.0.2.2:123")) == 3 {
				panic(secretValue)
			}
			return r.net.dial(remote)
		}
		r.superviseWith(t, config.Source{Mode: source.ModePool, Host: "pool.example", Port: 123, Count: 2}, d, "source task: bug: panic with a string")
		r.wg.Wait() // although nobody asked it to end
		pass(time.Second)
		if got := r.recorder.alive(); got != "" {
			t.Errorf("still there: %s", got)
		}
		if got := r.log.lines("stopping after a panic"); len(got) != 1 && len(got) != 2 || !strings.Contains(got[0], "contain_test.go") {
			t.Errorf("log %q", got)
		}
		if got := r.log.lines(secretValue); got != nil {
			t.Errorf("the value of the panic is in the log: %q", got)
		}
	})
}

// A panic of the supervisor itself is its caller's, who ends the daemon; but nothing that it started outlives it.
func TestL09_PanicOfTheSupervisorLeavesNothingBehind(t *testing.T) {
	bubble(t, func(t *testing.T, r *testbed) {
		r.names.set("pool.example", "192.0.2.1", "192.0.2.2")
		r.net.set("192.0.2.1:123", plainHost)
		d := r.deps()
		d.Claims = NewClaims()
		next := d.NextID
		d.NextID = func() ntp.SourceID {
			if r.nextID == 1 {
				pass(time.Minute)
				panic("injected")
			}
			return next()
		}
		defer func() {
			if p := recover(); p != "injected" {
				t.Errorf("recovered %v", p)
			}
			if n := r.recorder.measured(1); n == 0 || r.net.socks != 0 {
				t.Errorf("%d measurements, %d sockets left open", n, r.net.socks)
			}
		}()
		_ = Supervise(r.ctx, withPolls(config.Source{Mode: source.ModePool, Host: "pool.example", Port: 123, Count: 2}), 1, d)
	})
}
