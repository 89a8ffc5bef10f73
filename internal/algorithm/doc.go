// Package algorithm is the clock discipline: it estimates how far and how fast the bare oscillator is from
// true time, decides which sources tell the truth, and says how to steer.
//
// It owns one tracker per source and nothing else. Its state is true time minus Local, so that steering the
// clock touches no filter. It reads no clock, opens no socket, iterates in SourceID order, and gives the same
// bits for the same input on every machine (products are rounded before they are added).
//
// Discipline is the only door. What a step may cost and what clients are told is the business of package system.
package algorithm
