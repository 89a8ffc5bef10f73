package system

import (
	"time"

	"ntp-daemon/internal/algorithm"
	"ntp-daemon/internal/ntp"
)

// Unlimited is a step limit that allows everything.
const Unlimited time.Duration = 1<<63 - 1

// StepLimit bounds one step; a step is allowed when it is smaller than Forward and -Backward is smaller than
// it, both strictly, so that 0 forbids (ntpd-rs.md 2.14).
type StepLimit struct{ Forward, Backward time.Duration }

// Params are the settings of the system process.
type Params struct {
	Algorithm algorithm.Params

	SingleStep       StepLimit     // single-step-panic-threshold: every step after the first update
	StartupStep      StepLimit     // startup-step-panic-threshold: the first update
	AccumulatedSteps time.Duration // accumulated-step-panic-threshold; 0 or Unlimited: none
	StartupSpent     bool          // the start-up allowance was already used since boot, see Report.StartupAllowance
	QuietSteps       bool          // warn-on-jump = false

	LocalStratum   ntp.Stratum // 1…15: serve our own clock when nothing is selected; 0 or 16: off
	LocalReference ntp.RefID   // reference-id, used with LocalStratum 1
	NoSources      bool        // nothing is configured to measure: the local stratum applies at once

	Serves    bool          // we answer clients, so that loops are possible
	Observe   bool          // clock-control = false: never steer
	Precision int8          // log2 s, of our clock
	HoldOver  time.Duration // root distance at which hold-over ends; 0: the default of 1.5 s (RFC 5905 MAXDIST)
	Pivot     time.Time     // build date: decides the era of the calendar for leap seconds
}

// Defaults returns the defaults of the reference suite (ntpd-rs.md 2.14).
func Defaults() Params {
	return Params{
		Algorithm:    algorithm.Defaults(),
		SingleStep:   StepLimit{Forward: 1000 * time.Second, Backward: 1000 * time.Second},
		StartupStep:  StepLimit{Forward: Unlimited, Backward: 86400 * time.Second},
		LocalStratum: ntp.MaxStratum, LocalReference: ntp.RefIDFromString("XNON"), Precision: -20,
	}
}

// System is the system process. Not safe for concurrent use; owned by the timekeeper.
type System struct {
	params Params
	disc   *algorithm.Discipline
}

// New returns a system process without sources; its View is unsynchronised. Call Applied with the ledger's
// first entry before the first event.
func New(p Params) *System { return &System{params: p, disc: algorithm.New(p.Algorithm)} }

// Handle takes in one event and returns what follows from it. The order of work for the caller: steer the
// clock and report each ledger entry through Applied, publish the View, send the Advice, log the Notices, and
// send Tick after Wait.
func (s *System) Handle(now Now, ev Event) Effects { return Effects{Wait: time.Second} }

// Applied tells of a change of the clock that the kernel confirmed: the ledger's newest entry. It must be
// called once with the first entry at start, and before the next Handle after every change.
func (s *System) Applied(e ntp.LedgerEntry) { s.disc.Applied(e) }

// Report returns the state for the snapshot.
func (s *System) Report() Report { return Report{} }
