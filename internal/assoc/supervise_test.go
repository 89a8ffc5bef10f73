package assoc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ntp-daemon/internal/config"
	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/nts/aead"
	"ntp-daemon/internal/nts/ke"
	"ntp-daemon/internal/source"
	"ntp-daemon/internal/system"
)

func TestServer_MeasuresWithinEightSeconds(t *testing.T) {
	bubble(t, func(t *testing.T, r *testbed) {
		r.names.set("ntp.example", "192.0.2.1")
		r.net.set("192.0.2.1:123", plainHost)
		r.supervise(t, config.Source{Mode: source.ModeServer, Host: "ntp.example", Port: 123})
		pass(8 * time.Second)
		added := of[system.Added](r.recorder)
		if len(added) != 1 || added[0] != (system.Added{ID: 1, Name: "ntp.example:123", Address: netip.MustParseAddrPort("192.0.2.1:123")}) {
			t.Fatalf("added %+v", added)
		}
		if n := r.recorder.measured(1); n != 4 {
			t.Errorf("%d measurements", n)
		}
		m := of[system.Measured](r.recorder)[0]
		if off := m.Offset().Abs(); off > time.Millisecond || m.Epoch != 3 || m.Delay() != 10*time.Millisecond || m.OurRefID != ntp.RefIDFromAddr(netip.MustParseAddr("198.51.100.1")) {
			t.Errorf("offset %v, delay %v, epoch %d", off, m.Delay(), m.Epoch)
		}
		st := of[system.Status](r.recorder)
		if last := st[len(st)-1]; !last.Reachable || last.Unusable {
			t.Errorf("status %+v", last)
		}
		if st, running := r.statuses.Get(1); !running || st.Reach != 0b1111 || st.NTS {
			t.Errorf("status %+v, running %v", st, running)
		}
		want := `{"level":"info","target":"ntpd::daemon::system","source_id":"SourceId(1)","addr":"192.0.2.1:123","spawner":"SpawnerId(1)","message":"new source"}` + "\n"
		if got := r.log.lines("new source"); len(got) != 1 || got[0] != want {
			t.Errorf("log %q", got)
		}
	})
}

func TestServer_AdviceReachesTheSource(t *testing.T) {
	bubble(t, func(t *testing.T, r *testbed) {
		r.names.set("ntp.example", "192.0.2.1")
		r.net.set("192.0.2.1:123", plainHost)
		r.supervise(t, config.Source{Mode: source.ModeServer, Host: "ntp.example", Port: 123})
		pass(10 * time.Second)
		r.recorder.advice[1] <- ntp.Advice{Source: 1, Poll: 8}
		pass(20 * time.Minute) // until the shorter intervals of the start are over
		before := len(r.net.requests("192.0.2.1:123"))
		pass(200 * time.Second)
		if n := len(r.net.requests("192.0.2.1:123")) - before; n > 1 {
			t.Errorf("%d polls in 200 s at an interval of 256 s", n)
		}
	})
}

func TestC29_NameThatDoesNotExist(t *testing.T) {
	bubble(t, func(t *testing.T, r *testbed) {
		r.supervise(t, config.Source{Mode: source.ModePool, Host: "gone.example", Port: 123, Count: 4})
		pass(time.Hour)
		at := r.names.times("gone.example")
		var gaps []time.Duration
		for i := 1; i < len(at); i++ {
			gaps = append(gaps, at[i].Sub(at[i-1]))
		}
		if gaps[0] < 2*time.Second || slices.Max(gaps) < time.Minute || gaps[len(gaps)-1] > 150*time.Second {
			t.Errorf("gaps %v", gaps)
		}
		for i := 1; i < 6; i++ {
			if gaps[i] <= gaps[i-1] {
				t.Errorf("gap %d does not grow: %v", i, gaps)
			}
		}
		r.names.set("gone.example", "192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4")
		pass(150 * time.Second)
		if got := strings.Count(r.recorder.alive(), " "); got != 3 {
			t.Errorf("after the name appeared: %s", r.recorder.alive())
		}
	})
}

// TestMissing_SourcesWithoutAddress: what is configured and has no address is shown with its reason, until it has one.
func TestMissing_SourcesWithoutAddress(t *testing.T) {
	bubble(t, func(t *testing.T, r *testbed) {
		r.names.set("pool.example", "192.0.2.1")
		r.net.set("192.0.2.1:123", plainHost)
		for i, src := range []config.Source{
			{Mode: source.ModeServer, Host: "gone.example", Port: 123},
			{Mode: source.ModePool, Host: "pool.example", Port: 123, Count: 3},
			{Mode: source.ModeNTS, Host: "ke.example", Port: 4460},
		} {
			r.wg.Go(func() {
				if err := Supervise(r.ctx, withPolls(src), i+1, r.deps()); err != nil {
					t.Error(err)
				}
			})
		}
		began := time.Now()
		pass(90 * time.Second)
		want := []Missing{
			{Name: "gone.example:123", Count: 1, Reason: "name look-up failed: no such host", Since: began},
			{Name: "pool.example:123", Count: 2, Reason: "pool has no further servers", Since: began},
			{Name: "ke.example:4460", NTS: true, Count: 1, Reason: "key exchange failed: key exchange with ke.example:4460: at 192.0.2.250:4460: connection refused", Since: began},
		}
		if got := r.statuses.Missing(); !slices.Equal(got, want) {
			t.Errorf("missing %+v\nwant    %+v", got, want)
		}
		r.names.set("gone.example", "192.0.2.2")
		pass(3 * time.Minute)
		if got := r.statuses.Missing(); !slices.Equal(got, want[1:]) {
			t.Errorf("missing %+v", got)
		}
	})
}

// TestL05_SilentNameServer: as long as the daemon has no source at all, look-ups that no name server answers go on every
// ten seconds or so, whatever the mode, and a name that comes back after ten minutes is in use within half a minute.
func TestL05_SilentNameServer(t *testing.T) {
	silent := &net.DNSError{Err: "i/o timeout", Name: "ntp.example", IsTimeout: true}
	refused := &net.DNSError{Err: "read udp 127.0.0.1:4000->127.0.0.1:53: read: connection refused", Name: "ntp.example"}
	for _, cause := range []error{silent, refused} {
		bubble(t, func(t *testing.T, r *testbed) {
			r.names.failing(cause)
			r.net.set("192.0.2.1:123", plainHost)
			r.supervise(t, config.Source{Mode: source.ModeServer, Host: "ntp.example", Port: 123})
			pass(10 * time.Minute)
			r.names.set("ntp.example", "192.0.2.1")
			r.names.failing(nil)
			pass(25 * time.Second)
			if r.recorder.measured(1) == 0 {
				t.Errorf("not measured 25 s after the name server came back; look-ups at %v", r.names.times("ntp.example"))
			}
			if n := len(r.log.lines("name look-up failed")); n != 1 {
				t.Errorf("%d lines in ten minutes", n)
			}
		})
	}
}

// TestC29_SilentNameServer: a daemon that has a source spares a name server that does not answer.
func TestC29_SilentNameServer(t *testing.T) {
	bubble(t, func(t *testing.T, r *testbed) {
		r.names.set("good.example", "192.0.2.1")
		r.net.set("192.0.2.1:123", plainHost)
		r.supervise(t, config.Source{Mode: source.ModeServer, Host: "good.example", Port: 123})
		pass(10 * time.Second)
		r.names.failing(&net.DNSError{Err: "i/o timeout", Name: "ntp.example", IsTimeout: true})
		r.supervise(t, config.Source{Mode: source.ModeServer, Host: "ntp.example", Port: 123})
		pass(time.Hour)
		at := r.names.times("ntp.example")
		for n := 6; n < len(at); n++ {
			if gap := at[n].Sub(at[n-1]); gap < time.Minute {
				t.Errorf("gap %d is %v", n, gap)
			}
		}
		if len(at) < 24 {
			t.Errorf("%d look-ups in an hour", len(at))
		}
	})
}

