// Package observe carries the state of a running daemon to those who look at it: a Snapshot as JSON over a
// Unix stream socket, in the framing of ntpd-rs (8 bytes big-endian length, then JSON, then close).
//
// It owns the schema and the socket. It never reads from a client and knows nothing of how the numbers came about.
package observe
