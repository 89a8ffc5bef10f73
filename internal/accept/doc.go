// Package accept is the one TCP accept loop of the suite: the key exchange server, the pool's front end and
// the local sockets all run on it. It caps connections, caps them per client prefix, sheds the idle first,
// survives every accept error that passes, puts a deadline on each connection, contains panics and drains
// on shutdown.
//
// It owns the connections from accept to close. It must not learn what is spoken on them.
package accept