func TestC29_HangingLookupEndsWithContext(t *testing.T) {
	bubble(t, func(t *testing.T, r *testbed) {
		r.names.hang = true
		r.supervise(t, config.Source{Mode: source.ModeServer, Host: "ntp.example", Port: 123})
		pass(time.Minute)
		began := time.Now()
		r.cancel()
		r.wg.Wait()
		if time.Since(began) > 0 {
			t.Errorf("took %v to end", time.Since(began))
		}
	})
}

func TestC29_OneSourcePerAddress(t *testing.T) {
	bubble(t, func(t *testing.T, r *testbed) {
		r.names.set("a.example", "192.0.2.1")
		r.names.set("b.example", "192.0.2.1")
		r.names.set("pool.example", "192.0.2.1", "192.0.2.2")
		for _, a := range []string{"192.0.2.1:123", "192.0.2.2:123"} {
			r.net.set(a, plainHost)
		}
		r.supervise(t, config.Source{Mode: source.ModeServer, Host: "a.example", Port: 123})
		pass(time.Second)
		r.supervise(t, config.Source{Mode: source.ModeServer, Host: "b.example", Port: 123})
		r.supervise(t, config.Source{Mode: source.ModePool, Host: "pool.example", Port: 123, Count: 2})
		pass(time.Hour)
		if got := r.recorder.alive(); got != "192.0.2.1:123 192.0.2.2:123" {
			t.Errorf("sources %s", got)
		}
		if n := len(r.names.times("b.example")); n > 5 {
			t.Errorf("%d look-ups of the second name in an hour", n)
		}
	})
}

func TestC28_RefusedAddressesAreLoggedOnce(t *testing.T) {
	bubble(t, func(t *testing.T, r *testbed) {
		r.names.set("ntp.example", "224.0.0.1")
		r.supervise(t, config.Source{Mode: source.ModeServer, Host: "ntp.example", Port: 123})
		pass(time.Hour)
		if got := r.log.lines("must not be asked"); len(got) != 1 || !strings.Contains(got[0], "224.0.0.1 (multicast address)") {
			t.Errorf("log %q", got)
		}
	})
}

func TestPool_IgnoreAndDoubles(t *testing.T) {
	bubble(t, func(t *testing.T, r *testbed) {
		r.names.set("pool.example", "192.0.2.1", "192.0.2.1", "192.0.2.2", "192.0.2.3")
		r.supervise(t, config.Source{
			Mode: source.ModePool, Host: "pool.example", Port: 123, Count: 4, Ignore: []netip.Addr{netip.MustParseAddr("192.0.2.2")},
		})
		pass(time.Second)
		if got := r.recorder.alive(); got != "192.0.2.1:123 192.0.2.3:123" {
			t.Errorf("sources %s", got)
		}
		if n := len(r.net.requests("192.0.2.2:123")); n != 0 {
			t.Errorf("ignored address was asked %d times", n)
		}
	})
}

func TestC32_PoolMemberDies(t *testing.T) {
	bubble(t, func(t *testing.T, r *testbed) {
		r.names.set("pool.example", "192.0.2.1", "192.0.2.2", "192.0.2.3")
		for _, a := range []string{"192.0.2.1:123", "192.0.2.2:123", "192.0.2.3:123"} {
			r.net.set(a, plainHost)
		}
		r.supervise(t, config.Source{Mode: source.ModePool, Host: "pool.example", Port: 123, Count: 2})
		pass(time.Minute)
		if got := r.recorder.alive(); got != "192.0.2.1:123 192.0.2.2:123" {
			t.Fatalf("sources %s", got)
		}
		lookups := len(r.names.times("pool.example"))
		before := len(r.net.requests("192.0.2.1:123"))
		r.net.set("192.0.2.1:123", nil)
		pass(3 * time.Minute)
		if got := r.recorder.alive(); got != "192.0.2.2:123 192.0.2.3:123" {
			t.Errorf("sources %s", got)
		}
		if n := len(r.net.requests("192.0.2.1:123")) - before; n > 9 {
			t.Errorf("%d polls of a dead server", n)
		}
		if n := len(r.names.times("pool.example")); n != lookups {
			t.Errorf("%d look-ups although an address was left over", n-lookups)
		}
		removed := of[system.Removed](r.recorder)
		if len(removed) != 1 || removed[0] != (system.Removed{ID: 1, Reason: "unreachable"}) {
			t.Errorf("removed %+v", removed)
		}
	})
}

// TestPool_PoisonedAnswerWearsOff: servers from a forged answer of a name server, which answer well, are replaced one at a
// time within days, and there is never a source too few meanwhile. A pool that has no others keeps what it has.
func TestPool_PoisonedAnswerWearsOff(t *testing.T) {
	bubble(t, func(t *testing.T, r *testbed) {
		for i := range 9 {
			r.net.set(fmt.Sprintf("192.0.2.%d:123", i+1), plainHost)
		}
		r.names.set("pool.example", "192.0.2.7", "192.0.2.8", "192.0.2.9")
		r.supervise(t, config.Source{Mode: source.ModePool, Host: "pool.example", Port: 123, Count: 3, PollMin: 10, PollMax: 10, PollInitial: 10})
		pass(10 * 24 * time.Hour)
		if got := r.recorder.alive(); got != "192.0.2.7:123 192.0.2.8:123 192.0.2.9:123" {
			t.Fatalf("sources %s", got)
		}
		if n := len(r.names.times("pool.example")); n < 5 || n > 11 {
			t.Errorf("%d look-ups in 10 days", n)
		}
		r.names.set("pool.example", "192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4")
		gone := 0
		for range 6 * 24 {
			pass(time.Hour)
			removed := of[system.Removed](r.recorder)
			if n := strings.Count(r.recorder.alive(), ":"); n < 3 || len(removed) > gone+1 {
				t.Errorf("sources %s, %d removed in an hour", r.recorder.alive(), len(removed)-gone)
			}
			gone = len(removed)
		}
		if got := r.recorder.alive(); slices.ContainsFunc([]string{"2.7:", "2.8:", "2.9:"}, func(a string) bool { return strings.Contains(got, a) }) {
			t.Errorf("six days later the sources are %s", got)
		}
	})
}

// TestServer_PoisonedAnswerWearsOff: the same for a single server. One whose name still stands for its address stays.
func TestServer_PoisonedAnswerWearsOff(t *testing.T) {
	bubble(t, func(t *testing.T, r *testbed) {
		r.net.set("192.0.2.1:123", plainHost)
		r.net.set("192.0.2.9:123", plainHost)
		r.names.set("ntp.example", "192.0.2.9")
		r.supervise(t, config.Source{Mode: source.ModeServer, Host: "ntp.example", Port: 123, PollMin: 10, PollMax: 10, PollInitial: 10})
		pass(time.Hour)
		r.names.set("ntp.example", "192.0.2.1", "192.0.2.9")
		pass(10 * 24 * time.Hour)
		if got := of[system.Added](r.recorder); len(got) != 1 || r.recorder.alive() != "192.0.2.9:123" {
			t.Errorf("sources %v", got)
		}
		r.names.failing(errNoName)
		pass(10 * 24 * time.Hour)
		if got := r.recorder.alive(); got != "192.0.2.9:123" {
			t.Errorf("the source went with the name server: %s", got)
		}
		r.names.failing(nil)
		r.names.set("ntp.example", "192.0.2.1")
		pass(32 * time.Hour)
		if got := r.recorder.alive(); got != "192.0.2.1:123" {
			t.Errorf("sources %s", got)
		}
	})
}

