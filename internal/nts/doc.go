// Package nts is the packet side of Network Time Security (RFC 8915 §5): a client's [Session] with its jar of
// cookies, a server's [KeySet], cookies and [Request], and the negotiation rules that the key exchange server
// and the pool share.
//
// It is pure: no clock, socket, goroutine or source of randomness of its own. It must not learn about TLS,
// about NTS-KE records, or about what an NTP header says beyond version, mode and kiss code.
package nts
