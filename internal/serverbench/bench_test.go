//go:build linux && !race

// Package serverbench_test compares our server with those of others on one machine, in one run. The race detector would be
// measured along.
package serverbench_test

import (
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"testing"
	"time"

	"ntp-daemon/internal/loadgen"
	"ntp-daemon/internal/suite"
)

// The switches of the measurement, which the make targets set.
const (
	benchEnv  = "NTPD_BENCH"     // "full": the whole measurement, the machine must be idle; "smoke": a second of everything
	docEnv    = "NTPD_BENCH_DOC" // the file that the report is written to
	roundsEnv = "NTPD_BENCH_ROUNDS"
	kindsEnv  = "NTPD_BENCH_KINDS" // an expression for the kinds to measure; not set: all, and one and two processors
)

// plan is how much is measured.
type plan struct {
	full           bool
	rounds         int
	warmUp, length time.Duration  // of each load
	exchanges      int            // of each server in each round
	only           *regexp.Regexp // names of kinds; nil: all
}

// wants reports whether a kind is to be measured.
func (p *plan) wants(k *kind) bool { return p.only == nil || p.only.MatchString(k.name) }

func thePlan(t *testing.T) *plan {
	t.Helper()
	p := &plan{rounds: 1, warmUp: 20 * time.Millisecond, length: 100 * time.Millisecond, exchanges: 24}
	switch mode := os.Getenv(benchEnv); mode {
	case "":
		t.Skip("make bench-server, make bench-idle and make bench-xdp measure, make bench-smoke looks whether they run")
	case "smoke":
		return p
	case "full":
	default:
		t.Fatalf("%s=%q is neither full nor smoke", benchEnv, mode)
	}
	p = &plan{full: true, rounds: 15, warmUp: 150 * time.Millisecond, length: 700 * time.Millisecond, exchanges: 300}
	if s := os.Getenv(roundsEnv); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			t.Fatalf("%s=%q is no number of rounds", roundsEnv, s)
		}
		p.rounds = n
	}
	if s := os.Getenv(kindsEnv); s != "" {
		only, err := regexp.Compile(s)
		if err != nil {
			t.Fatalf("%s: %v", kindsEnv, err)
		}
		p.only = only
	}
	return p
}

// cell is one server under one load, each by its index.
type cell struct{ kind, pattern, server int }

// figures of a cell, by round; not a number where a round has none.
type figures struct {
	rate, cpu, p50, p99, p999, lost, rss []float64
	interleaved                          []float64 // share of the answers that were
}

func (f *figures) add(r *loadgen.Result) {
	f.rate = append(f.rate, r.PerSecond)
	f.cpu = append(f.cpu, r.Server.Each)
	f.p50 = append(f.p50, r.Latency.P50)
	f.p99 = append(f.p99, r.Latency.P99)
	f.p999 = append(f.p999, r.Latency.P999)
	f.lost = append(f.lost, 100*float64(r.Lost)/float64(max(1, r.Sent)))
	f.rss = append(f.rss, float64(r.Server.ResidentKiB)/1024)
	f.interleaved = append(f.interleaved, 100*float64(r.Interleaved)/float64(max(1, r.Valid)))
}

func (f *figures) skip() {
	for _, list := range []*[]float64{&f.rate, &f.cpu, &f.p50, &f.p99, &f.p999, &f.lost, &f.rss, &f.interleaved} {
		*list = append(*list, math.NaN())
	}
}

// TestBenchServer measures what an answer costs and how long it takes, beside a C program that does nothing else, and beside
// chronyd and ntpd-rs, in turn in every round. It needs root, gcc and two processors.
func TestBenchServer(t *testing.T) {
	p := thePlan(t)
	needed(t)
	s := newSite(t)
	r := &report{plan: p, site: s, of: map[cell]*figures{}, none: map[cell]bool{}}
	began := time.Now()
	for round := range p.rounds {
		for k := range kinds {
			if p.wants(&kinds[k]) {
				s.round(r, round, k)
			}
		}
		if p.full {
			t.Logf("round %d of %d after %v", round+1, p.rounds, time.Since(began).Round(time.Second))
		}
	}
	if p.only == nil {
		r.scaling = s.scale(p)
	}
	r.took = time.Since(began)
	finish(t, r.text())
}

