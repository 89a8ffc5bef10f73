package assoc

import (
	"context"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ntp-daemon/internal/config"
	"ntp-daemon/internal/nts/ke"
	"ntp-daemon/internal/resolve"
	"ntp-daemon/internal/source"
	"ntp-daemon/internal/system"
)

// records is a domain with SRV targets in this order, or with an error.
type records struct {
	mu   sync.Mutex
	list []string
	err  error
	at   []time.Time // look-ups
}

func (r *records) Lookup(context.Context, string) (list []resolve.Service, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.at = append(r.at, time.Now())
	if r.err != nil {
		return nil, &resolve.ServiceError{Name: "_ntske._tcp.pool.example", Err: r.err}
	}
	for i, name := range r.list {
		list = append(list, resolve.Service{Target: name, Port: uint16(4461 + i), Priority: 1})
	}
	return list, nil
}

func (r *records) set(err error, list ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list, r.err = list, err
}

func (r *records) lookups() []time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.at)
}

// members makes key exchange servers s1.example, s2.example, … at 192.0.2.1, …, each with its own keys and NTP beside it.
func (r *testbed) members(n int) []*secureHost {
	var list []*secureHost
	for i := 1; i <= n; i++ {
		s := newSecureHost(byte(10 + i))
		list = append(list, s)
		r.names.set(fmt.Sprintf("s%d.example.", i), fmt.Sprintf("192.0.2.%d", i))
		r.net.set(fmt.Sprintf("192.0.2.%d:123", i), s.host)
	}
	r.ke.set(func(_ int, c ke.ClientConfig) (ke.Result, error) {
		var i int
		if _, err := fmt.Sscanf(c.Address, "s%d.example", &i); err != nil || i < 1 || i > n {
			return ke.Result{}, errNoName
		}
		return ke.Result{Session: list[i-1].session(), Server: c.Address, Remote: c.Connect.Addr(), Port: 123}, nil
	})
	return list
}

func serviceSource(mode source.Mode, count int) config.Source {
	return config.Source{Mode: mode, Host: "pool.example", Port: 4460, SRV: true, Count: count}
}

// superviseService starts a source that is found by records.
func (r *testbed) superviseService(t *testing.T, src config.Source, list *records) {
	t.Helper()
	d := r.deps()
	d.Services = list
	r.superviseWith(t, src, d, "")
}

// asked lists the key exchange servers that were asked from the n-th exchange on.
func (r *testbed) askedServers(n int) string {
	r.ke.mu.Lock()
	defer r.ke.mu.Unlock()
	var list []string
	for _, c := range r.ke.asked[min(n, len(r.ke.asked)):] {
		list = append(list, c.Address)
	}
	return strings.Join(list, " ")
}

// A pool that stands in the DNS: each target is a source, one that dies is replaced by another target and not asked again soon, and one
// that needs keys gets them where it is.
func TestSRV_MembersOfADomain(t *testing.T) {
	bubble(t, func(t *testing.T, r *testbed) {
		hosts, list := r.members(4), &records{}
		list.set(nil, "s1.example", "s2.example", "s3.example", "s4.example")
		r.superviseService(t, serviceSource(source.ModeNTSPool, 2), list)
		pass(time.Minute)
		if got := r.recorder.alive(); got != "192.0.2.1:123 192.0.2.2:123" || r.askedServers(0) != "s1.example s2.example" {
			t.Fatalf("sources %s, asked %s", got, r.askedServers(0))
		}
		r.net.set("192.0.2.1:123", nil)
		pass(4 * time.Minute)
		if got := r.recorder.alive(); got != "192.0.2.2:123 192.0.2.3:123" || r.askedServers(2) != "s1.example s3.example" { // its cookies ran low first
			t.Fatalf("sources %s, asked %s", got, r.askedServers(2))
		}
		hosts[1].forget()
		pass(3 * time.Minute)
		if got := r.recorder.alive(); got != "192.0.2.2:123 192.0.2.3:123" || r.askedServers(4) != "s2.example" {
			t.Fatalf("renewal: sources %s, asked %s", got, r.askedServers(4))
		}
		r.net.set("192.0.2.2:123", nil)
		pass(4 * time.Minute)
		if got := r.recorder.alive(); got != "192.0.2.3:123 192.0.2.4:123" || !strings.HasSuffix(r.askedServers(5), "s4.example") || strings.Contains(r.askedServers(5), "s1") {
			t.Errorf("the first that failed must not come straight back: sources %s, asked %s", got, r.askedServers(5))
		}
		if name := of[system.Added](r.recorder)[0].Name; name != "_ntske._tcp.pool.example" {
			t.Errorf("sources are called %q", name)
		}
	})
}