// A member is given up only for one that works: with the whole network gone nothing is torn down.
func TestC31_NetworkOutage(t *testing.T) {
	bubble(t, func(t *testing.T, r *testbed) {
		r.names.set("pool.example", "192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5")
		for i := range 5 {
			r.net.set(fmt.Sprintf("192.0.2.%d:123", i+1), plainHost)
		}
		r.supervise(t, config.Source{Mode: source.ModePool, Host: "pool.example", Port: 123, Count: 4})
		pass(time.Minute)
		before := r.recorder.alive()
		sent := len(r.net.requests("192.0.2.1:123"))
		r.net.setFail(errNoRoute)
		pass(10 * time.Minute)
		if n := len(r.net.requests("192.0.2.1:123")) - sent; n > 40 {
			t.Errorf("%d attempts in 10 min", n)
		}
		told := of[system.Status](r.recorder)
		if last := told[len(told)-1]; last.Reachable || last.Fault != "not sent: network is unreachable" {
			t.Errorf("told at the end of the outage: %+v", last)
		}
		r.net.setFail(nil)
		measured := len(of[system.Measured](r.recorder))
		pass(150 * time.Second)
		if n := len(of[system.Measured](r.recorder)) - measured; n < 4 {
			t.Errorf("%d measurements after the outage", n)
		}
		if got := r.recorder.alive(); got != before {
			t.Errorf("sources %s, before %s", got, before)
		}
		if n := len(r.log.lines("could not be sent")); n > 12 {
			t.Errorf("%d log lines about the outage", n)
		}
	})
}

func TestServer_MovesToItsOtherAddress(t *testing.T) {
	bubble(t, func(t *testing.T, r *testbed) {
		r.names.set("ntp.example", "2001:db8::1", "192.0.2.1") // no route for IPv6
		r.net.set("192.0.2.1:123", plainHost)
		r.supervise(t, config.Source{Mode: source.ModeServer, Host: "ntp.example", Port: 123})
		pass(time.Minute)
		if got := r.recorder.alive(); got != "192.0.2.1:123" {
			t.Errorf("sources %s", got)
		}
	})
}

func TestServer_FollowsItsName(t *testing.T) {
	bubble(t, func(t *testing.T, r *testbed) {
		r.names.set("ntp.example", "192.0.2.1")
		r.net.set("192.0.2.1:123", plainHost)
		r.net.set("192.0.2.2:123", plainHost)
		r.supervise(t, config.Source{Mode: source.ModeServer, Host: "ntp.example", Port: 123})
		pass(time.Minute)
		r.net.set("192.0.2.1:123", nil)
		pass(10 * time.Minute)
		if got := r.recorder.alive(); got != "192.0.2.1:123" {
			t.Fatalf("the only address was given up: %s", got)
		}
		if n := len(r.names.times("ntp.example")); n > 15 {
			t.Errorf("%d look-ups in 10 min", n)
		}
		r.names.set("ntp.example", "192.0.2.2")
		pass(3 * time.Minute)
		if got := r.recorder.alive(); got != "192.0.2.2:123" {
			t.Errorf("sources %s", got)
		}
	})
}

// TestDenyOnPath: plain DENY from all sources for a while, which anyone on the path may write, costs minutes: no source is
// given up, and the first good reply brings each back. However long it goes on, they are asked every few minutes, no more.
func TestDenyOnPath(t *testing.T) {
	for _, span := range []time.Duration{68 * time.Second, 3 * time.Hour} {
		bubble(t, func(t *testing.T, r *testbed) {
			addrs := []string{"192.0.2.1:123", "192.0.2.2:123", "192.0.2.3:123"}
			serve := func(h host) {
				for _, a := range addrs {
					r.net.set(a, h)
				}
			}
			serve(plainHost)
			for i, mode := range []source.Mode{source.ModeServer, source.ModeServer, source.ModePool} {
				name := fmt.Sprintf("s%d.example", i+1)
				r.names.set(name, fmt.Sprintf("192.0.2.%d", i+1))
				r.supervise(t, config.Source{Mode: mode, Host: name, Port: 123, Count: 1})
			}
			pass(12 * time.Second)
			serve(kissHost(ntp.KissDENY))
			pass(span)
			for _, a := range addrs {
				if n, most := len(r.net.requests(a)), 12+int(span/(8*time.Minute)); n > most {
					t.Errorf("%s was asked %d times in %v of DENY, want at most %d", a, n, span, most)
				}
			}
			serve(plainHost)
			within := 70 * time.Second
			if span > time.Hour {
				within = 9 * time.Minute
			}
			pass(within)
			if n := len(of[system.Removed](r.recorder)); n != 0 {
				t.Errorf("%d sources were given up", n)
			}
			for id := ntp.SourceID(1); id <= 3; id++ {
				if st, _ := r.statuses.Get(id); st.Reach&1 == 0 || st.Need != source.NeedNothing || st.Poll != 4 {
					t.Errorf("source %d %v after %v of DENY: %+v", id, within, span, st)
				}
			}
		})
	}
}

func TestPool_DeniedMemberIsReplaced(t *testing.T) {
	bubble(t, func(t *testing.T, r *testbed) {
		r.names.set("pool.example", "192.0.2.1", "192.0.2.2", "192.0.2.3")
		r.net.set("192.0.2.1:123", kissHost(ntp.KissRSTR))
		r.net.set("192.0.2.2:123", plainHost)
		r.net.set("192.0.2.3:123", plainHost)
		r.supervise(t, config.Source{Mode: source.ModePool, Host: "pool.example", Port: 123, Count: 2})
		pass(2 * time.Minute)
		if got := r.recorder.alive(); got != "192.0.2.2:123 192.0.2.3:123" {
			t.Errorf("sources %s", got)
		}
	})
}

// t_n of RFC 8915 §4.2 with a ceiling that is an hour with the jitter.
func leastWait(n int) time.Duration {
	t := 10 * time.Second
	for range n - 1 {
		t = min(t*3/2, 48*time.Minute)
	}
	return t
}

func checkSchedule(t *testing.T, at []time.Time) {
	t.Helper()
	for n := 1; n < len(at); n++ {
		gap, want := at[n].Sub(at[n-1]), leastWait(n)
		if gap < want-time.Millisecond || gap > want*5/4+time.Second {
			t.Errorf("gap %d is %v, want %v to %v", n, gap, want, want*5/4)
		}
	}
}

func TestKC15_TwentyFailures(t *testing.T) {
	for _, mode := range []source.Mode{source.ModeNTS, source.ModeNTSPool} {
		bubble(t, func(t *testing.T, r *testbed) {
			r.names.set("ke.example", "192.0.2.1")
			r.net.set("192.0.2.1:123", plainHost)
			r.supervise(t, config.Source{Mode: mode, Host: "ke.example", Port: 4460, Count: 4})
			for len(r.ke.times()) <= 20 {
				pass(time.Hour)
			}
			checkSchedule(t, r.ke.times())
			// KC18: all that time, not one plain packet.
			if n := len(r.net.sent); n != 0 {
				t.Errorf("%s: plain NTP to %d hosts", mode, n)
			}
		})
	}
}

