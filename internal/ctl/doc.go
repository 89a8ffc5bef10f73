// Package ctl does the work of ntp-ctl: it shows the state of a running daemon, waits for it to synchronise,
// checks configurations, asks servers for the time, and sets the clock once.
//
// It reads the daemon's observation socket and never commands the daemon. The only thing it ever changes is the
// clock, in force-sync and after a yes. All input and output is in Env, so that tests run the same commands.
package ctl
