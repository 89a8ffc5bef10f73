//go:build linux && !race

package serverbench_test

import (
	"fmt"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"ntp-daemon/internal/suite"
)

// report collects what is measured.
type report struct {
	plan    *plan
	site    *site
	of      map[cell]*figures
	none    map[cell]bool // cells of servers that do not do it
	scaling []scaled
	took    time.Duration
}

// number is a figure fit for the table, a dash if there is none.
func number(v float64, digits int) string {
	if math.IsNaN(v) {
		return "–"
	}
	return fmt.Sprintf("%.*f", digits, v)
}

// beside is our figure divided by another server's: the median of the ratios within the rounds, with its bound.
func beside(list, base []float64) string {
	r := ratios(list, base)
	if len(r) == 0 {
		return "–"
	}
	return fmt.Sprintf("%s (%s)", number(middle(r), 2), number(bound(r), 2))
}

// figuresOf is what there is of a cell; empty if nothing.
func (r *report) figuresOf(c cell) *figures {
	if f := r.of[c]; f != nil {
		return f
	}
	return &figures{}
}

// table is the comparison, one line for each load and server.
func (r *report) table() string {
	var b strings.Builder
	b.WriteString("| what | load | server | answers/s | CPU µs each | ÷ C | ÷ chronyd | p50 µs | p99 µs | p99.9 µs | p99 ÷ C | p99 ÷ chronyd | lost % | RSS MiB |\n" +
		"|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n")
	for k, kind := range kinds {
		if !r.plan.wants(&kind) {
			continue
		}
		for p, pattern := range kind.patterns() {
			for _, v := range kind.against {
				if v < len(r.site.servers) {
					r.row(&b, cell{k, p, v}, &kind, &pattern)
				}
			}
		}
	}
	return b.String()
}

// row is one line of the table.
func (r *report) row(b *strings.Builder, c cell, k *kind, p *pattern) {
	f := r.figuresOf(c)
	fmt.Fprintf(b, "| %s | %s | %s | ", k.name, p.name, r.site.servers[c.server].name)
	if r.none[c] {
		b.WriteString("not offered | | | | | | | | | | |\n")
		return
	}
	c1, c2 := r.figuresOf(cell{c.kind, c.pattern, limit}), r.figuresOf(cell{c.kind, c.pattern, chrony})
	fmt.Fprintf(b, "%s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s |\n",
		number(middle(f.rate), 0), number(middle(f.cpu), 2), beside(f.cpu, c1.cpu), beside(f.cpu, c2.cpu),
		number(middle(f.p50), 0), number(middle(f.p99), 0), number(middle(f.p999), 0), beside(f.p99, c1.p99), beside(f.p99, c2.p99),
		number(middle(f.lost), 2), number(middle(f.rss), 1))
}

// find is the cell of a kind and pattern by their names.
func find(kindName, patternName string, server int) cell {
	for k, kind := range kinds {
		for p, pattern := range kind.patterns() {
			if kind.name == kindName && pattern.name == patternName {
				return cell{k, p, server}
			}
		}
	}
	return cell{-1, -1, server}
}

// verdict is whether a bound keeps a limit.
func verdict(bound, most float64) string {
	switch {
	case math.IsNaN(bound):
		return "not measured"
	case bound <= most:
		return "yes"
	}
	return "no"
}

// aims is the table of targets.
func (r *report) aims() string {
	var b strings.Builder
	b.WriteString("| what | load | figure | beside | most | median | bound | met |\n|---|---|---|---|---|---|---|---|\n")
	for _, a := range targets {
		if !r.plan.wants(&kind{name: a.kind}) {
			continue
		}
		ours, theirs := r.figuresOf(find(a.kind, a.pattern, own)), r.figuresOf(find(a.kind, a.pattern, a.against))
		what, list := "CPU", ratios(ours.cpu, theirs.cpu)
		if a.latency {
			what, list = "p99", ratios(ours.p99, theirs.p99)
		}
		name := [...]string{limit: "C", own: "ours", chrony: "chronyd", ntpdRS: "ntpd-rs"}[a.against]
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %.2f | %s | %s | %s |\n", a.kind, a.pattern, what, name, a.most, number(middle(list), 2), number(bound(list), 2), verdict(bound(list), a.most))
	}
	plain, inter := r.figuresOf(find("plain", saturation, own)), r.figuresOf(find("interleaved", saturation, own))
	list := ratios(plain.rate, inter.rate) // turned over, so that the bound is on the right side
	fmt.Fprintf(&b, "| interleaved | saturation | answers/s | plain | ≥ %.2f | %s | %s | %s |\n", leastInterleaved,
		number(1/middle(list), 2), number(1/bound(list), 2), verdict(bound(list), 1/leastInterleaved))
	return b.String()
}

