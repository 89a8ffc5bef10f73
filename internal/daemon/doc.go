// Package daemon is ntp-daemon: it builds the parts from a configuration, runs their goroutines and ends them in
// order. Run is the way in; the timekeeper's loop is the heart.
//
// It owns the clock, the ledger, the key set and the sockets of the server. It must not decide anything about
// time: that is system's and algorithm's work.
package daemon
