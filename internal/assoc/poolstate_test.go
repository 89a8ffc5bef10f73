package assoc

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"ntp-daemon/internal/config"
	"ntp-daemon/internal/source"
)

// shownPool is the state of the first pool in words.
func (r *testbed) shownPool() string {
	list := r.statuses.Pools()
	if len(list) == 0 {
		return "none"
	}
	p := list[0]
	text := fmt.Sprintf("%s srv %v want %d:", p.Name, p.SRV, p.Want)
	for _, m := range p.Members {
		text += fmt.Sprintf(" %s@%v", m.Server, m.Addr)
	}
	for _, f := range p.Failed {
		d := time.Until(f.Until)
		switch {
		case d > failedMost:
			text += " !" + f.Name + " for " + d.String()
		case d > 0: // a reader leaves out those whose time has passed
			text += " !" + f.Name
		}
	}
	if p.Reason != "" {
		text += "; " + p.Reason
	}
	if !p.Search.IsZero() {
		text += "; search after " + time.Until(p.Search).Truncate(time.Minute).String()
	}
	return text
}

// TestStatuses_Pools follows what readers are shown of a pool: when it is full, when a member has been replaced, and when there are
// too few.
func TestStatuses_Pools(t *testing.T) {
	bubble(t, func(t *testing.T, r *testbed) {
		r.poolOf(2)
		r.supervise(t, config.Source{Mode: source.ModeNTSPool, Host: "pool.example", Port: 4460, Count: 2})
		pass(time.Minute)
		const name = "pool.example:4460 srv false want 2:"
		if got := r.shownPool(); got != name+" s1.example@192.0.2.1:123 s2.example@192.0.2.2:123" {
			t.Error(got)
		}
		r.poolOf(3)
		r.net.set("192.0.2.1:123", nil)
		pass(20 * time.Minute)
		if got := r.shownPool(); got != name+" s2.example@192.0.2.2:123 s3.example@192.0.2.3:123 !s1.example" {
			t.Error(got)
		}
		pass(time.Hour)
		if got := r.shownPool(); got != name+" s2.example@192.0.2.2:123 s3.example@192.0.2.3:123" {
			t.Errorf("after an hour: %s", got)
		}
	})
	bubble(t, func(t *testing.T, r *testbed) {
		r.poolOf(1)
		r.supervise(t, config.Source{Mode: source.ModeNTSPool, Host: "pool.example", Port: 4460, Count: 2})
		pass(time.Minute)
		if got := r.shownPool(); !strings.HasPrefix(got, "pool.example:4460 srv false want 2: s1.example@192.0.2.1:123; pool returned a name that is already held; search after 1") {
			t.Error(got)
		}
	})
	bubble(t, func(t *testing.T, r *testbed) {
		r.members(1)
		list := &records{}
		list.set(nil, "s1.example")
		r.superviseService(t, serviceSource(source.ModeNTSPool, 2), list)
		pass(time.Minute)
		if got := r.shownPool(); !strings.HasPrefix(got, "_ntske._tcp.pool.example srv true want 2: s1.example@192.0.2.1:123; every server of the SRV records is in use or failed of late; search after 1") {
			t.Error(got)
		}
	})
	bubble(t, func(t *testing.T, r *testbed) { // a plain pool is none
		r.names.set("pool.example", "192.0.2.1")
		r.supervise(t, config.Source{Mode: source.ModePool, Host: "pool.example", Port: 123, Count: 2})
		pass(time.Minute)
		if got := r.shownPool(); got != "none" {
			t.Error(got)
		}
	})
}
