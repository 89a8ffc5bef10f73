// Package program is what the suite's programs have in common: command line, signals, exit codes, the look at the
// resource limits, certificates, and the log as the configuration wants it.
//
// Each program imports it, and by that internal/rlimit, whose entry the Makefile links.
package program
