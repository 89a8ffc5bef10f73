package poolke

import (
	"strconv"
	"sync/atomic"

	"ntp-daemon/internal/nts"
	"ntp-daemon/internal/nts/record"
)

// granted counts what served users got, by the numbers of AEAD algorithm and next protocol.
type granted struct {
	algorithms [64]atomic.Uint64 // the registry ends at 33; what is beyond the table is counted at 0, which is no algorithm
	ntpv4      atomic.Uint64
	drafts     atomic.Uint64 // every other protocol: all of them are drafts
}

// count counts one user.
func (g *granted) count(c nts.Choice) {
	i := int(c.Algorithm)
	if i >= len(g.algorithms) {
		i = 0
	}
	g.algorithms[i].Add(1)
	if c.Protocol == uint16(record.NTPv4) {
		g.ntpv4.Add(1)
	} else {
		g.drafts.Add(1)
	}
}

// read is the counts that are not zero.
func (g *granted) read() (algorithms, protocols map[string]uint64) {
	algorithms, protocols = map[string]uint64{}, map[string]uint64{}
	for i := range g.algorithms {
		if n := g.algorithms[i].Load(); n > 0 {
			algorithms[strconv.Itoa(i)] = n
		}
	}
	if n := g.ntpv4.Load(); n > 0 {
		protocols[strconv.Itoa(int(record.NTPv4))] = n
	}
	if n := g.drafts.Load(); n > 0 {
		protocols["draft"] = n
	}
	return algorithms, protocols
}