// shares says how many of the answers to interleaved requests were interleaved; a server may always give a basic one.
func (r *report) shares() string {
	var b strings.Builder
	for _, v := range []int{own, chrony} {
		for _, pattern := range kinds[0].patterns() {
			if f := r.figuresOf(find("interleaved", pattern.name, v)); len(f.interleaved) > 0 {
				fmt.Fprintf(&b, " %s, %s: %s %%;", r.site.servers[v].name, pattern.name, number(middle(f.interleaved), 1))
			}
		}
	}
	if b.Len() == 0 {
		return ""
	}
	return "Answers to interleaved requests that were interleaved themselves:" + strings.TrimSuffix(b.String(), ";") + ".\n"
}

// processors is the table of one and two processors.
func (r *report) processors() string {
	var b strings.Builder
	b.WriteString("| server | answers/s on one | on two | ÷ | CPU µs each on one | on two | ÷ |\n|---|---|---|---|---|---|---|\n")
	for _, s := range r.scaling {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s |\n", s.name, number(middle(s.one), 0), number(middle(s.two), 0), number(s.answersOf, 2),
			number(middle(s.oneEach), 2), number(middle(s.twoEach), 2), number(s.costsOf, 2))
	}
	return b.String()
}

// text is the document.
func (r *report) text() string {
	return fmt.Sprintf(`# What an answer costs

Written by `+"`make bench-server`"+`, which needs root and a machine with two processors that has nothing else to do. Run of %s, which took %v.
What a client costs while it waits is in [performance-idle.md](performance-idle.md), an answer in the network driver in [performance-xdp.md](performance-xdp.md),
key exchange through the pool in [pool-performance.md](pool-performance.md).

| | |
|---|---|
%s
Servers and generator are in two network namespaces, joined by a veth pair: the servers on the first processor that is allowed, the generator on the second.
C is a program of one thread that receives and sends 64 packets at a time and does nothing else (internal/serverbench/testdata/csrv.c): the limit of what
goes through a socket. ntp-daemon serves its own clock (clock-control = false, local-stratum), chronyd 4.9 runs with -x, ntpd-rs 1.9 without the
right to set the clock, each as Debian's sid ships it and none with a source; access lists and rate limits are at the defaults. No clock is touched.

- **saturation**: 256 requests under way, sent 32 at a time, each answered request followed by another: answers/s is what one processor can do.
- **bursts of 16**: 50 000/s (NTS: 20 000/s), whatever the server does.
- **evenly spaced**: 10 000/s, one at a time: mostly the cost of waking up.
- **interleaved**: each of 512 clients, 32 at each of 16 addresses, returns the server's last receive stamp (RFC 9769). ntp-daemon remembers
  128 answers for one address, lest one host fill its table.
- **NTS**: 4096 requests made in advance from eight cookies are sent again and again; one of 64 answers is opened, and all must carry the request's identifier.
- **key exchange**: whole exchanges over TLS 1.3 without resumption, P-256 certificates, eight cookies. answers/s is as many as the generator's processor
  allowed. *default* offers what Go does, X25519MLKEM768 first. Where the time goes: [cost](rules/key-exchange.md#cost), [collector](rules/key-exchange.md#collector).

Requests come from four source ports of one address (interleaved: 16 of 16). On veth the sender's processor does the receiver's work in the kernel up to the
socket; a network card turns that around. CPU is the time of all threads of the server (schedstat) divided by its valid answers. How long an answer took
is counted from right before its request was handed to the kernel. Each load lasts %v after %v of warm-up (a key exchange: %d), in each of %d
rounds all servers in turn. A figure is the median of the rounds. ÷ is the median of the ratios within the rounds, and in brackets what that median
is below with 95 %% certainty (sign test).

## Targets

Met is what the bound in the last column but one keeps.

%s
## All servers

%s
%s%s
## One and two processors

Saturation of plain requests from 32 ports, %d rounds. The generator needs the second processor itself, so that answers/s on two cannot be twice
those on one. What counts is the last column: whether an answer gets dearer when two workers answer at once.

%s`, time.Now().UTC().Format("2006-01-02 15:04 UTC"), r.took.Round(time.Second), suite.Machine(), r.plan.length, r.plan.warmUp, r.plan.exchanges, r.plan.rounds,
		r.aims(), r.table(), r.shares(), strings.Join(r.site.missing, "\n"), min(r.plan.rounds, scaleRounds), r.processors())
}

// finish prints a document, and writes it if that is asked for.
func finish(t *testing.T, text string) {
	t.Helper()
	t.Log("\n" + text)
	if path := os.Getenv(docEnv); path != "" && !t.Failed() {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Error(err)
		}
	}
}
