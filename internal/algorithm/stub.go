package algorithm

import "ntp-daemon/internal/ntp"

const (
	maxCentral         = 0.95
	minWander          = 1e-11
	maxWander          = 1e-5
	kernelMaxFrequency = 500e-6
)

type tracker struct{ id ntp.SourceID }

// Absorb takes in one placed measurement.
func (d *Discipline) Absorb(m ntp.Measurement) {}

// Decide selects, fuses and says how to steer.
func (d *Discipline) Decide(now ntp.Local) Decision { return Decision{} }

// Applied tells of a change of the clock that the kernel confirmed.
func (d *Discipline) Applied(e ntp.LedgerEntry) { d.clock = e }

// Forget drops a source.
func (d *Discipline) Forget(id ntp.SourceID) {}

// Report describes one source.
func (d *Discipline) Report(id ntp.SourceID) Report { return Report{} }
