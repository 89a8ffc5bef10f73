package system

import (
	"net/netip"
	"time"

	"ntp-daemon/internal/algorithm"
	"ntp-daemon/internal/ntp"
)

// Now is the moment of an event on all the scales that matter.
type Now struct {
	Mono  time.Time     // for timers
	Local ntp.Local     // the bare oscillator, for the estimator
	Clock ntp.Timestamp // reading of the steered clock, for what clients are told
	Epoch uint64        // number of steps so far; a measurement of another epoch is void
}

// Event is something that the system process must hear of.
type Event interface{ event() }

// Added announces a new source. Names and addresses are for reports and the reference identifier.
type Added struct {
	ID      ntp.SourceID
	Name    string // host:port as configured
	Address netip.AddrPort
}

// Removed announces that a source is gone.
type Removed struct {
	ID     ntp.SourceID
	Reason string
}

// Measured is an accepted exchange that Ledger.Place has placed.
type Measured struct{ ntp.Measurement }

// Voided says that a reply came and could not be placed, because the clock was changed during the exchange.
type Voided struct{ ID ntp.SourceID }

// Status is the part of an association's state that decisions depend on, told when it changed. What only readers want
// to know, such as reach and cookies, goes past the system process (source.Status).
type Status struct {
	ID        ntp.SourceID
	Poll      ntp.PollExp // interval in force
	Reachable bool        // one of the last eight polls had a good reply
	// Fault says why the latest poll gave no measurement: not sent, no reply, or what was wrong with it. Empty if it gave one.
	Fault    string
	Unusable bool // the association has stopped or waits for new keys. What it measured counts until it is stale
}

// Tick is the end of the Wait of the last Effects.
type Tick struct{}

// ForeignStep says that somebody else changed the clock, or that the machine was suspended. The foreign
// ledger entry comes through Applied, before this event.
type ForeignStep struct {
	Stood     time.Duration // for how long the machine did not run just before, clock of timers included; 0: it did
	Displaced time.Duration // the Effects.Displaced that it comes of; 0: others did it
}

// StoodStill says that the machine, its clocks included, did not run for a while: a virtual one was paused, or restored from
// a saved state. The caller enters that in the ledger as a foreign change, and then it is a ForeignStep.
type StoodStill struct {
	For time.Duration // about; > 0
}

// Expected says how many sources the configuration promises from now on: it was read again.
type Expected struct{ Sources int }

func (Added) event()       {}
func (Removed) event()     {}
func (Measured) event()    {}
func (Voided) event()      {}
func (Status) event()      {}
func (Tick) event()        {}
func (ForeignStep) event() {}
func (StoodStill) event()  {}
func (Expected) event()    {}

// Level is the weight of a Notice.
type Level uint8

// The levels.
const (
	Debug Level = iota
	Info
	Warn
	Error
)

// Notice is one line for the log.
type Notice struct {
	Level  Level
	Target string // one of internal/logtarget
	Text   string
	// Subject is what the line is about when it may come again and again: who writes it limits how often a subject is
	// loud. Empty: every such line is written.
	Subject string
	Fields  []any // names and values in turn, beside the text
}

// Effects is what one event asks for.
type Effects struct {
	Steer   algorithm.Steer // what the clock shall do; after it is done the ledger entry comes back through Applied
	Refusal string          // a step limit is exceeded and the program ends (PanicExit): what it says to the operator. Empty: goes on
	// Displaced: nothing but a standstill of the machine, or somebody who set its clock unseen, explains what the sources say.
	// The caller enters a foreign change in the ledger and comes back with ForeignStep.
	Displaced time.Duration // by how much true time is ahead of the clock; 0: it is not so
	Since     ntp.Timestamp // when the first request was sent whose reply said so
	View      *ntp.View     // nil: unchanged
	Advice    []ntp.Advice  // at most one per source
	Wait      time.Duration
	Notices   []Notice
}