// TestL05_NoNetwork: attempts that never left the host go on every ten seconds or so, however long it takes, with one
// line in the log, and do not count among the failures of the server.
func TestL05_NoNetwork(t *testing.T) {
	bubble(t, func(t *testing.T, r *testbed) {
		r.ke.set(func(int, ke.ClientConfig) (ke.Result, error) {
			return ke.Result{}, fmt.Errorf("connect: %w", &net.DNSError{Err: "dial udp: connect: " + errNoRoute.Error()})
		})
		r.supervise(t, config.Source{Mode: source.ModeNTS, Host: "ke.example", Port: 4460})
		pass(10 * time.Minute)
		at := r.ke.times()
		for n := 1; n < len(at); n++ {
			if gap := at[n].Sub(at[n-1]); gap < 10*time.Second || gap > 12500*time.Millisecond {
				t.Errorf("gap %d is %v", n, gap)
			}
		}
		if n := len(r.log.lines("key exchange failed")); n != 1 {
			t.Errorf("%d lines in the log", n)
		}
		r.ke.set(nil) // refused from now on: the schedule of row KC15 begins
		pass(time.Hour)
		checkSchedule(t, r.ke.times()[len(at):])
		if n := len(r.ke.times()) - len(at); n > 13 {
			t.Errorf("%d attempts in an hour", n)
		}
	})
}

func TestKC15_NoResetBeforeNTPWorks(t *testing.T) {
	bubble(t, func(t *testing.T, r *testbed) {
		s := newSecureHost(5)
		r.names.set("ke.example", "192.0.2.1")
		r.ke.set(func(int, ke.ClientConfig) (ke.Result, error) {
			return ke.Result{Session: s.session(), Server: "ke.example", Port: 123}, nil
		})
		r.supervise(t, config.Source{Mode: source.ModeNTS, Host: "ke.example", Port: 4460, PollMin: 4, PollMax: 4, PollInitial: 4})
		pass(2 * time.Hour)
		at := r.ke.times()
		for n := 1; n < len(at); n++ {
			if gap := at[n].Sub(at[n-1]); gap < leastWait(n) {
				t.Errorf("exchange %d came %v after the one before, want at least %v", n+1, gap, leastWait(n))
			}
		}
		if len(at) < 5 || len(at) > 14 {
			t.Errorf("%d exchanges in two hours", len(at))
		}
		if got := len(of[system.Added](r.recorder)); got != 1 {
			t.Errorf("%d sources for one address", got)
		}
		r.net.set("192.0.2.1:123", s.host)
		pass(time.Hour)
		if r.recorder.measured(1) == 0 {
			t.Error("does not recover")
		}
		s.forget() // after success the count starts over
		before := len(r.ke.times())
		pass(5 * time.Minute)
		if n := len(r.ke.times()) - before; n < 1 {
			t.Error("no quick exchange after the server lost its keys")
		}
	})
}

func TestNTS_ServerLosesItsKeys(t *testing.T) {
	bubble(t, func(t *testing.T, r *testbed) {
		s := newSecureHost(5)
		r.names.set("ntp.example.", "192.0.2.1")
		r.net.set("192.0.2.1:123", s.host)
		r.ke.set(func(int, ke.ClientConfig) (ke.Result, error) {
			return ke.Result{Session: s.session(), Server: "ntp.example", ServerGiven: true, Port: 123}, nil
		})
		r.supervise(t, config.Source{Mode: source.ModeNTS, Host: "ke.example", Port: 4460})
		pass(30 * time.Minute)
		added := of[system.Added](r.recorder)
		if st, _ := r.statuses.Get(1); len(added) != 1 || !st.NTS || r.recorder.measured(1) < 10 {
			t.Fatalf("added %+v, %d measurements", added, r.recorder.measured(1))
		}
		if m := of[system.Measured](r.recorder)[0]; !m.Authenticated {
			t.Error("measurement is not authenticated")
		}
		before := r.recorder.measured(1)
		s.forget()
		pass(3 * time.Minute)
		if n := len(r.ke.times()); n != 2 {
			t.Errorf("%d exchanges, want a second one", n)
		}
		if got := len(of[system.Added](r.recorder)); got != 1 || len(of[system.Removed](r.recorder)) != 0 || r.recorder.measured(1) <= before {
			t.Errorf("%d sources added, removed %v: the source should live on", got, of[system.Removed](r.recorder))
		}
	})
}

func TestNTS_WhereTheKeysCameFrom(t *testing.T) {
	for _, c := range []struct {
		name   string
		given  string
		remote string
		want   string
	}{
		{"no server given: the address of the exchange", "", "192.0.2.9", "192.0.2.9:123"},
		{"server given: the family that worked", "ntp.example", "192.0.2.9", "192.0.2.1:123"},
		{"server given as address", "192.0.2.5", "2001:db8::9", "192.0.2.5:123"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *testbed) {
				s := newSecureHost(5)
				r.names.set("ke.example", "2001:db8::1", "192.0.2.8")
				r.names.set("ntp.example.", "2001:db8::1", "192.0.2.1")
				r.names.set("192.0.2.5", "192.0.2.5")
				r.ke.set(func(int, ke.ClientConfig) (ke.Result, error) {
					res := ke.Result{Session: s.session(), Server: "ke.example", Port: 123, Remote: netip.MustParseAddr(c.remote)}
					if c.given != "" {
						res.Server, res.ServerGiven = c.given, true
					}
					return res, nil
				})
				r.supervise(t, config.Source{Mode: source.ModeNTS, Host: "ke.example", Port: 4460})
				pass(time.Second)
				if got := r.recorder.alive(); got != c.want {
					t.Errorf("source %s, want %s", got, c.want)
				}
			})
		})
	}
}

// TestNTS_BrokenAddressOfTheKeyExchange: of the two addresses of a key exchange server the first is broken. The second gives
// keys, a line names the first, and the next exchange begins with the second.
func TestNTS_BrokenAddressOfTheKeyExchange(t *testing.T) {
	bubble(t, func(t *testing.T, r *testbed) {
		s := newSecureHost(5)
		r.names.set("ke.example", "192.0.2.8", "192.0.2.9")
		r.net.set("192.0.2.9:123", s.host)
		r.ke.set(func(_ int, c ke.ClientConfig) (ke.Result, error) {
			if c.Connect.Addr() == netip.MustParseAddr("192.0.2.8") {
				return ke.Result{}, errors.New("certificate has expired")
			}
			return ke.Result{Session: s.session(), Server: "ke.example", Port: 123, Remote: c.Connect.Addr()}, nil
		})
		r.supervise(t, config.Source{Mode: source.ModeNTS, Host: "ke.example", Port: 4460})
		pass(time.Minute)
		if got := r.recorder.alive(); got != "192.0.2.9:123" || r.recorder.measured(1) == 0 {
			t.Fatalf("sources %s, %d measurements", got, r.recorder.measured(1))
		}
		if got := r.log.lines("another one gave keys"); len(got) != 1 || !strings.Contains(got[0], `"addr":"192.0.2.8:4460"`) || !strings.Contains(got[0], "expired") {
			t.Errorf("log %q", got)
		}
		s.forget()
		pass(time.Minute)
		var asked []string
		for _, c := range r.ke.asked {
			asked = append(asked, c.Connect.Addr().String())
		}
		if got := strings.Join(asked, " "); got != "192.0.2.8 192.0.2.9 192.0.2.9" {
			t.Errorf("asked %s", got)
		}
	})
}

// TestNTSPool_NameInward: a pool that names this host gets no packet of ours there, and is asked for another server.
func TestNTSPool_NameInward(t *testing.T) {
	bubble(t, func(t *testing.T, r *testbed) {
		r.poolOf(2)
		r.names.set("s1.example.", "127.0.0.1")
		r.supervise(t, config.Source{Mode: source.ModeNTSPool, Host: "pool.example", Port: 4460, Count: 1})
		pass(time.Minute)
		if n := len(r.net.requests("127.0.0.1:123")); n != 0 || r.recorder.alive() != "192.0.2.2:123" {
			t.Errorf("%d requests to ourselves, sources %s", n, r.recorder.alive())
		}
		if n := len(r.log.lines("127.0.0.1 (nearer to this host")); n != 1 {
			t.Errorf("log %q", r.log.lines(""))
		}
	})
}

