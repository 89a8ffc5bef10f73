//go:build linux && !race

package poolbench_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"ntp-daemon/internal/suite"
)

// What the pool is held to (`make bench-pool`).
const (
	mostRatio   = 1.15                  // CPU of a pooled exchange to that of one with our own server, busy
	mostLatency = 50 * time.Millisecond // 99 of 100 exchanges at half load
	mostMemory  = 64 << 10              // KiB at 1000 connections
)

// figures are what one round says of a cell.
type figures struct {
	rate float64 // exchanges per second, as many as the generator's processor allowed
	cpu  float64 // ms of processor time for each, user and system
}

// latency is what users saw at half load.
type latency struct {
	server string
	rate   float64
	took   []time.Duration
	cpu    float64
}

// within is the time in which that share of the users were served.
func (l latency) within(share float64) time.Duration {
	slices.Sort(l.took)
	if len(l.took) == 0 {
		return 0
	}
	return l.took[min(len(l.took)-1, int(float64(len(l.took))*share))]
}

type memory struct{ connections, before, during int } // KiB

// failures are users who got nothing; bound those of them whose keys the killed time source had.
type failures struct{ users, failed, bound int }

// The servers of every run, by index; those from Debian come after them.
const (
	own = iota
	warm
	cold
)

// cell is one server under one load with one curve, each by its index.
type cell struct{ server, curve, load int }

// report collects what is measured.
type report struct {
	plan     plan
	servers  []server
	missing  string // which servers are not there
	rounds   map[cell][]figures
	latency  []latency
	memory   memory
	failures failures
}

func (f figures) perSecond() float64 { return f.rate }
func (f figures) each() float64      { return f.cpu }

// sorted is one figure of all rounds.
func (r *report) sorted(c cell, of func(figures) float64) (list []float64) {
	for _, f := range r.rounds[c] {
		list = append(list, of(f))
	}
	slices.Sort(list)
	return list
}

// ratios are the processor time beside that of our own server, round by round, sorted.
func (r *report) ratios(c cell) (list []float64) {
	base := r.rounds[cell{own, c.curve, c.load}]
	for i, f := range r.rounds[c][:min(len(r.rounds[c]), len(base))] {
		list = append(list, f.cpu/base[i].cpu)
	}
	slices.Sort(list)
	return list
}

// middle is the median of what is sorted, 0 of nothing.
func middle(sorted []float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[len(sorted)/2]
}

// spread is the median with the quartiles.
func spread(sorted []float64, digits int) string {
	if len(sorted) == 0 {
		return ""
	}
	n := len(sorted)
	return fmt.Sprintf("%.*f (%.*f–%.*f)", digits, middle(sorted), digits, sorted[n/4], digits, sorted[3*n/4])
}

// table is the comparison, one line for each server, curve and load.
func (r *report) table() string {
	var b strings.Builder
	b.WriteString("| key agreement | at once | server | exchanges/s | CPU ms each | ÷ our own server |\n|---|---|---|---|---|---|\n")
	for c, curve := range curves {
		for l, atOnce := range loads {
			for v, server := range r.servers {
				at := cell{v, c, l}
				fmt.Fprintf(&b, "| %s | %d | %s | ", curve.name, atOnce, server.name)
				if len(r.rounds[at]) == 0 {
					b.WriteString("not offered | | |\n")
					continue
				}
				fmt.Fprintf(&b, "%.0f | %s | %s |\n", middle(r.sorted(at, figures.perSecond)), spread(r.sorted(at, figures.each), 3), spread(r.ratios(at), 2))
			}
		}
	}
	return b.String()
}

// text is the document.
func (r *report) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, `# What a key exchange through the pool costs

Written by `+"`make bench-pool`"+`, which needs a machine with two processors that has nothing else to do. Run of %s.

| | |
|---|---|
%s
One run: three time sources, a pool in front of them whose connections they keep (warm), a pool in front of the same three
whose connections they do not keep, so that each user costs a TLS handshake with a time source too (cold), our own key
exchange server alone, and chronyd's and ntpd-rs's as Debian's sid ships them. Certificates are P-256 under a P-256 authority,
TLS 1.3 without resumption, AEAD 15, eight cookies; the pool logs at its operator's setting (`+"`%s`"+`). The server that is
measured has the first processor for itself, the users and the time sources have the second.

## Processor time of one exchange

User and system time of all processes of the server, divided by the exchanges. %d rounds of %d exchanges (half as many one
after the other), all servers in turn in each round; median with quartiles, and the same of the ratio within each
round. Exchanges/s are as many as the users' processor allowed; a server's own limit is 1000 ÷ CPU ms for each processor.

%s
%s
`, time.Now().UTC().Format("2006-01-02 15:04 UTC"), suite.Machine(), logSetting, r.plan.rounds, r.plan.exchanges, r.table(), r.missing)
	b.WriteString(`
## Time to answer at half load

Users arrive independently of each other (X25519MLKEM768) at half of the server's rate above. Timed from the moment at which a user should
have begun to the end of the answer, on the same machine.

| server | users/s | 50 % within | 99 % | 99.9 % | longest | CPU ms each |
|---|---|---|---|---|---|---|
`)
	for _, l := range r.latency {
		fmt.Fprintf(&b, "| %s | %.0f | %v | %v | %v | %v | %.3f |\n", l.server, l.rate, ms(l.within(0.5)), ms(l.within(0.99)), ms(l.within(0.999)), ms(l.within(1)), l.cpu)
	}
	fmt.Fprintf(&b, `
## Memory, and time sources that go

Resident memory of the pool after all of the above %.1f MiB; with %d connections open, all past their TLS handshake, %.1f MiB.

While one of the three time sources was killed (SIGKILL) and another was told to reload, %d of %d users failed, who came at the rate above,
%d of them because the killed one had their keys at that moment, which no other may get.
`, float64(r.memory.before)/1024, r.memory.connections, float64(r.memory.during)/1024, r.failures.failed, r.failures.users, r.failures.bound)
	return b.String()
}

// ms is a duration fit for the table.
func ms(d time.Duration) string { return fmt.Sprintf("%.2f ms", d.Seconds()*1e3) }

// finish prints everything, writes the document if that is asked for, and holds the pool to its limits.
func (r *report) finish(t *testing.T) {
	text := r.text()
	t.Log("\n" + text)
	if path := os.Getenv(docEnv); path != "" && !t.Failed() {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Error(err)
		}
	}
	if r.plan.full {
		r.judge(t)
	}
}

// judge compares with the limits.
func (r *report) judge(t *testing.T) {
	for c, curve := range curves {
		if ratio := middle(r.ratios(cell{warm, c, 0})); ratio > mostRatio {
			t.Errorf("%s: a pooled exchange costs %.2f of one with our own server, limit %.2f", curve.name, ratio, mostRatio)
		}
	}
	for _, l := range r.latency {
		if got := l.within(0.99); l.server == r.servers[warm].name && got > mostLatency {
			t.Errorf("%s: 99 %% within %v, limit %v", l.server, got, mostLatency)
		}
	}
	if r.memory.during > mostMemory {
		t.Errorf("%d KiB with %d connections, limit %d", r.memory.during, r.memory.connections, mostMemory)
	}
}
