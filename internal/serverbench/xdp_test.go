//go:build linux && !race

package serverbench_test

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"ntp-daemon/internal/fastpath"
	"ntp-daemon/internal/loadgen"
	"ntp-daemon/internal/observe"
	"ntp-daemon/internal/suite"
)

// xdpConfig is the daemon's. Without ntp-xdp its sockets answer, as if xdp were not there.
const xdpConfig = `
[observability]
log-level = "warn"
observation-path = "{dir}/observe"
[process]
xdp-path = "{dir}/xdp"
[synchronization]
clock-control = false
local-stratum = 1
[[server]]
listen = "0.0.0.0:2123"
xdp = "{interface}"
`

// leastOfThread is how much processor time the kernel's thread of the server's card uses for an answer at the very least: with less,
// its work was done, and paid for, by somebody else.
const leastOfThread = 100 * time.Nanosecond

// mostBySockets is the share of the answers of a turn of ntp-xdp that may have come from the sockets nevertheless.
const mostBySockets = 0.01

// way is who answers, and how.
type way struct {
	name string
	own  bool          // our daemon; otherwise C
	mode fastpath.Mode // of ntp-xdp beside it; empty: there is none
}

// ways, in the order of the table.
var ways = []way{
	{name: "C, recvmmsg"},
	{name: "ntp-daemon, sockets", own: true},
	{name: "ntp-xdp, driver", own: true, mode: fastpath.Driver},
	{name: "ntp-xdp, generic", own: true, mode: fastpath.Generic},
}

// The ways that targets are about.
const (
	byC      = 0
	byDriver = 2
)

// xdpLoads are saturation and bursts of plain requests.
func xdpLoads() []pattern { return kinds[0].patterns()[:2] }

// xdpSite is the servers behind a card.
type xdpSite struct {
	*site
	near, far *card
	c, daemon *server
}

func newXDPSite(t *testing.T) *xdpSite {
	t.Helper()
	s := &xdpSite{site: bareSite(t)}
	s.near, s.far = s.plug()
	s.c = s.startLimit()
	s.daemon = &server{name: "ntp-daemon", ntp: 2123}
	conf := s.file("xdp.toml", strings.NewReplacer("{dir}", s.dir, "{interface}", s.near.name).Replace(xdpConfig))
	s.daemon.procs = []*suite.Proc{s.start(s.daemon.name, s.cpus.server, suite.Program(t, "ntp-daemon"), "-c", conf)}
	s.await(s.daemon)
	return s
}

// only is the daemon's one server in its snapshot; nil while there is none.
func only(snap *observe.Snapshot) *observe.Server {
	if snap == nil || len(snap.Servers) != 1 || snap.Servers[0].FastPath == nil {
		return nil
	}
	return &snap.Servers[0]
}

// until waits until the daemon's server is as wanted.
func (s *xdpSite) until(what string, ok func(*observe.Server) bool) *observe.Server {
	s.t.Helper()
	return only(s.daemon.procs[0].WaitSnapshot(filepath.Join(s.dir, "observe"), what, func(snap *observe.Snapshot) bool {
		v := only(snap)
		return v != nil && ok(v)
	}))
}

// attach starts ntp-xdp and waits until it answers.
func (s *xdpSite) attach(mode fastpath.Mode) *suite.Proc {
	s.t.Helper()
	h := s.start("ntp-xdp", s.cpus.server, suite.Program(s.t, "ntp-xdp"), "-s", filepath.Join(s.dir, "xdp"), "-m", string(mode))
	h.Until("answers of ntp-xdp, "+string(mode), func() bool { // and not until: it is ntp-xdp that may end
		v := only(suite.Snapshot(filepath.Join(s.dir, "observe")))
		return v != nil && v.FastPath.Mode == string(mode) && v.FastPath.Reason == ""
	})
	return h
}

// detach ends ntp-xdp, and waits until the daemon knows.
func (s *xdpSite) detach(h *suite.Proc) {
	s.t.Helper()
	h.Stop()
	s.until("end of ntp-xdp", func(v *observe.Server) bool { return v.FastPath.Mode == "" })
}