func TestNTS_RenewsBeforeTheLastCookie(t *testing.T) {
	bubble(t, func(t *testing.T, r *testbed) {
		s := newSecureHost(5)
		r.names.set("ke.example", "192.0.2.1")
		r.net.set("192.0.2.1:123", s.host)
		r.ke.set(func(int, ke.ClientConfig) (ke.Result, error) {
			return ke.Result{Session: s.session(), Server: "ke.example", Port: 123}, nil
		})
		r.supervise(t, config.Source{Mode: source.ModeNTS, Host: "ke.example", Port: 4460})
		pass(time.Minute)
		r.net.set("192.0.2.1:123", nil)
		pass(6*17*time.Second + 20*time.Second)
		if n := len(r.ke.times()); n != 2 {
			t.Errorf("%d exchanges after six lost polls", n)
		}
		for _, st := range of[system.Status](r.recorder) {
			if st.Unusable {
				t.Error("ran out of cookies")
			}
		}
	})
}

func TestNTS_ChangedAddressStartsANewSource(t *testing.T) {
	bubble(t, func(t *testing.T, r *testbed) {
		s := newSecureHost(5)
		r.names.set("ke.example", "192.0.2.1")
		r.net.set("192.0.2.1:123", s.host)
		r.ke.set(func(int, ke.ClientConfig) (ke.Result, error) {
			return ke.Result{Session: s.session(), Server: "ke.example", Port: 123}, nil
		})
		r.supervise(t, config.Source{Mode: source.ModeNTS, Host: "ke.example", Port: 4460})
		pass(time.Minute)
		r.names.set("ke.example", "192.0.2.2")
		other := newSecureHost(6)
		r.ke.set(func(int, ke.ClientConfig) (ke.Result, error) {
			return ke.Result{Session: other.session(), Server: "ke.example", Port: 123}, nil
		})
		s.forget() // the old server answers NAK: keys are wanted, and lead elsewhere
		for range 100 {
			if len(r.net.requests("192.0.2.2:123")) > 0 {
				break
			}
			pass(time.Second)
		}
		if got := r.recorder.alive(); got != "192.0.2.1:123 192.0.2.2:123" {
			t.Fatalf("sources %s: the old one ends only after the new one's first good reply", got)
		}
		r.net.set("192.0.2.2:123", other.host)
		pass(5 * time.Second)
		if got := r.recorder.alive(); got != "192.0.2.2:123" {
			t.Errorf("sources %s", got)
		}
	})
}

func TestNTS_AuthenticatedDenyRestsForHours(t *testing.T) {
	bubble(t, func(t *testing.T, r *testbed) {
		s := newSecureHost(5)
		r.names.set("ke.example", "192.0.2.1")
		r.net.set("192.0.2.1:123", s.denyHost)
		r.ke.set(func(int, ke.ClientConfig) (ke.Result, error) {
			return ke.Result{Session: s.session(), Server: "ke.example", Port: 123}, nil
		})
		r.supervise(t, config.Source{Mode: source.ModeNTS, Host: "ke.example", Port: 4460})
		pass(3 * time.Hour)
		if k, n := len(r.ke.times()), len(r.net.requests("192.0.2.1:123")); k != 1 || n != 1 {
			t.Errorf("%d exchanges, %d requests in three hours", k, n)
		}
		pass(3 * time.Hour)
		if k := len(r.ke.times()); k != 2 {
			t.Errorf("%d exchanges after six hours", k)
		}
	})
}

// TestN25_OutsideCertificate: a server whose first reply contradicts its certificate is given up for hours, with a line
// that says why; nothing is measured.
func TestN25_OutsideCertificate(t *testing.T) {
	bubble(t, func(t *testing.T, r *testbed) {
		s := newSecureHost(5)
		s.to = time.Now().Add(-time.Minute)
		r.names.set("ke.example", "192.0.2.1")
		r.net.set("192.0.2.1:123", s.host)
		r.ke.set(func(int, ke.ClientConfig) (ke.Result, error) {
			return ke.Result{Session: s.session(), Server: "ke.example", Port: 123}, nil
		})
		r.supervise(t, config.Source{Mode: source.ModeNTSPool, Host: "ke.example", Port: 4460, Count: 1})
		pass(time.Minute)
		if n := len(of[system.Measured](r.recorder)); n != 0 || r.recorder.alive() != "" {
			t.Errorf("%d measurements, alive: %s", n, r.recorder.alive())
		}
		if n := len(r.log.lines("source rejected: time outside")); n != 1 {
			t.Errorf("%d lines in the log", n)
		}
		pass(3 * time.Hour)
		if n := len(r.net.requests("192.0.2.1:123")); n != 1 {
			t.Errorf("%d requests in three hours", n)
		}
	})
}

func TestKC14_HangingExchange(t *testing.T) {
	bubble(t, func(t *testing.T, r *testbed) {
		began := time.Now()
		ended := time.Duration(0)
		d := Deps{
			Clock: bubbleClock{}, Resolve: r.names, Rand: newSeeded(1), Inbox: r.inbox, NextID: func() ntp.SourceID { return 1 },
			Exchange: func(ctx context.Context, c ke.ClientConfig) (ke.Result, error) {
				<-ctx.Done()
				if ended == 0 {
					ended = time.Since(began)
				}
				return ke.Result{}, ctx.Err()
			},
		}
		r.wg.Go(func() {
			_ = Supervise(r.ctx, config.Source{Mode: source.ModeNTS, Host: "ke.example", Port: 4460, PollMin: 4, PollMax: 10}, 1, d)
		})
		pass(20 * time.Second)
		if ended > 6*time.Second || ended == 0 {
			t.Errorf("attempt ended after %v", ended)
		}
	})
}

// poolOf is a fake NTS pool over servers named s1, s2, …, at 192.0.2.1, 192.0.2.2, …: it gives the first one that
// is not denied, and the first when all are.
func (r *testbed) poolOf(n int) []*secureHost {
	var list []*secureHost
	for i := 1; i <= n; i++ {
		s := newSecureHost(byte(10 + i))
		list = append(list, s)
		r.names.set(fmt.Sprintf("s%d.example.", i), fmt.Sprintf("192.0.2.%d", i))
		r.net.set(fmt.Sprintf("192.0.2.%d:123", i), s.host)
	}
	r.ke.set(func(_ int, c ke.ClientConfig) (ke.Result, error) {
		pick := 0
		for i := range list {
			if !slices.Contains(c.Denied, fmt.Sprintf("s%d.example", i+1)) {
				pick = i
				break
			}
		}
		return ke.Result{Session: list[pick].session(), Server: fmt.Sprintf("s%d.example", pick+1), ServerGiven: true, Port: 123}, nil
	})
	return list
}

func TestNTSPool_FillsAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, r *testbed) {
		r.poolOf(4)
		r.supervise(t, config.Source{Mode: source.ModeNTSPool, Host: "pool.example", Port: 4460, Count: 3, Algorithms: []aead.Algorithm{aead.SIVCMAC512}})
		pass(10 * time.Second)
		if got := r.recorder.alive(); got != "192.0.2.1:123 192.0.2.2:123 192.0.2.3:123" {
			t.Errorf("sources %s", got)
		}
		if a := r.ke.asked[0].Algorithms; !slices.Equal(a, []aead.Algorithm{aead.SIVCMAC512}) {
			t.Errorf("first exchange offered %v", a)
		}
		if d := r.ke.asked[2].Denied; !slices.Equal(d, []string{"s1.example", "s2.example"}) {
			t.Errorf("third exchange denied %q", d)
		}
		if n := len(r.ke.times()); n != 3 {
			t.Errorf("%d exchanges", n)
		}
	})
}

