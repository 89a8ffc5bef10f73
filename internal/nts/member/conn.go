package member

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
	"syscall"
	"time"

	"ntp-daemon/internal/accept"
	"ntp-daemon/internal/nts/ke"
	"ntp-daemon/internal/nts/record"
	"ntp-daemon/internal/printable"
)

// What a time source's public key must have at least (docs/rules/pool.md#time-source-keys).
const (
	minRSABits   = 2048
	minCurveBits = 256
)

// alertTimeout is for what crypto/tls may write while it looks at an idle connection, such as an alert.
const alertTimeout = 2 * time.Second

// ErrWeakKey: the certificate is valid, but its key is too small to trust it with a user's keys.
var ErrWeakKey = errors.New("certificate has a weak public key")

// How a request can end before a byte of the answer. On a kept connection that is the one case in
// which a request, keys included, may be sent again to the same time source; on a fresh one it is how
// some say that they did not understand.
var (
	errStale    = errors.New("kept connection was dead")
	errNoAnswer = errors.New("closed without an answer")
)

// conn is one TLS connection to a time source, used by one request at a time. Its TLS state is out of reach on purpose:
// from a connection that carries Keep Alive no keys may be exported (docs/rules/pool.md#exporter-once).
type conn struct {
	tls    net.Conn
	raw    net.Conn
	reader *ke.Reader

	address string // host:port that was dialled

	alpn   bool // ntske/1 was negotiated
	reused bool // it was idle before this request
	kept   bool // the time source agreed to keep it open
	placed bool // it has one of the places for kept connections, so its requests ask for Keep Alive
	alone  bool // it has one of those for connections that serve one request

	used, end time.Time // when it became idle; when it is too old
}

// checkKey refuses certificates with weak keys, after chain and name were verified.
func checkKey(cs tls.ConnectionState) error {
	switch key := cs.PeerCertificates[0].PublicKey.(type) {
	case *rsa.PublicKey:
		if key.N.BitLen() < minRSABits {
			return ErrWeakKey
		}
	case *ecdsa.PublicKey:
		if key.Curve.Params().BitSize < minCurveBits {
			return ErrWeakKey
		}
	}
	return nil
}

// connectTo opens a connection to one address, which is the first of left that share the time.
func (m *Client) connectTo(ctx context.Context, address string, left int) (*conn, error) {
	conf, err := m.trusting()
	if err != nil {
		return nil, err
	}
	if deadline, ok := ctx.Deadline(); ok && left > 1 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/time.Duration(left))
		defer cancel()
	}
	began := time.Now()
	dialing, cancel := context.WithTimeout(ctx, m.cfg.ConnectTimeout)
	defer cancel()
	raw, err := m.cfg.Dial(dialing, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", m.at(address), err)
	}
	ctx, cancelTLS := context.WithTimeout(ctx, m.cfg.AnswerTimeout*4/5)
	defer cancelTLS()
	secured, err := ke.Handshake(ctx, raw, conf)
	if err != nil {
		if m.cfg.Untrusted != nil {
			m.cfg.Untrusted(err)
		}
		return nil, fmt.Errorf("TLS with %s: %w", m.at(address), err)
	}
	now, cs := time.Now(), secured.ConnectionState()
	m.meter.connected(cs.DidResume, now.Sub(began))
	m.saw(cs.PeerCertificates[0].NotAfter)
	return &conn{
		address: address, tls: secured, raw: secured.NetConn(), reader: ke.NewReader(secured, record.UpstreamLimits),
		alpn: ke.CheckALPN(cs) == nil, used: now, end: now.Add(m.lifetime()),
	}, nil
}

// trusting is the TLS configuration with the roots of this moment.
func (m *Client) trusting() (*tls.Config, error) {
	conf := m.tls.Clone()
	if m.cfg.Roots != nil {
		roots, err := m.cfg.Roots()
		if err != nil {
			return nil, fmt.Errorf("trusted roots for %s: %w", m, err)
		}
		conf.RootCAs = roots
	}
	m.resume(conf, conf.RootCAs, time.Now())
	return conf, nil
}

// roundTrip is one request on c, measured.
func (m *Client) roundTrip(ctx context.Context, c *conn, request []byte) ([]byte, error) {
	if c.reused {
		m.meter.reused.Add(1)
	}
	began := time.Now()
	msg, err := c.roundTrip(ctx, request)
	if err == nil {
		m.meter.rtt.sample(time.Since(began))
	}
	return msg, err
}

// roundTrip sends one request and reads its answer, which the caller owns. ctx has a deadline and
// interrupts. After an error the connection is of no more use.
func (c *conn) roundTrip(ctx context.Context, request []byte) ([]byte, error) {
	deadline, _ := ctx.Deadline()
	if err := c.tls.SetReadDeadline(deadline); err != nil {
		return nil, fmt.Errorf("set read deadline: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = c.raw.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := ke.WriteMessage(c.tls, deadline, request); err != nil {
		return nil, c.markHangUp(printable.Error(err))
	}
	msg, err := c.reader.Next()
	if err != nil {
		return nil, c.markHangUp(fmt.Errorf("read answer: %w", printable.Error(err)))
	}
	if !stop() { // the interruption may strike only when the next user has the connection, so nobody may
		return nil, fmt.Errorf("read answer: %w", context.Cause(ctx))
	}
	accept.Settled(c.raw)
	return append([]byte(nil), msg...), nil // the next user of the connection overwrites the original
}

// reusable reports whether an idle connection is open and the time source has sent nothing since its last
// answer: neither what is still in the socket nor what crypto/tls took off it together with the answer. With a
// read deadline that has passed, a Read looks at the latter only and returns a timeout if that is no data.
func (c *conn) reusable() bool {
	if !nothingToRead(c.raw) {
		return false
	}
	now := time.Now()
	if c.tls.SetReadDeadline(time.Unix(1, 0)) != nil || c.tls.SetWriteDeadline(now.Add(alertTimeout)) != nil {
		return false
	}
	var one [1]byte
	n, err := c.tls.Read(one[:])
	return n == 0 && errors.Is(err, os.ErrDeadlineExceeded)
}

// markHangUp adds to the error of a request whether the peer hung up before it sent a byte, rather than
// staying silent, answering nonsense or sending a TLS alert.
func (c *conn) markHangUp(err error) error {
	switch {
	case c.reader.Surplus() > 0 || !hungUp(err):
		return err
	case c.reused:
		return fmt.Errorf("%w: %w", errStale, err)
	}
	return fmt.Errorf("%w: %w", errNoAnswer, err)
}

// hungUp reports that the peer closed or reset.
func hungUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNABORTED)
}

// close says good-bye (close_notify) and closes.
func (c *conn) close() {
	c.reader.Wipe()
	_ = c.tls.Close()
}
