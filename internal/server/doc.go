// Package server decides what an NTP server answers: one [Responder] per worker turns a request into a reply, a
// kiss or silence, and names its reason with a [Verdict].
//
// The order is cheap refusals first: header (admit.go), addresses and access lists (access.go), rate limit
// (ratelimit.go), then the trailer, then cryptography, then the reply. Every reply passes one last check: it is not
// longer than its request.
//
// It is pure: bytes, the system variables and the cookie keys go in, bytes come out. It reads no clock but the
// one function it is handed, keeps no goroutine, allocates nothing per request and must not learn about
// sockets, logs or configuration files.
package server
