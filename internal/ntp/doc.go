// Package ntp is the vocabulary of the suite: timestamps, packets, extension fields, measurements,
// the ledger of clock corrections and the system variables shown to clients.
//
// It owns the wire format of NTPv3 and NTPv4 (RFC 5905, RFC 7822) and the arithmetic on it. It reads
// no clock, opens no socket and imports the standard library only.
package ntp