// A user that wants more sources than the pool has gets what there is, and asks for the others after a quarter of an hour and
// then ever more rarely, down to once in 48 minutes to an hour. A member more is found all the same, and the waits start over.
func TestD3_32_SmallerThanCount(t *testing.T) {
	bubble(t, func(t *testing.T, r *testbed) {
		r.poolOf(1)
		r.supervise(t, config.Source{Mode: source.ModeNTSPool, Host: "pool.example", Port: 4460, Count: 3})
		pass(24 * time.Hour)
		at := r.ke.times()
		if len(at) < 25 || len(at) > 33 {
			t.Fatalf("%d exchanges in a day", len(at))
		}
		atLeast := 15 * time.Minute
		for n := 2; n < len(at); n++ {
			if gap := at[n].Sub(at[n-1]); gap < atLeast || gap > atLeast*5/4+time.Second {
				t.Errorf("wait %d is %v, want %v and a quarter more at most", n, gap, atLeast)
			}
			atLeast = min(atLeast*3/2, 48*time.Minute)
		}
		if got := r.recorder.alive(); got != "192.0.2.1:123" {
			t.Errorf("sources %s", got)
		}
		if n := len(r.log.lines("already held")); n != len(at)-1 {
			t.Errorf("%d log lines for %d answers without news", n, len(at)-1)
		}
		r.poolOf(2)
		before := len(at)
		pass(time.Hour + time.Minute)
		if got := r.recorder.alive(); got != "192.0.2.1:123 192.0.2.2:123" {
			t.Errorf("after a new member: sources %s", got)
		}
		at = r.ke.times()[before:]
		if len(at) < 2 || len(at) > 5 || at[1].Sub(at[0]) > time.Minute {
			t.Fatalf("after a new member: exchanges at %v", at)
		}
		pass(20 * time.Minute)
		if n := len(r.ke.times()) - before; n < 3 {
			t.Errorf("waits did not start over: %d exchanges", n)
		}
	})
}

// What a pool returns is no source more if any address of it belongs to one that is in use, of whatever kind.
func TestD3_50_AddressInUse(t *testing.T) {
	for _, tt := range []struct {
		name  string
		plain []string // addresses of a plain server that runs already
		s1    []string
		want  string
	}{
		{"new", []string{"192.0.2.9"}, []string{"192.0.2.1"}, "192.0.2.1:123 192.0.2.2:123 192.0.2.9:123"},
		{"the address of a server", []string{"192.0.2.1"}, []string{"192.0.2.1"}, "192.0.2.1:123 192.0.2.2:123 192.0.2.3:123"},
		{"its second address", []string{"192.0.2.9"}, []string{"192.0.2.1", "192.0.2.9"}, "192.0.2.2:123 192.0.2.3:123 192.0.2.9:123"},
		{"the second address of a server", []string{"192.0.2.9", "192.0.2.1"}, []string{"192.0.2.1"}, "192.0.2.2:123 192.0.2.3:123 192.0.2.9:123"},
		{"two names of the pool", []string{"192.0.2.9"}, []string{"192.0.2.2"}, "192.0.2.2:123 192.0.2.3:123 192.0.2.9:123"},
		{"two names of the pool, at two addresses", []string{"192.0.2.9"}, []string{"192.0.2.1", "192.0.2.2"}, "192.0.2.1:123 192.0.2.3:123 192.0.2.9:123"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *testbed) {
				r.names.set("ntp.example", tt.plain...)
				r.net.set("192.0.2.9:123", plainHost)
				r.net.set("192.0.2.1:123", plainHost)
				d := r.deps()
				r.wg.Go(func() {
					_ = Supervise(r.ctx, withPolls(config.Source{Mode: source.ModeServer, Host: "ntp.example", Port: 123}), 2, d)
				})
				pass(time.Second)
				r.poolOf(3)
				r.names.set("s1.example.", tt.s1...)
				r.supervise(t, config.Source{Mode: source.ModeNTSPool, Host: "pool.example", Port: 4460, Count: 2})
				pass(90 * time.Second)
				if got := r.recorder.alive(); got != tt.want {
					t.Errorf("sources %s, want %s", got, tt.want)
				}
			})
		})
	}
}

// A member that never answers at the first of its addresses is asked at the others with the same keys, and only then given up.
func TestNTSPool_OtherAddressOfTheMember(t *testing.T) {
	bubble(t, func(t *testing.T, r *testbed) {
		r.poolOf(2)
		r.names.set("s1.example.", "2001:db8::1", "192.0.2.1")
		r.net.set("[2001:db8::1]:123", nil)
		r.supervise(t, config.Source{Mode: source.ModeNTSPool, Host: "pool.example", Port: 4460, Count: 2})
		pass(time.Minute)
		if got := r.recorder.alive(); got != "192.0.2.1:123 192.0.2.2:123" {
			t.Errorf("sources %s", got)
		}
		for n, q := range r.ke.asked { // the cookies that the silent address cost are replaced, from the same server
			if n >= 2 && q.Prefer != "s1.example" || n > 2 {
				t.Errorf("exchange %d prefers %q and denies %q", n+1, q.Prefer, q.Denied)
			}
		}
		before := r.recorder.measured(3)
		pass(time.Minute)
		if r.recorder.measured(3) <= before {
			t.Error("the second address does not measure")
		}
	})
	bubble(t, func(t *testing.T, r *testbed) {
		r.poolOf(2)
		r.names.set("s1.example.", "2001:db8::1", "192.0.2.1")
		r.net.set("192.0.2.1:123", nil)
		r.supervise(t, config.Source{Mode: source.ModeNTSPool, Host: "pool.example", Port: 4460, Count: 1})
		pass(time.Minute)
		if got := r.recorder.alive(); got != "192.0.2.2:123" {
			t.Errorf("a member without any address that answers: sources %s", got)
		}
		if d := r.ke.asked[len(r.ke.asked)-1].Denied; !slices.Contains(d, "s1.example") {
			t.Errorf("denied %q", d)
		}
	})
}

func TestNTSPool_DeadMemberIsReplacedAndDenied(t *testing.T) {
	bubble(t, func(t *testing.T, r *testbed) {
		r.poolOf(4)
		r.supervise(t, config.Source{Mode: source.ModeNTSPool, Host: "pool.example", Port: 4460, Count: 2})
		pass(time.Minute)
		r.net.set("192.0.2.1:123", nil)
		pass(4 * time.Minute)
		if got := r.recorder.alive(); got != "192.0.2.2:123 192.0.2.3:123" {
			t.Fatalf("sources %s", got)
		}
		r.net.set("192.0.2.2:123", nil)
		pass(4 * time.Minute)
		if got := r.recorder.alive(); got != "192.0.2.3:123 192.0.2.4:123" {
			t.Errorf("sources %s; the first that failed must not come straight back", got)
		}
	})
}

// A member that dies with its key exchange is replaced when its cookies run low, because the pool gives another one for the renewal; it counts
// as failed all the same.
func TestNTSPool_DeadMemberOfARenewal(t *testing.T) {
	bubble(t, func(t *testing.T, r *testbed) {
		list := r.poolOf(4)
		r.supervise(t, config.Source{Mode: source.ModeNTSPool, Host: "pool.example", Port: 4460, Count: 2})
		pass(time.Minute)
		r.net.set("192.0.2.1:123", nil)
		r.ke.set(func(_ int, c ke.ClientConfig) (ke.Result, error) { // a pool that knows that the first is dead
			for i := 1; ; i++ {
				if name := fmt.Sprintf("s%d.example", i+1); !slices.Contains(c.Denied, name) {
					return ke.Result{Session: list[i].session(), Server: name, ServerGiven: true, Port: 123}, nil
				}
			}
		})
		pass(4 * time.Minute)
		if got := r.recorder.alive(); got != "192.0.2.2:123 192.0.2.3:123" || r.ke.asked[2].Prefer != "s1.example" {
			t.Fatalf("sources %s, the renewal prefers %q", got, r.ke.asked[2].Prefer)
		}
		if p := r.statuses.Pools()[0]; len(p.Failed) != 1 || p.Failed[0].Name != "s1.example" {
			t.Errorf("left out: %v", p.Failed)
		}
	})
}

