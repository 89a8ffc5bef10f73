package accept

import (
	"io"
	"net"
	"time"
)

// What the peer gets for its own end of the connection after the last answer: time for a round trip,
// and bytes for any request that was under way.
const (
	lingerTime  = 250 * time.Millisecond
	lingerBytes = 128 << 10
)

// Linger ends a connection of ours in good order, without closing it: it calls closeNotify (RFC 8446 §6.1), ends
// our stream and reads what the peer still sends until its end, because closing a socket with unread bytes would reset
// the connection and could destroy the answer on its way. It takes no longer than 250 ms and not past end; a zero end
// is no limit.
func Linger(raw net.Conn, closeNotify func() error, end time.Time) {
	// crypto/tls gives close_notify five seconds of its own, whatever deadline is set; a peer that does not read gets
	// no more than the others (row KS23).
	stuck := time.AfterFunc(lingerTime, func() { _ = raw.Close() })
	err := closeNotify()
	stuck.Stop()
	if err != nil {
		return
	}
	if half, ok := raw.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	until := time.Now().Add(lingerTime)
	if !end.IsZero() && end.Before(until) {
		until = end
	}
	_ = raw.SetReadDeadline(until)
	_, _ = io.CopyN(io.Discard, raw, lingerBytes)
}
