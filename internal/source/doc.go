// Package source is one client association: when to ask a server, what to ask, and which of the datagrams
// that come back is the answer.
//
// It owns the outstanding request, the reach register, the poll interval, what kiss codes demand and the use of
// an NTS session. It is pure: time and randomness are arguments, and bytes go in and out by value. Invariant, tested by
// a property: a packet that is refused changes no state (rows C04, C15; CVE-2016-9042, CVE-2020-11868). How good a
// measurement is, internal/algorithm decides.
package source
