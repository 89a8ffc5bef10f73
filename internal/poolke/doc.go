// Package poolke is nts-pool-ke: the key exchange front end of an NTS pool. It reads a user's
// request, finds a time source that can serve it, hands that one time source the user's keys and the
// user an answer built from checked fields.
//
// It owns the listener, the connections of users, the Members it speaks to time sources through, the
// probes of the monitor, and the snapshot of list and certificate that a reload replaces as a whole.
// Which time source may be chosen and what may reach a user is decided in package pool, what probes
// say about a time source in poolmonitor; how records travel is known to nts/record and nts/ke. It must not keep a user's keys beyond the exchange, and no key, token,
// cookie or denied name reaches its log.
package poolke