// answer is what one turn says.
type answer struct {
	loadgen.Result
	program, nothing float64 // ns for a packet of the program, and of one that does nothing; no numbers without ntp-xdp
	timed            uint64  // answers while they were measured
}

// turn measures one way under one load.
func (s *xdpSite) turn(w *way, load *pattern, p *plan) (a answer, err error) {
	s.t.Helper()
	a.program, a.nothing = math.NaN(), math.NaN()
	v := *s.c
	if w.own {
		v = *s.daemon
	}
	if w.mode != "" {
		h := s.attach(w.mode)
		defer s.detach(h)
		v.procs = append([]*suite.Proc{h}, v.procs...)
	}
	v.name = w.name
	s.await(&v) // who answers nothing at all ends the run
	id, err := s.ready(&v, w)
	if err != nil {
		return a, err
	}
	before := s.until("counts", func(*observe.Server) bool { return true })
	busy := loadgen.ReadUsage(v.threads).CPU
	if a.Result, err = s.measure(&v, &kinds[0], load, p); err != nil {
		return a, err
	}
	if busy = loadgen.ReadUsage(v.threads).CPU - busy; busy < time.Duration(a.Valid)*leastOfThread {
		return a, fmt.Errorf("the kernel's thread of the card used %v for %d answers: somebody else did its work", busy, a.Valid)
	}
	if w.mode == "" {
		return a, nil
	}
	if err = s.timePrograms(&a, &v, id, load, p); err != nil {
		return a, err
	}
	return a, s.inKernel(before, a.Valid+a.timed)
}

// ready looks for what a turn must find: the kernel's threads, each on its processor, and the program where it belongs.
func (s *xdpSite) ready(v *server, w *way) (id ebpf.ProgramID, err error) {
	if v.threads, err = s.near.threads(); err != nil {
		return 0, err
	}
	if _, err = s.far.threads(); err != nil {
		return 0, err
	}
	mode, id, err := s.near.program()
	if err == nil && mode != w.mode {
		err = fmt.Errorf("the kernel has a program in mode %q, not %q", mode, w.mode)
	}
	return id, err
}

// watched is a program whose time the kernel counts.
type watched struct {
	*ebpf.Program
	before *ebpf.ProgramStats
}

func watch(id ebpf.ProgramID) (*watched, error) {
	prog, err := ebpf.NewProgramFromID(id)
	if err != nil {
		return nil, fmt.Errorf("open a program: %w", err)
	}
	before, err := prog.Stats()
	if err != nil {
		prog.Close()
		return nil, fmt.Errorf("read a program's time: %w", err)
	}
	return &watched{prog, before}, nil
}

// each is how many ns the program has taken for a packet since.
func (w *watched) each() (float64, error) {
	after, err := w.Stats()
	if err != nil {
		return 0, fmt.Errorf("read a program's time: %w", err)
	}
	return float64(after.Runtime-w.before.Runtime) / float64(after.RunCount-w.before.RunCount), nil
}

// timePrograms fills in what the kernel says that programs take, under the same load for a shorter time, and adds its answers: the
// statistics cost something themselves. How much, the program shows that does nothing.
func (s *xdpSite) timePrograms(a *answer, v *server, id ebpf.ProgramID, load *pattern, p *plan) error {
	count, err := ebpf.EnableStats(unix.BPF_STATS_RUN_TIME)
	if err != nil {
		return fmt.Errorf("have programs measured: %w", err)
	}
	defer count.Close()
	_, nothing, err := s.far.program()
	if err != nil {
		return err
	}
	ours, err := watch(id)
	if err != nil {
		return err
	}
	defer ours.Close()
	empty, err := watch(nothing)
	if err != nil {
		return err
	}
	defer empty.Close()
	short := *p
	short.warmUp, short.length = p.warmUp/3, p.length/3
	r, err := s.measure(v, &kinds[0], load, &short)
	if err != nil {
		return err
	}
	a.timed = r.Valid
	if a.program, err = ours.each(); err != nil {
		return err
	}
	a.nothing, err = empty.each()
	return err
}

