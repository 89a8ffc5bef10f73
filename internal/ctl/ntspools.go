package ctl

import (
	"fmt"
	"time"

	"ntp-daemon/internal/observe"
	"ntp-daemon/internal/units"
)

// ntsPoolBlock shows where the sources of NTS pools come from: each member by name, what failed and is left out, and what a search waits for.
func ntsPoolBlock(s *observe.Snapshot, p painter) string {
	if len(s.Suite.Pools) == 0 {
		return ""
	}
	rows := [][]cell{headerOf([]string{"NAME", "FOUND BY", "SERVER", "ADDRESS", "STATE"}, nil)}
	for i := range s.Suite.Pools {
		pool := &s.Suite.Pools[i]
		row := func(server, address string, state cell) {
			rows = append(rows, []cell{left(clean(pool.Name)), left(clean(pool.FoundBy)), left(clean(server)), left(clean(address)), state})
		}
		for _, m := range pool.Members {
			row(m.Server, m.Address, left("in use"))
		}
		for _, f := range pool.Failed {
			row(f.Server, "-", left("failed, left out for "+units.Span(time.Duration(f.Seconds*1e9))).in(notice))
		}
		if state := searchText(pool); state != "" {
			row("-", "-", left(state).in(notice))
		}
	}
	return "\n" + p.paint("NTS pools:", bold) + "\n" + table(rows, " ", p)
}

// searchText says how many sources a pool lacks, what the last search for one came to and when the next one is; empty if none is wanted.
func searchText(pool *observe.NTSPool) string {
	if pool.Wait < 0 {
		return ""
	}
	text := fmt.Sprintf("%d of %d sources: %s", len(pool.Members), pool.Want, clean(pool.Reason))
	if pool.Wait > 0 {
		text += ", next search in " + units.Span(time.Duration(pool.Wait*1e9))
	}
	return text
}