// TestNTSPool_KeysBeforeMembers: of two sources one is dead, and finding another fails for days. When the good one loses
// its cookie keys it has fresh ones within seconds: renewing keys does not wait for the search for servers.
func TestNTSPool_KeysBeforeMembers(t *testing.T) {
	bubble(t, func(t *testing.T, r *testbed) {
		list := r.poolOf(2)
		r.supervise(t, config.Source{Mode: source.ModeNTSPool, Host: "pool.example", Port: 4460, Count: 2})
		pass(time.Minute)
		r.net.set("192.0.2.1:123", nil)
		var fresh atomic.Int32 // exchanges that asked for the good one again
		r.ke.set(func(_ int, c ke.ClientConfig) (ke.Result, error) {
			if slices.Contains(c.Denied, "s2.example") {
				time.Sleep(50 * time.Second)
				return ke.Result{}, errors.New("connection refused")
			}
			fresh.Add(1)
			return ke.Result{Session: list[1].session(), Server: "s2.example", ServerGiven: true, Port: 123}, nil
		})
		pass(72 * time.Hour)
		gaps, at := time.Duration(0), r.ke.times()
		for n := 1; n < len(at); n++ {
			gaps = max(gaps, at[n].Sub(at[n-1]))
		}
		if fresh.Load() != 0 || gaps < 48*time.Minute || gaps > 61*time.Minute {
			t.Errorf("%d exchanges for keys in three days, the longest gap between searches is %v, want an hour", fresh.Load(), gaps)
		}
		loseKeys := func(when string, want int32) {
			list[1].forget()
			lost, before := time.Now(), r.recorder.measured(2)
			for st, _ := r.statuses.Get(2); st.Need != source.NeedKeyExchange && fresh.Load() < want && time.Since(lost) < time.Hour; st, _ = r.statuses.Get(2) {
				pass(time.Second)
			}
			noticed := time.Now()
			for r.recorder.measured(2) == before && time.Since(noticed) < time.Hour {
				pass(time.Second)
			}
			if d := time.Since(noticed); d > 10*time.Second || fresh.Load() != want {
				t.Errorf("%s: %d exchanges; measured %v after the loss of the keys was known", when, fresh.Load(), d)
			}
		}
		for n := len(r.ke.times()); len(r.ke.times()) == n; {
			pass(time.Second)
		}
		loseKeys("while a search is under way", 1)
		for n := len(r.ke.times()); len(r.ke.times()) == n; {
			pass(time.Second)
		}
		pass(2 * time.Minute) // that search has failed, and the next is most of an hour away
		loseKeys("between two searches", 2)
	})
}

// TestNTS_BackAfterHours: nine hours in which whatever leaves this host is lost, key exchanges too, leave no source without
// keys for longer than two minutes once the network is back.
func TestNTS_BackAfterHours(t *testing.T) {
	bubble(t, func(t *testing.T, r *testbed) {
		s := newSecureHost(5)
		r.names.set("ke.example", "192.0.2.1")
		good := func(int, ke.ClientConfig) (ke.Result, error) {
			return ke.Result{Session: s.session(), Server: "ke.example", Port: 123}, nil
		}
		r.ke.set(good)
		r.net.set("192.0.2.1:123", s.host)
		r.supervise(t, config.Source{Mode: source.ModeNTS, Host: "ke.example", Port: 4460})
		pass(time.Hour)
		r.net.set("192.0.2.1:123", nil)
		r.ke.set(func(int, ke.ClientConfig) (ke.Result, error) {
			time.Sleep(5 * time.Second)
			return ke.Result{}, fmt.Errorf("connect: %w", &net.OpError{Op: "dial", Net: "tcp", Err: os.ErrDeadlineExceeded})
		})
		pass(9 * time.Hour)
		if n := len(r.ke.times()); n > 600 {
			t.Errorf("%d exchanges in nine hours", n)
		}
		r.net.set("192.0.2.1:123", s.host)
		r.ke.set(good)
		before := r.recorder.measured(1)
		pass(2 * time.Minute)
		if n := r.recorder.measured(1) - before; n < 1 {
			t.Errorf("%d measurements in two minutes", n)
		}
	})
}

// TestNetworkChange: hours without a way to anybody are over when a route comes up. Sources that are silent are polled and
// searches start at once; a source that works is left alone, and so is a server that wants none of us.
func TestNetworkChange(t *testing.T) {
	bubble(t, func(t *testing.T, r *testbed) {
		s, deny := newSecureHost(5), newSecureHost(6)
		r.names.set("plain.example", "192.0.2.1")
		r.names.set("pool.example", "192.0.2.3", "192.0.2.4")
		r.names.set("fine.example", "192.0.2.7")
		r.net.set("192.0.2.7:123", plainHost)
		r.names.set("s.example.", "192.0.2.2")
		r.names.set("deny.example.", "192.0.2.9")
		r.net.set("192.0.2.9:123", deny.denyHost)
		down := true
		r.ke.set(func(_ int, c ke.ClientConfig) (ke.Result, error) {
			if c.Address == "deny.example" {
				return ke.Result{Session: deny.session(), Server: "deny.example", ServerGiven: true, Port: 123}, nil
			}
			if down {
				return ke.Result{}, errors.New("connection refused")
			}
			return ke.Result{Session: s.session(), Server: "s.example", ServerGiven: true, Port: 123}, nil
		})
		for _, src := range []config.Source{
			{Mode: source.ModeServer, Host: "plain.example", Port: 123},
			{Mode: source.ModeNTS, Host: "ke.example", Port: 4460},
			{Mode: source.ModeNTS, Host: "deny.example", Port: 4460},
			{Mode: source.ModePool, Host: "pool.example", Port: 123, Count: 1},
			{Mode: source.ModeServer, Host: "fine.example", Port: 123},
		} {
			r.supervise(t, src)
		}
		pass(3 * time.Hour)
		for n := len(r.net.requests("192.0.2.7:123")); len(r.net.requests("192.0.2.7:123")) == n; { // its next poll is 16 s away
			pass(time.Second)
		}
		denied, fine := len(r.net.requests("192.0.2.9:123")), len(r.net.requests("192.0.2.7:123"))
		down = false
		r.net.set("192.0.2.1:123", plainHost)
		r.net.set("192.0.2.2:123", s.host)
		r.net.set("192.0.2.3:123", plainHost)
		r.net.set("192.0.2.4:123", plainHost)
		r.changes.Changed()
		pass(6 * time.Second)
		got := map[string]bool{}
		for id := range r.nextID + 1 {
			if st, running := r.statuses.Get(id); running && st.Reach&1 != 0 {
				for _, a := range of[system.Added](r.recorder) {
					if a.ID == id {
						got[a.Name] = true
					}
				}
			}
		}
		for _, name := range []string{"plain.example:123", "ke.example:4460", "pool.example:123", "fine.example:123"} {
			if !got[name] {
				t.Errorf("%s is not measured 6 s after the network came up", name)
			}
		}
		if n := len(r.net.requests("192.0.2.9:123")); n != denied {
			t.Error("a server that denied us was asked")
		}
		if n := len(r.net.requests("192.0.2.7:123")); n > fine {
			t.Errorf("a source that works was polled %d times", n-fine)
		}
	})
}

