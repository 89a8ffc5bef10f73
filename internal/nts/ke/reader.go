package ke

import (
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"ntp-daemon/internal/nts/record"
)

const (
	// firstBuffer holds every ordinary message; the buffer grows only with what has arrived, never with what
	// was announced.
	firstBuffer = 2 << 10
	// writeTimeout is what a peer gets to take a message: it fits any socket buffer, so only a dead peer or
	// one with a closed window needs it.
	writeTimeout = 2 * time.Second
)

// Reader cuts a connection into messages. TLS record boundaries mean nothing to it: peers send messages in
// one piece or in many (docs/rules/key-exchange.md#pieces).
type Reader struct {
	r      io.Reader
	limits record.Limits
	buf    []byte
	used   int // length of the message handed out last
}

// NewReader reads messages from r under the limits.
func NewReader(r io.Reader, limits record.Limits) *Reader { return &Reader{r: r, limits: limits} }

// Next returns the next whole message, valid until the next call. Errors: io.EOF if the peer closed between
// messages; record.Truncated if it closed inside one; record.TooLong or record.TooMany as soon as the message
// is announced to be so; otherwise what the connection says, a timeout included.
func (r *Reader) Next() ([]byte, error) {
	r.compact()
	f := record.Framer{Limits: r.limits}
	for {
		n, fault := f.Scan(r.buf)
		if fault == record.None {
			r.used = n
			return r.buf[:n:n], nil
		}
		if fault != record.Truncated {
			return nil, fault
		}
		if err := r.fill(); err != nil {
			if errors.Is(err, io.EOF) && len(r.buf) > 0 {
				return nil, record.Truncated
			}
			return nil, err
		}
	}
}

// Wait returns when a byte of the next message is there, or with the error of the connection; io.EOF is the
// peer's orderly end. The message handed out last is no longer valid.
func (r *Reader) Wait() error {
	if r.Surplus() > 0 {
		return nil
	}
	r.compact()
	return r.fill()
}

// compact drops the message handed out last, keys and all.
func (r *Reader) compact() {
	rest := copy(r.buf, r.buf[r.used:])
	clear(r.buf[rest:])
	r.buf, r.used = r.buf[:rest], 0
}

// fill reads once; nothing that was handed out is in the buffer any more.
func (r *Reader) fill() error {
	if len(r.buf) == cap(r.buf) {
		// Doubling by hand, so that the old array, which may hold keys, can be cleared. The framer complains
		// before the limit is outgrown.
		bigger := make([]byte, len(r.buf), min(max(firstBuffer, 2*cap(r.buf)), r.limits.Bytes+firstBuffer))
		copy(bigger, r.buf)
		clear(r.buf)
		r.buf = bigger
	}
	n, err := r.r.Read(r.buf[len(r.buf):cap(r.buf)])
	r.buf = r.buf[:len(r.buf)+n]
	if n > 0 {
		return nil // an error with data comes back on the next call
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// Surplus is how many bytes behind the last message have been read already.
func (r *Reader) Surplus() int { return len(r.buf) - r.used }

// Wipe clears everything that was read.
func (r *Reader) Wipe() {
	clear(r.buf)
	r.buf, r.used = r.buf[:0], 0
}

// WriteMessage sends one message in one Write, which with the TLS settings of this package is one TLS record
// (NTPsec needs that). It sets the write deadline to the earlier of deadline and a short while from now; a
// zero deadline is none.
func WriteMessage(c net.Conn, deadline time.Time, msg []byte) error {
	limit := time.Now().Add(writeTimeout)
	if !deadline.IsZero() && deadline.Before(limit) {
		limit = deadline
	}
	if err := c.SetWriteDeadline(limit); err != nil {
		return fmt.Errorf("set write deadline: %w", err)
	}
	if _, err := c.Write(msg); err != nil {
		return fmt.Errorf("write message: %w", err)
	}
	return nil
}