// inKernel holds the reports of ntp-xdp against what the generator got: so many answers since before came from it, and next to none
// from the sockets.
func (s *xdpSite) inKernel(before *observe.Server, answers uint64) error {
	s.t.Helper()
	after := s.until(fmt.Sprintf("report of %d answers by ntp-xdp", answers), func(v *observe.Server) bool {
		return v.FastPath.Answered >= before.FastPath.Answered+answers
	})
	return bySockets(before, after, answers)
}

// bySockets is an error if more than next to none of so many answers came from the sockets.
func bySockets(before, after *observe.Server, answers uint64) error {
	sum := func(v *observe.Server) float64 { return float64(v.Stats.Received) - float64(v.FastPath.Answered) }
	if n := sum(after) - sum(before); n > mostBySockets*float64(answers) {
		return fmt.Errorf("the sockets got %.0f requests, beside %d answers: %+v", n, answers, *after.FastPath)
	}
	return nil
}

// TestBySockets: Received counts what both got, and what was before does not matter.
func TestBySockets(t *testing.T) {
	server := func(received, answered uint64) *observe.Server {
		return &observe.Server{Stats: observe.ServerStats{Received: received}, FastPath: &observe.FastPath{Answered: answered}}
	}
	for _, tt := range []struct {
		name   string
		before *observe.Server
		after  *observe.Server
		wrong  bool
	}{
		{"all in the driver", server(500, 0), server(1500, 1000), false},
		{"all by the sockets", server(500, 200), server(1500, 200), true},
		{"some by the sockets", server(500, 0), server(1520, 1000), true},
		{"a handful by the sockets", server(500, 0), server(1505, 1000), false},
		{"another report came between the two numbers", server(500, 0), server(1400, 1000), false},
	} {
		if err := bySockets(tt.before, tt.after, 1000); (err != nil) != tt.wrong {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// xdpFigures are those of one way under one load, by round.
type xdpFigures struct {
	figures
	program, nothing []float64
}

func (f *xdpFigures) add(a *answer) {
	f.figures.add(&a.Result)
	f.program, f.nothing = append(f.program, a.program), append(f.nothing, a.nothing)
}

func (f *xdpFigures) skip() {
	f.figures.skip()
	f.program, f.nothing = append(f.program, math.NaN()), append(f.nothing, math.NaN())
}

// xdpReport collects what is measured, by load and way.
type xdpReport struct {
	plan *plan
	of   [][]xdpFigures
	took time.Duration
}

// round measures all ways under each load, another one first in each round.
func (s *xdpSite) round(r *xdpReport, round int) {
	s.t.Helper()
	for l, load := range xdpLoads() {
		for i := range ways {
			w := (i + round) % len(ways)
			f := &r.of[l][w]
			a, err := s.turn(&ways[w], &load, r.plan)
			switch {
			case err == nil:
				f.add(&a)
				continue
			case r.plan.full || !errors.Is(err, errNothing): // in a tenth of a second of a busy machine there may be none
				s.t.Errorf("%s, %s: %v", ways[w].name, load.name, err)
			}
			f.skip()
		}
	}
}

// TestBenchXDP measures what an answer of ntp-xdp costs, in the driver and behind it, beside the sockets and a C program that does
// nothing else, behind interfaces whose work is counted. It needs root, gcc and two processors.
func TestBenchXDP(t *testing.T) {
	p := thePlan(t)
	needed(t)
	s := newXDPSite(t)
	r := &xdpReport{plan: p}
	for range xdpLoads() {
		r.of = append(r.of, make([]xdpFigures, len(ways)))
	}
	began := time.Now()
	for round := range p.rounds {
		s.round(r, round)
		if p.full {
			t.Logf("round %d of %d after %v", round+1, p.rounds, time.Since(began).Round(time.Second))
		}
	}
	r.took = time.Since(began)
	finish(t, r.text())
}
