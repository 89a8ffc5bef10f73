package ke

import (
	"context"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"time"

	"ntp-daemon/internal/nts/record"
)

// memberALPN is what a time source must choose before it gets a token (RFC 8915 section 4).
const memberALPN = "ntske/1"

// What a time source's public key must have at least (nts-pool.md E11).
const (
	minRSABits   = 2048
	minCurveBits = 256
)

// readChunk is the first read buffer; an answer with eight cookies of AEAD 17 fits.
const readChunk = 2048

// errWeakKey: the certificate is valid, but its key is too small to trust it with a user's keys.
var errWeakKey = errors.New("certificate has a weak public key")

// memberConn is one TLS connection to a time source, used by one request at a time.
type memberConn struct {
	tls *tls.Conn
	raw net.Conn

	alpn     bool // ntske/1 was negotiated
	reused   bool // it was idle before this request
	kept     bool // the time source agreed to keep it open
	answered bool // bytes of an answer to the present request arrived
	dirty    bool // bytes behind the answer: not to be used again

	born, used time.Time
}

// checkMemberKey refuses certificates with weak keys, after chain and name were verified.
func checkMemberKey(cs tls.ConnectionState) error {
	switch key := cs.PeerCertificates[0].PublicKey.(type) {
	case *rsa.PublicKey:
		if key.N.BitLen() < minRSABits {
			return errWeakKey
		}
	case *ecdsa.PublicKey:
		if key.Curve.Params().BitSize < minCurveBits {
			return errWeakKey
		}
	}
	return nil
}

// connect opens a fresh connection and completes TLS, certificate check included.
func (m *Member) connect(ctx context.Context) (*memberConn, error) {
	raw, err := m.dial(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", m, err)
	}
	ctx, cancel := context.WithTimeout(ctx, memberHandshakeLimit)
	defer cancel()
	conn := tls.Client(raw, m.tls)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, fmt.Errorf("TLS with %s: %w", m, err)
	}
	now := time.Now()
	alpn := conn.ConnectionState().NegotiatedProtocol == memberALPN
	return &memberConn{tls: conn, raw: raw, alpn: alpn, born: now, used: now}, nil
}

// dial opens TCP to the first address that answers.
func (m *Member) dial(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, m.cfg.ConnectTimeout)
	defer cancel()
	if len(m.cfg.Addresses) == 0 {
		return m.cfg.Dial(ctx, "tcp", m.String())
	}
	port := strconv.Itoa(int(m.cfg.Port))
	var first error
	for _, addr := range m.cfg.Addresses {
		conn, err := m.cfg.Dial(ctx, "tcp", net.JoinHostPort(addr.String(), port))
		if err == nil {
			return conn, nil
		}
		if first == nil {
			first = err
		}
	}
	return nil, first
}

// exchange sends one request in one write and reads its answer, which the caller owns. The deadline
// is that of ctx, whose end also interrupts. After an error the connection is of no more use.
func (c *memberConn) exchange(ctx context.Context, request []byte) ([]byte, error) {
	c.answered = false
	deadline, _ := ctx.Deadline()
	if err := c.tls.SetDeadline(deadline); err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = c.tls.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := c.tls.Write(request); err != nil {
		return nil, fmt.Errorf("send: %w", err)
	}
	return c.read()
}

// read collects one message under the caps of nts-pool.md E10.
func (c *memberConn) read() ([]byte, error) {
	framer := record.Framer{Limits: record.UpstreamLimits}
	buf := make([]byte, 0, readChunk)
	for {
		if len(buf) == cap(buf) {
			buf = append(make([]byte, 0, 2*cap(buf)), buf...)
		}
		n, err := c.tls.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		c.answered = c.answered || n > 0
		end, fault := framer.Scan(buf)
		switch {
		case fault == record.None:
			c.dirty = end < len(buf)
			return buf[:end:end], nil
		case fault != record.Truncated:
			return nil, fmt.Errorf("answer: %w", fault)
		case errors.Is(err, io.EOF) && c.answered:
			return nil, fmt.Errorf("answer: %w", fault)
		case err != nil:
			return nil, fmt.Errorf("read answer: %w", err)
		}
	}
}

// deadOnArrival reports that a kept connection was found dead before a byte of the answer: the one
// case in which a request, keys included, may be sent again to the same time source.
func (c *memberConn) deadOnArrival(err error) bool {
	return err != nil && c.reused && !c.answered && hungUp(err)
}

// hungUp tells a peer that closed or reset from one that is silent or answers nonsense.
func hungUp(err error) bool {
	var op *net.OpError
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.As(err, &op) && !errors.Is(err, os.ErrDeadlineExceeded) && op.Op != "remote error" && op.Op != "local error"
}

// close says good-bye (close_notify) and closes.
func (c *memberConn) close() { _ = c.tls.Close() }