// A domain with fewer targets than are wanted is asked no more often than a pool of that size; one that is named later is found.
func TestSRV_SmallerThanCount(t *testing.T) {
	bubble(t, func(t *testing.T, r *testbed) {
		r.members(2)
		list := &records{}
		list.set(nil, "s1.example")
		r.superviseService(t, serviceSource(source.ModeNTSPool, 3), list)
		pass(3 * time.Hour)
		at := list.lookups()
		if len(at) < 4 || len(at) > 7 || at[2].Sub(at[1]) < 15*time.Minute || r.askedServers(0) != "s1.example" {
			t.Errorf("%d look-ups: %v; asked %s", len(at), at, r.askedServers(0))
		}
		if m := r.statuses.Missing(); len(m) != 1 || m[0].Count != 2 || !strings.Contains(m[0].Reason, "in use") {
			t.Errorf("%+v", m)
		}
		list.set(nil, "s1.example", "s2.example")
		pass(time.Hour + time.Minute)
		if got := r.recorder.alive(); got != "192.0.2.1:123 192.0.2.2:123" {
			t.Errorf("sources %s", got)
		}
	})
}

// A target that failed is left out while there is another source, and asked again by the schedule where there is none.
func TestSRV_FailedTargets(t *testing.T) {
	bubble(t, func(t *testing.T, r *testbed) {
		r.members(1)
		list := &records{}
		list.set(nil, "s7.example", "s1.example") // there is no s7, though it has an address
		r.names.set("s7.example.", "192.0.2.7")
		r.superviseService(t, serviceSource(source.ModeNTSPool, 2), list)
		pass(14 * time.Minute)
		if got := r.askedServers(0); got != "s7.example s1.example" {
			t.Errorf("asked %s", got)
		}
		pass(2 * time.Hour)
		if got := strings.Count(r.askedServers(2), "s7.example"); got < 1 || got > 4 {
			t.Errorf("asked %d times in two hours", got)
		}
	})
	bubble(t, func(t *testing.T, r *testbed) {
		r.members(1)
		list := &records{}
		list.set(nil, "s7.example", "s8.example")
		r.names.set("s7.example.", "192.0.2.7")
		r.names.set("s8.example.", "192.0.2.8")
		r.superviseService(t, serviceSource(source.ModeNTSPool, 2), list)
		pass(10 * time.Minute)
		checkSchedule(t, list.lookups())
		if got := r.askedServers(0); !strings.HasPrefix(got, "s7.example s8.example s7.example s8.example") {
			t.Errorf("asked %s", got)
		}
	})
}

