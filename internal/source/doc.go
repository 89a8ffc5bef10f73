// Package source is one client association: when to ask a server, what to ask, and which of the datagrams
// that come back is the answer.
//
// It owns the outstanding request, the reach register, the poll interval, what kiss codes demand and the use of
// an NTS session. It is pure: time and randomness are arguments, and bytes go in and out by value. Its one
// promise, tested by a property: a packet that is refused changes nothing (reliability rows C04, C15;
// CVE-2016-9042, CVE-2020-11868). It must not judge how good a measurement is; that is internal/algorithm.
package source
