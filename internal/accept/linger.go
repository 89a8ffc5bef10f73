package accept

import (
	"io"
	"net"
	"time"
)

const (
	// LingerTime is what the peer gets for its own end of the connection after the last answer: time for a round trip.
	LingerTime = 250 * time.Millisecond
	// lingerBytes is enough for any request that was under way.
	lingerBytes = 128 << 10
)

// Linger ends a connection of ours in good order, without closing it: it calls closeNotify (RFC 8446 §6.1), ends
// our stream and reads what the peer still sends until its end, because closing a socket with unread bytes would reset
// the connection and could destroy the answer on its way. It takes no longer than 250 ms and not past end; a zero end
// is no limit.
func Linger(raw net.Conn, closeNotify func() error, end time.Time) {
	// crypto/tls gives close_notify five seconds of its own, whatever deadline is set; a peer that does not read gets
	// no more than the others (row KS23).
	stuck := time.AfterFunc(LingerTime, func() { _ = raw.Close() })
	err := closeNotify()
	stuck.Stop()
	if err != nil {
		return
	}
	if half, ok := raw.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	Discard(raw, end)
}

// Discard is the second half of Linger: it reads what the peer still sends after the end of our stream.
func Discard(raw net.Conn, end time.Time) {
	until := time.Now().Add(LingerTime)
	if !end.IsZero() && end.Before(until) {
		until = end
	}
	_ = raw.SetReadDeadline(until)
	_, _ = io.CopyN(io.Discard, raw, lingerBytes)
}