// needed skips with a reason what cannot run here.
func needed(t *testing.T) {
	t.Helper()
	if runtime.NumCPU() < 2 {
		t.Skip("needs two processors: one for the servers, one for the generator")
	}
	for _, program := range []string{"taskset", "gcc"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip("needs " + program)
		}
	}
}

// round measures all servers of a kind, one after the other under each pattern, another one first in each round.
func (s *site) round(r *report, round, k int) {
	kind := &kinds[k]
	for p, pattern := range kind.patterns() {
		for i := range kind.against {
			c := cell{k, p, kind.against[(i+round)%len(kind.against)]}
			if c.server >= len(s.servers) || r.none[c] {
				continue
			}
			f := r.of[c]
			if f == nil {
				f = &figures{}
				r.of[c] = f
			}
			res, err := s.measure(s.servers[c.server], kind, &pattern, r.plan)
			switch {
			case errors.Is(err, errNotOffered) && len(f.rate) == 0:
				r.none[c] = true
			case errors.Is(err, errNotOffered):
				f.skip() // it did before
			case !r.plan.full && errors.Is(err, errNothing):
				f.skip() // a tenth of a second of a busy machine
			case err != nil:
				s.t.Errorf("%s, %s, %s: %v", s.servers[c.server].name, kind.name, pattern.name, err)
				f.skip()
			default:
				f.add(&res)
			}
		}
	}
}

// scaled is what one and two processors do.
type scaled struct {
	name               string
	one, two           []float64 // answers per second
	oneEach, twoEach   []float64 // CPU µs for each
	answersOf, costsOf float64   // two divided by one, medians of the rounds
}

// scaleRounds are so few: it says whether workers are in each other's way, not how fast they are.
const scaleRounds = 5

// scale compares a server on one processor with itself on two.
func (s *site) scale(p *plan) (list []scaled) {
	pair := &server{name: "C, recvmmsg", ntp: 1124}
	for _, cpu := range []string{s.cpus.server, s.cpus.generator} { // one process each: they share the port
		pair.procs = append(pair.procs, s.start(pair.name, cpu, s.compile(), strconv.Itoa(pair.ntp), "64", "1"))
	}
	s.await(pair)
	two := s.startOwn("ntp-daemon", 5123, s.cpus.both())
	for _, both := range [][2]*server{{s.servers[limit], pair}, {s.servers[own], two}} {
		sc := scaled{name: both[0].name}
		for range min(p.rounds, scaleRounds) {
			for i, v := range both {
				r, err := s.ask(v, "-target", v.address(v.ntp), "-window", "256", "-burst", "16", "-ports", "32",
					"-warm-up", p.warmUp.String(), "-length", p.length.String())
				if err == nil {
					err = wrong(&kinds[0], &r, p.full)
				}
				if errors.Is(err, errNothing) && !p.full {
					continue
				}
				if err != nil {
					s.t.Errorf("%s on %d processors: %v", v.name, i+1, err)
					return list
				}
				if i == 0 {
					sc.one, sc.oneEach = append(sc.one, r.PerSecond), append(sc.oneEach, r.Server.Each)
				} else {
					sc.two, sc.twoEach = append(sc.two, r.PerSecond), append(sc.twoEach, r.Server.Each)
				}
			}
		}
		sc.answersOf, sc.costsOf = middle(ratios(sc.two, sc.one)), middle(ratios(sc.twoEach, sc.oneEach))
		list = append(list, sc)
	}
	return list
}

func TestMain(m *testing.M) {
	suite.Helper()
	if err := os.Setenv("LC_ALL", "C"); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(m.Run())
}
