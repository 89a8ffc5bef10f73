// Package resolve turns the host names of time sources into addresses that may be asked for time.
//
// It owns the rules which addresses a name may stand for (rows C28, C29). It opens no socket to
// what it finds, caches nothing and never retries: when to ask again is decided by internal/assoc.
package resolve