// TestNetworkChange_LongPath: a network that changes all the time costs no reply of a server behind a satellite, from the first one
// on, and two when the path becomes such a long one.
func TestNetworkChange_LongPath(t *testing.T) {
	for _, c := range []struct {
		name         string
		first, later time.Duration
		lost         int
	}{
		{"satellite", 700 * time.Millisecond, 700 * time.Millisecond, 0},
		{"one that becomes longer", 20 * time.Millisecond, 700 * time.Millisecond, 2},
		{"as usual", 20 * time.Millisecond, 20 * time.Millisecond, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *testbed) {
				r.net.set("192.0.2.1:123", plainHost)
				r.names.set("far.example", "192.0.2.1")
				r.net.trip = c.first
				r.supervise(t, config.Source{Mode: source.ModeServer, Host: "far.example", Port: 123})
				for n := range 12000 {
					if n == 6000 {
						r.net.mu.Lock()
						r.net.trip = c.later
						r.net.mu.Unlock()
					}
					r.changes.Changed()
					pass(10 * time.Millisecond)
				}
				pass(2 * time.Second)
				sent, good := len(r.net.requests("192.0.2.1:123")), len(of[system.Measured](r.recorder))
				if sent < 10 || sent-good != c.lost {
					t.Errorf("%d replies to %d requests, want %d fewer", good, sent, c.lost)
				}
			})
		})
	}
}

// TestNetworkChange_Interleaving: when the network has changed, between two polls or while a reply is awaited, no request shows what
// the server said before, although our address and the server's answers are as ever.
func TestNetworkChange_Interleaving(t *testing.T) {
	for name, trip := range map[string]time.Duration{"between polls": 10 * time.Millisecond, "during one": 200 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *testbed) {
				var mu sync.Mutex
				var origins []ntp.Timestamp
				count := func() int { mu.Lock(); defer mu.Unlock(); return len(origins) }
				r.net.set("192.0.2.1:123", func(b []byte) []byte {
					q, _ := ntp.ParseHeader(b)
					mu.Lock()
					origins = append(origins, q.Origin)
					mu.Unlock()
					return plainHost(b)
				})
				r.net.trip = trip
				r.names.set("near.example", "192.0.2.1")
				r.supervise(t, config.Source{Mode: source.ModeServer, Host: "near.example", Port: 123, Interleaved: source.InterleaveAlways})
				pass(10 * time.Minute)
				seen := count()
				for count() == seen {
					pass(50 * time.Millisecond)
				}
				if trip < 50*time.Millisecond {
					pass(time.Second)
				}
				r.changes.Changed()
				pass(10 * time.Minute)
				if origins[seen].IsZero() || !origins[seen+1].IsZero() || origins[seen+2].IsZero() {
					t.Errorf("before and after: %x", origins[seen:seen+3])
				}
			})
		})
	}
}

func TestNTSPool_RenewalKeepsTheServer(t *testing.T) {
	bubble(t, func(t *testing.T, r *testbed) {
		list := r.poolOf(2)
		r.supervise(t, config.Source{Mode: source.ModeNTSPool, Host: "pool.example", Port: 4460, Count: 2})
		pass(time.Minute)
		list[1].forget()
		pass(3 * time.Minute)
		if n := len(of[system.Added](r.recorder)); n != 2 || len(r.ke.times()) != 3 {
			t.Errorf("%d sources, %d exchanges", n, len(r.ke.times()))
		}
		if q := r.ke.asked[2]; !slices.Equal(q.Denied, []string{"s1.example"}) || q.Prefer != "s2.example" {
			t.Errorf("renewal denied %q and prefers %q", q.Denied, q.Prefer)
		}
		if a, b := r.ke.asked[0].Prefer, r.ke.asked[1].Prefer; a+b != "" {
			t.Errorf("a first exchange prefers %q, %q", a, b)
		}
		before := r.recorder.measured(2)
		pass(2 * time.Minute)
		if r.recorder.measured(2) <= before {
			t.Error("renewed source does not measure")
		}
	})
}

// A pool that answers a renewal with a server that is held already must not be asked again at once.
func TestNTSPool_RenewalLeadsToAHeldServer(t *testing.T) {
	bubble(t, func(t *testing.T, r *testbed) {
		list := r.poolOf(2)
		r.supervise(t, config.Source{Mode: source.ModeNTSPool, Host: "pool.example", Port: 4460, Count: 2})
		pass(time.Minute)
		r.ke.set(func(int, ke.ClientConfig) (ke.Result, error) {
			return ke.Result{Session: list[0].session(), Server: "S1.example", ServerGiven: true, Port: 123}, nil
		})
		list[1].forget()
		pass(time.Hour)
		if n := len(r.ke.times()); n < 5 || n > 16 {
			t.Errorf("%d exchanges in an hour", n)
		}
		if got := len(of[system.Added](r.recorder)); got != 2 {
			t.Errorf("%d sources were added", got)
		}
	})
}

// A server of the pool that moves to another address is held as before, and denied to the pool.
func TestNTSPool_MovedServerIsStillHeld(t *testing.T) {
	bubble(t, func(t *testing.T, r *testbed) {
		list := r.poolOf(3)
		r.supervise(t, config.Source{Mode: source.ModeNTSPool, Host: "pool.example", Port: 4460, Count: 2})
		pass(time.Minute)
		r.names.set("s2.example.", "192.0.2.22")
		r.net.set("192.0.2.22:123", list[1].host)
		list[1].forget() // NAK: the renewal of keys finds the new address
		pass(4 * time.Minute)
		if got := r.recorder.alive(); got != "192.0.2.1:123 192.0.2.22:123" {
			t.Fatalf("sources %s", got)
		}
		r.net.set("192.0.2.1:123", nil)
		pass(4 * time.Minute)
		if got := r.recorder.alive(); got != "192.0.2.22:123 192.0.2.3:123" {
			t.Errorf("sources %s", got)
		}
		if d := r.ke.asked[len(r.ke.asked)-1].Denied; !slices.Equal(d, []string{"s1.example", "s2.example"}) {
			t.Errorf("denied %q", d)
		}
	})
}

// Two names of the pool at one address: the second name is given up and another one asked for.
func TestNTSPool_OneAddressTwoNames(t *testing.T) {
	bubble(t, func(t *testing.T, r *testbed) {
		r.poolOf(3)
		r.names.set("s2.example.", "192.0.2.1")
		r.supervise(t, config.Source{Mode: source.ModeNTSPool, Host: "pool.example", Port: 4460, Count: 2})
		pass(time.Minute)
		if got := r.recorder.alive(); got != "192.0.2.1:123 192.0.2.3:123" {
			t.Errorf("sources %s", got)
		}
	})
}

func TestSupervise_BadSpec(t *testing.T) {
	for _, s := range []config.Source{{}, {Host: "x"}, {Mode: source.ModePool, Host: "x", Port: 123}, {Mode: 9, Host: "x", Port: 123, Count: 1}} {
		if err := Supervise(t.Context(), s, 1, Deps{}); err == nil {
			t.Errorf("%+v runs", s)
		}
	}
}

func TestSupervise_StopsWithAFullInbox(t *testing.T) {
	bubble(t, func(t *testing.T, r *testbed) {
		r.names.set("ntp.example", "192.0.2.1")
		r.net.set("192.0.2.1:123", plainHost)
		ctx, cancel := context.WithCancel(r.ctx)
		defer cancel()
		stuck := make(chan Message) // nobody reads
		done := make(chan error)
		go func() {
			done <- Supervise(ctx, config.Source{Mode: source.ModeServer, Host: "ntp.example", Port: 123, PollMin: 4, PollMax: 10}, 1, Deps{
				Clock: bubbleClock{}, Resolve: r.names, Dial: r.net.dial, Exchange: r.ke.exchange, Rand: newSeeded(1), NewAlarm: newBubbleAlarm,
				Inbox: stuck, NextID: func() ntp.SourceID { return 1 },
			})
		}()
		pass(time.Minute)
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}
