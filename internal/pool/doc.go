// Package pool holds the rules of an NTS pool as pure values: which time sources a pool has
// (Directory, Backend), which of them a user is offered and in which order (Pick, Denied,
// Aliases), what of a time source's answer may reach a user (Answer, the Server name and Port
// rules), and that a user's keys go to one time source only (UserKeys).
//
// It owns no socket, clock, goroutine or log: internal/poolke drives the front end. It must never
// learn how records travel.
package pool
