package daemon

import (
	"path/filepath"
	"time"

	"github.com/rs/zerolog"

	"ntp-daemon/internal/assoc"
	"ntp-daemon/internal/config"
	"ntp-daemon/internal/durable"
	"ntp-daemon/internal/logtarget"
	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/system"
	"ntp-daemon/internal/version"
)

// systemParams is what the configuration says of the system process, and what else the daemon knows.
func systemParams(cfg *config.Config, stored *drift) system.Params {
	p := cfg.Synchronization.Params
	p.StartupSpent, p.Spent = stored.StartupSpent, stored.Spent
	p.Built, p.LastRight = version.Built(), stored.Saved
	p.Expected = expected(cfg.Sources)
	p.NoSources = p.Expected == 0
	p.Serves = len(cfg.Servers) > 0
	p.Pivot = version.Built()
	return p
}

const (
	// halfEra is how far from the build date NTP can tell a moment: its timestamps leave out the era of 136 years.
	halfEra = 1 << 31 * time.Second
	// lostStep bounds the first step of a clock that is further away than that.
	lostStep = 1000 * time.Second
)

// limitLostClock takes the allowance of the start from a clock that shows a time more than half an era from the build
// date, and reports that it did (row C33). A clock in 2100 that should be in 2026 seems to be 62 years slow: the step
// that the sources ask for would take it to 2162.
func limitLostClock(p *system.Params, shows time.Time) bool {
	if shows.Sub(version.Built()).Abs() < halfEra { // Sub saturates
		return false
	}
	p.StartupStep.Forward = min(p.StartupStep.Forward, lostStep)
	p.StartupStep.Backward = min(p.StartupStep.Backward, lostStep)
	return true
}

const (
	// leapList is where Debian's tzdata has the list of leap seconds, and other systems, too.
	leapList    = "/usr/share/zoneinfo/leap-seconds.list"
	maxLeapList = 64 << 10 // bytes; it has 5000
)

// leapTable reads the list of leap seconds at path; nil without one that can be read, which is not worth more than a line for
// those who look for it: only the kernel's TAI clock depends on it.
func leapTable(path string, log *zerolog.Logger) *ntp.LeapTable {
	text, _, err := durable.ReadFile(path, maxLeapList)
	if err == nil {
		var table *ntp.LeapTable
		if table, err = ntp.ParseLeapTable(text); err == nil {
			return table
		}
	}
	log.Debug().Str("path", path).Err(err).Msg("no list of leap seconds: the kernel is not told the offset of TAI")
	return nil
}

// expected is how many sources the tables promise.
func expected(tables []config.Source) (n int) {
	for i := range tables {
		n += tables[i].Count
	}
	return n
}

// assocDeps is the outside world of the supervisors.
func (d *Daemon) assocDeps() assoc.Deps {
	return assoc.Deps{
		Clock: d.tk.clock, Map: d.tk.clock.Map,
		Resolve: d.deps.Resolve, Exchange: d.deps.Exchange, Dial: d.deps.Dial, Rand: d.deps.Rand,
		Log: d.log, Inbox: d.tk.inbox, Claims: d.claims, Statuses: d.statuses, Time: d.wall, Bootstrap: d.boot, Network: d.network,
		Gone:   d.group.ctx.Done(),
		NextID: func() ntp.SourceID { return ntp.SourceID(d.nextID.Add(1)) },
	}
}

// maxLead is how long after its build a program can have been in use; a later time that was saved is not believed.
const maxLead = 20 * 365 * 24 * time.Hour

// bootstrap is what this host knows of the time before it has asked anybody: that of the build, and that of the last
// time that it was synchronised, which is zero if it is not known. A clock that nobody sets cannot be confirmed later.
// stored.Saved is dropped if it cannot be true.
func (d *Daemon) bootstrap(stored *drift) *assoc.Bootstrap {
	built := version.Built()
	if stored.Saved.Sub(built) > maxLead {
		target(d.log, logtarget.System).Warn().Time("saved", stored.Saved).Time("built", built).
			Str("path", filepath.Join(d.cfg.State.Directory, driftName)).
			Msg("the stored time is too late to be true, ignored; it is replaced once the clock is right")
		stored.Saved = time.Time{}
	}
	return assoc.NewBootstrap(built, stored.Saved, d.cfg.Synchronization.NTSBootstrap && d.steers)
}

// wall is what the clock that is steered shows, which is what certificates are judged by.
func (d *Daemon) wall() time.Time {
	if d.cfg.Synchronization.Clock == config.ClockVirtual {
		return d.tk.clock.Now().Time(version.Built())
	}
	return time.Now() // not by way of ntp.Timestamp, which wraps around within 68 years
}
