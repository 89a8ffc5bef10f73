// Package poolmonitor decides which time sources of a pool its users may be sent to, by what probes of them came to.
//
// It owns the schedule of the probes, the scores, the verdict of each time source for each address family and each AEAD
// algorithm, the reference that their clocks are compared with, and what of all this outlives a restart. Time and
// randomness arrive as arguments. Probing itself, and the use of a verdict, are poolke's. It must not take a time
// source out for a fault that may be the pool's own (docs/rules/pool.md#monitor-protection).
package poolmonitor
