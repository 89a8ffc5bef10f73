//go:build linux && !race

// The race detector would be measured along; processor time is read as Linux tells it.

package poolbench_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"ntp-daemon/internal/suite"
)

// The switches of the measurement, which `make bench-pool` sets.
const (
	benchEnv  = "NTPD_BENCH"     // not empty: the whole measurement; the machine must be idle
	docEnv    = "NTPD_BENCH_DOC" // the file that the report is written to
	roundsEnv = "NTPD_BENCH_ROUNDS"
)

// plan is how much is measured.
type plan struct {
	full      bool
	rounds    int
	exchanges int // of each server in each round
	stream    time.Duration
	open      int // connections at one time
}

func thePlan(t *testing.T) plan {
	if os.Getenv(benchEnv) == "" {
		return plan{rounds: 1, exchanges: 8, stream: 300 * time.Millisecond, open: 50}
	}
	p := plan{full: true, rounds: 9, exchanges: 400, stream: 10 * time.Second, open: 1000}
	if s := os.Getenv(roundsEnv); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			t.Fatalf("%s=%q is no number of rounds", roundsEnv, s)
		}
		p.rounds = n
	}
	return p
}

// curve is a key agreement that users offer first.
type curve struct {
	name  string
	offer []tls.CurveID
}

var curves = []curve{
	{"X25519", []tls.CurveID{tls.X25519}},
	hybrid: {"X25519MLKEM768", []tls.CurveID{tls.X25519MLKEM768, tls.X25519}}, // what Go, and so our client, offers
}

const hybrid = 1

// Loads of a round: exchanges at one time. Busy is a server that is never out of work; with one after the other each step
// of an exchange wakes the server up.
var loads = []int{busy, 1}

const busy = 8

// TestBenchPool measures what a key exchange through the pool costs and how long it takes, beside our own key exchange
// server and those of chrony and ntpd-rs in the same run, and counts the users who get nothing while a time source is
// killed and another reloads. By default it is a second of everything, to see that it runs; `make bench-pool` measures, and
// holds the pool to its limits.
func TestBenchPool(t *testing.T) {
	p := thePlan(t)
	s := newSite(t, p.full)
	peers, missing := s.peers()
	r := &report{plan: p, servers: append([]server{own: s.own, warm: s.warm, cold: s.cold}, peers...), missing: missing, rounds: map[cell][]figures{}}
	var cells []cell
	for c := range curves {
		for v := range r.servers {
			for l := range loads {
				cells = append(cells, cell{v, c, l})
			}
		}
	}
	for round := range p.rounds {
		for i := range cells {
			s.measure(r, cells[(i+7*round)%len(cells)])
		}
	}
	half := func(v int) float64 { return middle(r.sorted(cell{v, hybrid, 0}, figures.perSecond)) / 2 }
	for _, v := range []int{own, warm} {
		r.latency = append(r.latency, s.halfLoad(r.servers[v], half(v), p.stream))
	}
	r.memory = s.memory(p.open)
	r.failures = s.failures(half(warm), p.stream)
	r.finish(t)
}

// measure is one round of one cell. A curve that the server does not do leaves no figures.
func (s *site) measure(r *report, c cell) {
	v, n, atOnce := r.servers[c.server], r.plan.exchanges, loads[c.load]
	if atOnce == 1 {
		n /= 2
	}
	u := s.users(v, curves[c.curve].offer)
	o := u.crowd(s.t.Context(), max(2, n/20), atOnce) // so that connections stand and memory is there
	if errors.Is(o.err, errCurve) {
		return
	}
	before := v.cpu()
	o = u.crowd(s.t.Context(), n, atOnce)
	used := v.cpu() - before
	if o.failed > 0 {
		s.t.Errorf("%s, %s, %d at once: %d of %d exchanges failed: %v", v.name, curves[c.curve].name, atOnce, o.failed, n, o.err)
		return
	}
	r.rounds[c] = append(r.rounds[c], figures{rate: o.rate(), cpu: used.Seconds() * 1e3 / float64(len(o.took))})
}

// halfLoad is a stream of users at a rate that the server could do twice.
func (s *site) halfLoad(v server, perSecond float64, length time.Duration) latency {
	u := s.users(v, curves[hybrid].offer)
	before := v.cpu()
	o := u.stream(s.t.Context(), perSecond, length)
	used := v.cpu() - before
	if o.failed > 0 {
		s.t.Errorf("%s at half load: %d of %d exchanges failed: %v", v.name, o.failed, o.failed+len(o.took), o.err)
	}
	return latency{server: v.name, rate: o.rate(), took: o.took, cpu: used.Seconds() * 1e3 / float64(max(1, len(o.took)))}
}

// memory opens connections, which all stay at the step before the request, and looks at the pool.
func (s *site) memory(n int) memory {
	u := s.users(s.warm, nil)
	m := memory{connections: n, before: s.warm.memory()}
	ctx, cancel := context.WithTimeout(s.t.Context(), 20*time.Second)
	defer cancel()
	var mu sync.Mutex
	var open []net.Conn
	var all sync.WaitGroup
	for range busy {
		all.Go(func() {
			for range n / busy {
				c, err := u.connect(ctx)
				if err != nil {
					s.t.Errorf("open connections: %v", err)
					return
				}
				mu.Lock()
				open = append(open, c)
				mu.Unlock()
			}
		})
	}
	all.Wait()
	m.during, m.connections = s.warm.memory(), len(open)
	for _, c := range open {
		_ = c.Close()
	}
	return m
}

// failures is a stream of users through the pool, while a time source is killed after a third of it and another reloaded
// after two. A time source that is killed takes the users along whose keys it has at that moment: nobody else may get those
// (draft-venhoek-nts-pool), so they are told error 2. All others must be served.
func (s *site) failures(perSecond float64, length time.Duration) failures {
	u := s.users(s.warm, curves[hybrid].offer)
	before := s.serverFailed()
	done := make(chan *outcome)
	go func() { done <- u.stream(s.t.Context(), perSecond, length) }()
	time.Sleep(length / 3)
	_ = s.members[0].proc.Cmd.Process.Signal(syscall.SIGKILL)
	time.Sleep(length / 3)
	_ = s.members[1].proc.Cmd.Process.Signal(syscall.SIGHUP)
	o := <-done
	f := failures{users: o.failed + len(o.took), failed: o.failed, bound: int(s.serverFailed() - before)}
	if f.failed > f.bound {
		s.t.Errorf("%d of %d users got nothing while a time source was killed and another reloaded, %d of them because it had their keys: %v",
			f.failed, f.users, f.bound, o.err)
	}
	return f
}

// serverFailed is how many users got error 2 from the pool because the time source that had their keys did not deliver.
func (s *site) serverFailed() uint64 {
	snap := suite.Snapshot(s.warm.socket)
	if snap == nil || snap.Pool == nil {
		s.t.Error("the pool does not answer its observers")
		return 0
	}
	return snap.Pool.Outcomes["server_failed"]
}

func TestMain(m *testing.M) {
	suite.Helper()
	os.Exit(m.Run())
}
