// Package system is the system process (RFC 5905 §11): it keeps the table of sources, feeds the discipline,
// refuses steps that nobody should make, detects loops, and says what clients are told.
//
// It owns the Discipline and the source table. It is a pure state machine: events and the time go in, Effects
// come out; it reads no clock, sends nothing, and never learns that a steer was applied except through Applied.
package system
