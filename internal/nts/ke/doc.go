// Package ke speaks NTS key exchange over TLS 1.3 (RFC 8915 §4): Exchange is the client, Server the time
// source that answers clients and pools. Package member is the pool's side towards time sources; it takes dial-up, TLS
// settings and message framing (Handshake, ClientTLS, Reader, WriteMessage) from here.
//
// It owns the connections it opens or accepts and the deadlines on them. Messages are made and judged in
// nts/record, choices in nts; keys leave it inside nts.Session or inside a cookie. No key, cookie, token or
// unquoted byte of a peer reaches the log.
package ke
