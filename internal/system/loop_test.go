package system

import (
	"net/netip"
	"testing"

	"ntp-daemon/internal/ntp"
)

// TestC27_Loop: what a source may show as its reference.
func TestC27_Loop(t *testing.T) {
	own4, own6 := ntp.RefIDFromAddr(netip.MustParseAddr("198.51.100.1")), ntp.RefIDFromAddr(netip.MustParseAddr("2001:db8::1"))
	for _, row := range []struct {
		name        string
		serves      bool
		stratum     ntp.Stratum
		ours, refid ntp.RefID
		bar         bar
	}{
		{"follows our IPv4 address", true, 2, own4, own4, barLoop},
		{"follows our IPv6 address", true, 3, own6, own6, barLoop},
		{"follows who has an address that this host has on another network", true, 2, own4, own6, barNone},
		{"our address is not known", true, 2, 0, 0, barNone},
		{"its name at stratum 1 only looks like ours", true, 1, own4, own4, barNone},
		{"we do not serve", false, 2, own4, own4, barNone},
		{"another daemon on its own host", true, 2, ntp.OwnRefID(netip.MustParseAddr("127.0.0.1")), ntp.RefIDFromAddr(netip.MustParseAddr("127.0.0.1")), barNone},
		{"somebody else", true, 2, own4, ntp.RefIDFromAddr(netip.MustParseAddr("192.0.2.77")), barNone},
		{"stratum 16", true, 16, own4, 0, barStratum},
		{"stratum 0", true, 0, own4, 0, barStratum},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := newBench(t, noon, func(p *Params) { p.Serves = row.serves })
			b.add(1)
			b.poll(10, func(m *ntp.Measurement) { m.Stratum, m.RefID, m.OurRefID = row.stratum, row.refid, row.ours }, 1)
			if got := b.sys.sources[0].bar; got != row.bar {
				t.Fatalf("%v, want %v", got, row.bar)
			}
			r := b.sys.Report()
			if barred := row.bar != barNone; barred == (r.State == Synchronized) || barred != (r.Sources[0].Role == RoleExcluded) {
				t.Errorf("state %v, source %v (%s)", r.State, r.Sources[0].Role, r.Sources[0].Reason)
			}
			if row.bar == barLoop && (r.LoopsDetected != 1 || b.told("source SourceId(1)") != 1) {
				t.Errorf("%d loops, told %d times", r.LoopsDetected, b.told("source SourceId(1)"))
			}
		})
	}
}

// TestC27_Self: a source that shows our own system variables is ourselves under another address.
func TestC27_Self(t *testing.T) {
	b := newBench(t, noon, nil)
	b.add(1, 2)
	b.poll(10, nil, 1)
	v := *b.view
	b.poll(1, func(m *ntp.Measurement) { m.Stratum, m.RefID, m.Reference = v.Stratum, v.RefID, v.Reference }, 2)
	if got := b.sys.sources[1].bar; got != barSelf {
		t.Errorf("%v", got)
	}
	b.poll(5, nil, 2)
	if got := b.sys.sources[1].bar; got != barNone {
		t.Errorf("not forgiven: %v", got)
	}
}
