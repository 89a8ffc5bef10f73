// Package handover passes listening sockets from one process to the next, so that an upgrade loses no connection.
//
// A connection that waits to be accepted belongs to the listening socket, not to a process. Whoever holds a descriptor of the
// socket may accept it, and the kernel resets those that wait when the last descriptor is closed. So the next process does not
// open a socket of its own, not even with SO_REUSEPORT, which gives it a second queue: it gets a descriptor of the first.
//
// Three ways lead to it: a socket unit of the service manager, which opened it and passes it to each process (FromManager); the
// service manager's store of descriptors, where a process leaves its socket for the next one (Manager.Keep, then
// FromManager); and a Unix socket at which the running process gives it to its successor (Offer, Take).
// docs/rules/pool.md#hand-over has the rules.
package handover