// An outage of our own network is no fault of the targets: one whose server is gone afterwards is replaced within minutes.
func TestSRV_NetworkOutage(t *testing.T) {
	bubble(t, func(t *testing.T, r *testbed) {
		hosts, list := r.members(4), &records{}
		list.set(nil, "s1.example", "s2.example", "s3.example", "s4.example")
		r.superviseService(t, serviceSource(source.ModeNTSPool, 2), list)
		pass(time.Hour)
		if got := r.recorder.alive(); got != "192.0.2.1:123 192.0.2.2:123" {
			t.Fatalf("sources %s", got)
		}
		r.net.set("192.0.2.1:123", nil)
		r.net.set("192.0.2.2:123", nil)
		r.ke.mu.Lock()
		works := r.ke.do
		r.ke.mu.Unlock()
		r.ke.set(func(int, ke.ClientConfig) (ke.Result, error) {
			return ke.Result{}, &net.OpError{Op: "dial", Net: "tcp", Err: os.ErrDeadlineExceeded}
		})
		pass(time.Hour)
		if got := r.askedServers(2); !strings.Contains(got, "s3.example") || !strings.Contains(got, "s4.example") {
			t.Fatalf("asked %s", got)
		}
		r.ke.set(works)
		r.net.set("192.0.2.2:123", hosts[1].host)
		pass(4 * time.Minute)
		if got := r.recorder.alive(); len(strings.Fields(got)) != 2 || strings.Contains(got, "192.0.2.1:123") {
			t.Errorf("four minutes after the outage: sources %s, asked %s", got, r.askedServers(2))
		}
	})
}

// Answers that DNSSEC does not vouch for give no source at all, say so in the status and once in the log, and are asked for again by
// the schedule.
func TestSRV_NotValidated(t *testing.T) {
	bubble(t, func(t *testing.T, r *testbed) {
		r.members(1)
		list := &records{err: resolve.ErrNotValidated}
		r.superviseService(t, serviceSource(source.ModeNTSPool, 2), list)
		pass(10 * time.Minute)
		if got := r.recorder.alive(); got != "" || r.askedServers(0) != "" {
			t.Errorf("sources %s, asked %s", got, r.askedServers(0))
		}
		if m := r.statuses.Missing(); len(m) != 1 || m[0].Count != 2 || m[0].Reason != `SRV look-up failed: SRV records of "_ntske._tcp.pool.example": not validated by DNSSEC` {
			t.Errorf("%+v", m)
		}
		if lines := r.log.lines("not validated"); len(lines) != 1 || !strings.Contains(lines[0], "SRV look-up failed") {
			t.Errorf("%d lines: %s", len(lines), lines)
		}
		checkSchedule(t, list.lookups())
		list.set(nil, "s1.example")
		pass(5 * time.Minute)
		if got := r.recorder.alive(); got != "192.0.2.1:123" {
			t.Errorf("sources %s", got)
		}
	})
}

// A name server of our own that is silent is waited for as any other one is while no source answers.
func TestSRV_SilentNameServer(t *testing.T) {
	bubble(t, func(t *testing.T, r *testbed) {
		list := &records{err: &net.DNSError{Err: "i/o timeout", IsTimeout: true}}
		r.superviseService(t, serviceSource(source.ModeNTSPool, 1), list)
		pass(time.Hour)
		if n := len(list.lookups()); n < 280 || n > 370 {
			t.Errorf("%d look-ups in an hour", n)
		}
	})
}

// Mode nts with SRV records keeps one of the targets, and leaves it for another one when it is dead.
func TestSRV_OneOfTheTargets(t *testing.T) {
	bubble(t, func(t *testing.T, r *testbed) {
		hosts, list := r.members(2), &records{}
		list.set(nil, "s9.example", "s1.example", "s2.example")
		r.superviseService(t, serviceSource(source.ModeNTS, 1), list)
		pass(time.Minute)
		if got := r.recorder.alive(); got != "192.0.2.1:123" || r.askedServers(0) != "s1.example" { // s9 has no address
			t.Fatalf("sources %s, asked %s", got, r.askedServers(0))
		}
		r.net.set("192.0.2.1:123", nil)
		pass(4 * time.Minute)
		if got := r.recorder.alive(); got != "192.0.2.2:123" {
			t.Fatalf("sources %s, asked %s", got, r.askedServers(2))
		}
		r.net.set("192.0.2.2:123", hosts[1].denyHost)
		r.net.set("192.0.2.1:123", hosts[0].host)
		pass(3 * time.Hour)
		if got := r.recorder.alive(); got != "192.0.2.1:123" {
			t.Errorf("after a refusal by one target: sources %s, asked %s", got, r.askedServers(3))
		}
	})
}
