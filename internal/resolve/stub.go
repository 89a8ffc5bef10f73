package resolve

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"
)

const (
	// tryTimeout is how long one name server may take for one answer, over TCP once more that long.
	tryTimeout = 3 * time.Second
	// rounds is how often each name server is asked: a datagram may be lost.
	rounds = 2
	// maxStray bounds the datagrams that are looked at for one answer, however many are thrown at our port.
	maxStray = 64
)

// dialFunc opens a connection, network is udp or tcp.
type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// exchange asks one name server: over UDP, with a port of its own and a number by chance for each question, and over TCP if the
// answer does not fit.
func (q question) exchange(ctx context.Context, dial dialFunc, server netip.AddrPort) (reply, error) {
	msg, err := q.encode()
	if err != nil {
		return reply{}, err
	}
	r, err := q.overUDP(ctx, dial, server, msg)
	if err != nil || !r.truncated {
		return r, err
	}
	r, err = q.overTCP(ctx, dial, server, msg)
	if err == nil && r.truncated {
		err = errors.New("answer is cut even over TCP")
	}
	return r, err
}

// open dials and sets the deadline; the connection also ends with ctx, through release.
func open(ctx context.Context, dial dialFunc, network string, server netip.AddrPort) (c net.Conn, release func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	if c, err = dial(ctx, network, server.String()); err != nil {
		cancel()
		return nil, nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	return c, func() { stop(); cancel(); _ = c.Close() }, nil
}

func (q question) overUDP(ctx context.Context, dial dialFunc, server netip.AddrPort, msg []byte) (reply, error) {
	c, release, err := open(ctx, dial, "udp", server)
	if err != nil {
		return reply{}, err
	}
	defer release()
	if _, err := c.Write(msg); err != nil {
		return reply{}, err
	}
	buf := make([]byte, 4096)
	for range maxStray {
		n, err := c.Read(buf)
		if err != nil {
			return reply{}, err
		}
		r, err := q.decode(buf[:n])
		if !errors.Is(err, errNotOurs) {
			return r, err
		}
	}
	return reply{}, fmt.Errorf("%d datagrams, none of them an answer", maxStray)
}

func (q question) overTCP(ctx context.Context, dial dialFunc, server netip.AddrPort, msg []byte) (reply, error) {
	c, release, err := open(ctx, dial, "tcp", server)
	if err != nil {
		return reply{}, err
	}
	defer release()
	framed := append(binary.BigEndian.AppendUint16(nil, uint16(len(msg))), msg...)
	if _, err := c.Write(framed); err != nil {
		return reply{}, err
	}
	var size [2]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		return reply{}, err
	}
	answer := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(c, answer); err != nil {
		return reply{}, err
	}
	return q.decode(answer)
}
