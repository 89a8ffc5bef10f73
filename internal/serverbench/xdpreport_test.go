//go:build linux && !race

package serverbench_test

import (
	"fmt"
	"strings"
	"time"

	"ntp-daemon/internal/suite"
)

// mostInDriver is what we hold an answer in the driver to: its cost divided by that of C, in the same round. A network card is meant.
const mostInDriver = 0.45

// table is the comparison, one line for each load and way.
func (r *xdpReport) table() string {
	var b strings.Builder
	b.WriteString("| load | who answers | answers/s | CPU µs each | ÷ C | of it the program, ns | an empty program, ns | p50 µs | p99 µs | p99.9 µs | lost % |\n" +
		"|---|---|---|---|---|---|---|---|---|---|---|\n")
	for l, load := range xdpLoads() {
		for w := range ways {
			f := &r.of[l][w]
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", load.name, ways[w].name,
				number(middle(f.rate), 0), number(middle(f.cpu), 2), beside(f.cpu, r.of[l][byC].cpu), number(middle(f.program), 0), number(middle(f.nothing), 0),
				number(middle(f.p50), 0), number(middle(f.p99), 0), number(middle(f.p999), 0), number(middle(f.lost), 2))
		}
	}
	return b.String()
}

// aims is the table of targets.
func (r *xdpReport) aims() string {
	var b strings.Builder
	b.WriteString("| what | load | figure | beside | most | median | bound | met |\n|---|---|---|---|---|---|---|---|\n")
	for l, load := range xdpLoads() {
		list := ratios(r.of[l][byDriver].cpu, r.of[l][byC].cpu)
		fmt.Fprintf(&b, "| %s | %s | CPU | C | %.2f | %s | %s | %s |\n", ways[byDriver].name, load.name, mostInDriver,
			number(middle(list), 2), number(bound(list), 2), verdict(bound(list), mostInDriver))
	}
	return b.String()
}

// text is the document.
func (r *xdpReport) text() string {
	return fmt.Sprintf(`# What an answer in the network driver costs

Written by `+"`make bench-xdp`"+`, which needs root and a machine with two processors that has nothing else to do. Run of %s, which took %v.
What an answer through a socket costs, beside other servers, is in [performance.md](performance.md), how ntp-xdp is used in
[operating.md](operating.md#answers-in-the-network-driver).

| | |
|---|---|
%s
No network card was at hand. Servers and generator are in two network namespaces, joined by a veth pair, each end of which is set up to be like a card: GRO on, TSO
off, and threaded NAPI, so that a thread of the kernel's does what a packet costs that comes in, and not its sender. The servers and the thread of their interface
have the first processor that is allowed, the generator and its interface's thread the second. At the generator's end, in all turns, is a program that lets everything
through: veth delivers what is answered in driver mode to no other.

- **C** is the program of [performance.md](performance.md): 64 packets at a time, and nothing else. **sockets** is ntp-daemon without ntp-xdp.
- **driver** and **generic** are the modes of ntp-xdp (`+"`-m`"+`). In each turn the kernel says where the program is, and the counts of ntp-daemon that it
  answered all and the sockets nobody; otherwise the run fails.
- **saturation**: 256 plain requests under way, sent 32 at a time, each answered request followed by another. With ntp-xdp the generator's processor is the limit, not
  the server's. **bursts of 16**: 50 000 plain requests a second.
- **CPU** is the time (schedstat) of the server's side, divided by its valid answers: the thread of its interface, the server's threads, and ntp-xdp's.
- **the program** is what the kernel's statistics (BPF_STATS_RUN_TIME) say of internal/xdp/bpf/ntp.c alone, for each packet. They cost something themselves and
  are taken in a shorter turn after the other, so that they are in no other figure; **an empty program**, the generator's, shows how much of the time is
  theirs. The other processor wrote the packet, and the program is among the first to read it: its cache misses are in the time.

What veth adds: the thread is woken for nearly every burst, where a card has interrupts that wait for several, and under load none; an answer is handed over by
waking the thread of the other end, where a card fetches it by itself; and in driver mode, too, a packet was a socket buffer before, which it never becomes on a
card. All that is the same whatever the program does. So the ratio to C is no forecast for a card, and the program's own time is the part that is ours.

IPv4, four source ports. Each load lasts %v after %v of warm-up, in each of %d rounds all in turn. A figure is the median of the rounds. ÷ is the median of the
ratios within the rounds, and in brackets what that median is below with 95 %% certainty (sign test). How long an answer took is counted from right
before its request was handed to the kernel.

## Target

Meant for a network card. Met is what the bound in the last column but one keeps.

%s
## All figures

%s`, time.Now().UTC().Format("2006-01-02 15:04 UTC"), r.took.Round(time.Second), suite.Machine(), r.plan.length, r.plan.warmUp, r.plan.rounds,
		r.aims(), r.table())
}
