package daemon

import (
	"encoding/json"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ntp-daemon/internal/algorithm"
	"ntp-daemon/internal/assoc"
	"ntp-daemon/internal/config"
	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/observe"
	"ntp-daemon/internal/source"
	"ntp-daemon/internal/system"
)

// TestSourceSnapshot: every fact of a source arrives under its name and in its unit, and the words of the roles are
// those that readers compare with.
func TestSourceSnapshot(t *testing.T) {
	row := system.SourceRow{
		Added: system.Added{ID: 7, Name: "ntp.example:4460", Address: netip.MustParseAddrPort("192.0.2.1:123")},
		Role:  system.RolePeer,
		Last: ntp.Measurement{Stratum: 2, RefID: 0x7f000001, Version: 4,
			RootDelay: 3 * time.Millisecond, RootDispersion: 4 * time.Millisecond},
		Updated: 1 << 32,
		Estimate: algorithm.SourceEstimate{Known: true, Offset: -time.Millisecond, Uncertainty: time.Microsecond,
			Frequency: 1e-6, Delay: 2 * time.Millisecond, Jitter: 5 * time.Microsecond},
	}
	st := source.Status{Reach: 0o17, Unanswered: 9, Poll: 6, NTS: true, Cookies: 5, LastVerdict: source.Accepted}
	cookies := 5
	want := observe.Source{
		Offset: -0.001, Uncertainty: 1e-6, Delay: 0.002, RemoteDelay: 0.003, RemoteUncertainty: 0.004,
		LastUpdate: observe.Time{Timestamp: 1 << 32}, UnansweredPolls: 8, PollInterval: 6, NTSCookies: &cookies,
		Name: "ntp.example:4460", Address: "192.0.2.1:123", ID: 7,
		Measured: true, Role: observe.RolePeer, Stratum: 2, ReferenceID: "127.0.0.1", Reach: 0o17, Version: 4,
		LastAnswer: "accepted", Frequency: 1e-6, Jitter: 5e-6,
	}
	if d := cmp.Diff(want, sourceSnapshot(&row, &st)); d != "" {
		t.Error(d)
	}
	st.NTS = false
	if b, _ := json.Marshal(sourceSnapshot(&row, &st)); !json.Valid(b) || sourceSnapshot(&row, &st).NTSCookies != nil {
		t.Errorf("a plain source has cookies: %s", b)
	}
	for role, word := range map[system.Role]string{
		system.RoleExcluded: observe.RoleExcluded, system.RoleCandidate: observe.RoleCandidate,
		system.RoleFalseticker: observe.RoleFalseticker, system.RoleSelected: observe.RoleSelected, system.RolePeer: observe.RolePeer,
	} {
		if role.String() != word {
			t.Errorf("role %q is shown as %q", role, word)
		}
	}
}

// TestK16_StatusShowsWhatIsServed: the bound in the status is the one that clients are told at that moment.
func TestK16_StatusShowsWhatIsServed(t *testing.T) {
	r := newTrial(t, system.Defaults())
	for range 20 {
		r.sample(t, 0)
	}
	d := &Daemon{cfg: &config.Config{}, tk: r.keeper, statuses: assoc.NewStatuses(), started: time.Now()}
	d.view.Store(r.view.Load())
	d.report.Store(r.report.Load())
	s, v := (&observer{d}).snapshot(), r.view.Load()
	told := v.RootDispersion(ntp.Timestamp(s.Program.Now.Timestamp)).Seconds()
	if !v.Synchronized || s.Suite.RootDispersion != told || s.System.RootDelay != v.RootDelay.Seconds() || s.Suite.RootDispersion <= 0 {
		t.Errorf("status %+v and %g, served %+v", s.System, s.Suite.RootDispersion, *v)
	}
}
