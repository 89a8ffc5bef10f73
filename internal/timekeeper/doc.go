// Package timekeeper is the decision about the clock as a pure function of what it is told: it holds the ledger and
// the system process, and drives a Clock that it declares and does not implement. The daemon runs it over the kernel's
// clock and the simulator over a simulated one, so that both steer by the same code.
//
// It starts no goroutine, reads no time, writes no log and publishes nothing: the moment of a turn is an argument, and
// what follows from the turn is a value, Effects. It must not decide what time it is: that is system's and algorithm's
// work.
package timekeeper
