// Package resolve turns the host names of time sources into addresses that may be asked for time.
//
// It owns the rules which addresses a name may stand for (rows C28, C29), and whose word on DNSSEC counts for the SRV records
// of a domain (Services). It opens no socket to what it finds, keeps nothing but those records for their TTL, and never retries: when to
// ask again is decided by internal/assoc.
package resolve
