package ke

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"time"

	"ntp-daemon/internal/accept"
	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/nts"
	"ntp-daemon/internal/nts/aead"
	"ntp-daemon/internal/nts/record"
	"ntp-daemon/internal/printable"
)

const (
	// DefaultTimeout bounds one whole exchange, from dial to close, unless ClientConfig says otherwise (KC14).
	DefaultTimeout = 5 * time.Second
)

// DefaultAlgorithms is what Exchange offers unless told otherwise, most wanted first. AEAD 30 leads as in
// chrony: its packets are short enough (below 200 bytes with our server) for the paths that drop long NTP
// packets (row N24), and it is the only one that Meta's server has right; record 1024 and the
// alternate keys deal with its exporter trap. 15 is what every server has; 17 is last because its cookies
// are the longest.
func DefaultAlgorithms() []aead.Algorithm {
	return []aead.Algorithm{aead.GCMSIV128, aead.SIVCMAC256, aead.SIVCMAC512}
}

// ClientConfig is one key exchange. Address is required.
type ClientConfig struct {
	Address string         // host name or address of the server or pool; the certificate must be for it
	Port    uint16         // TCP; 0 is 4460
	Connect netip.AddrPort // where to connect; invalid: to an address of Address, and Port
	Roots   *x509.CertPool // nil: the system's
	// Time is the clock that certificates are judged by; nil is the system's.
	Time func() time.Time
	// Dial opens the TCP connection; nil dials all addresses of the name, IPv4 and IPv6, happy-eyeballs style.
	Dial       func(ctx context.Context, network, addr string) (net.Conn, error)
	Algorithms []aead.Algorithm // most wanted first; nil is DefaultAlgorithms
	// Denied are the server names that a pool should not give again, oldest first, as it gave them.
	Denied []string
	// Prefer is the server that a pool is asked for again, by the name that it gave; empty: any. It may give another one.
	Prefer  string
	Timeout time.Duration // for everything from the look-up to the last byte; 0 is 5 s
}

// Result is a successful exchange.
type Result struct {
	Session *nts.Session
	// Server is the host for NTP, never empty: the name or address in the answer, else ClientConfig.Address.
	// A name from the answer is absolute (RFC 8915 §4.1.7): look it up without search domains.
	Server      string
	ServerGiven bool // Server is from the answer
	// Remote is the address that the exchange was held with: where NTP is served unless ServerGiven
	// (RFC 8915 §4.1.7). Invalid if the connection has no IP address.
	Remote    netip.Addr
	Port      uint16 // UDP, never 0
	Algorithm aead.Algorithm
}

// Exchange gets keys and cookies from a server or pool. It takes no longer than the timeout, whatever the
// peer does. The error wraps the step, and a record.Fault if the answer was wrong; errors that quote the peer
// quote it escaped.
func Exchange(ctx context.Context, c ClientConfig) (Result, error) {
	if c.Timeout <= 0 {
		c.Timeout = DefaultTimeout
	}
	if c.Port == 0 {
		c.Port = DefaultPort
	}
	if c.Algorithms == nil {
		c.Algorithms = DefaultAlgorithms()
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	conn, err := connect(ctx, &c)
	if err != nil {
		return Result{}, err
	}
	// The context closes the connection under a Read or Write that hangs; Close says goodbye first.
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.NetConn().Close() })
	defer stop()
	deadline, _ := ctx.Deadline()
	r, err := ask(conn, deadline, &c)
	switch {
	case err == nil:
		return r, nil
	case ctx.Err() != nil:
		return Result{}, fmt.Errorf("%w: %w", context.Cause(ctx), err)
	case accept.IsTimeout(err): // the connection's clock was a little faster than that of the context
		return Result{}, fmt.Errorf("%w: %w", context.DeadlineExceeded, err)
	}
	return Result{}, err
}

// connect dials and shakes hands.
func connect(ctx context.Context, c *ClientConfig) (*tls.Conn, error) {
	dial := c.Dial
	if dial == nil {
		dial = accept.Dial
	}
	where := net.JoinHostPort(c.Address, strconv.Itoa(int(c.Port)))
	if c.Connect.IsValid() {
		where = c.Connect.String()
	}
	raw, err := dial(ctx, "tcp", where)
	if err != nil {
		return nil, fmt.Errorf("connect to key exchange server: %w", err)
	}
	conn, err := Handshake(ctx, raw, ClientTLS(c.Address, c.Roots, c.Time))
	if err != nil {
		return nil, fmt.Errorf("TLS handshake: %w", err)
	}
	if err := CheckALPN(conn.ConnectionState()); err != nil {
		_ = raw.Close()
		return nil, fmt.Errorf("TLS handshake: %w", err)
	}
	return conn, nil
}

// tlsConn is a connection after its handshake, as far as an exchange needs it; a *tls.Conn is one.
type tlsConn interface {
	net.Conn
	ConnectionState() tls.ConnectionState
}

// ask sends the request and turns the answer into a session.
func ask(conn tlsConn, deadline time.Time, c *ClientConfig) (Result, error) {
	if err := conn.SetReadDeadline(deadline); err != nil {
		return Result{}, fmt.Errorf("set read deadline: %w", err)
	}
	if err := WriteMessage(conn, deadline, record.AppendUser(nil, c.Algorithms, c.Prefer, c.Denied)); err != nil {
		return Result{}, fmt.Errorf("send request: %w", printable.Error(err))
	}
	reader := NewReader(conn, record.ResponseLimits)
	defer reader.Wipe()
	msg, err := reader.Next()
	if err == nil && reader.Surplus() > 0 {
		err = record.Trailing
	}
	if errors.Is(err, io.EOF) {
		err = record.Truncated // an answer is owed, so an orderly end is none
	}
	if err != nil {
		return Result{}, fmt.Errorf("read response: %w", printable.Error(err))
	}
	resp, fault := record.ParseResponse(msg, record.Offer{Protocols: []record.Protocol{record.NTPv4}, Algorithms: c.Algorithms})
	switch {
	case fault == record.PeerError:
		return Result{}, fmt.Errorf("key exchange response: %w: %v", fault, resp.Code)
	case fault != record.None:
		return Result{}, fmt.Errorf("key exchange response: %w", fault)
	}
	cs := conn.ConnectionState()
	session, err := startSession(&cs, &resp)
	if err != nil {
		return Result{}, err
	}
	return result(conn, c, &resp, session), nil
}

// startSession exports the keys and copies the cookies out of the message.
func startSession(cs *tls.ConnectionState, resp *record.Response) (*nts.Session, error) {
	first, alternate, two := nts.ClientContexts(resp.Algorithm, resp.CompliantExport)
	keys, err := ExportKeys(cs, resp.Protocol, resp.Algorithm, first)
	if err != nil {
		return nil, err
	}
	leaf := cs.PeerCertificates[0] // there is one: the handshake verified it
	p := nts.SessionParams{Keys: keys, NotBefore: leaf.NotBefore, NotAfter: leaf.NotAfter}
	if two {
		other, err := ExportKeys(cs, resp.Protocol, resp.Algorithm, alternate)
		if err != nil {
			return nil, err
		}
		p.Alternate = &other
	}
	for _, cookie := range resp.Cookies {
		p.Cookies = append(p.Cookies, append([]byte(nil), cookie...))
	}
	session, err := nts.NewSession(p)
	if err != nil {
		return nil, fmt.Errorf("start NTS session: %w", err)
	}
	return session, nil
}

// result fills in what the answer leaves to be assumed.
func result(conn net.Conn, c *ClientConfig, resp *record.Response, s *nts.Session) Result {
	r := Result{Session: s, Server: resp.Server, ServerGiven: resp.Server != "", Port: resp.Port, Algorithm: resp.Algorithm}
	if !r.ServerGiven {
		r.Server = c.Address
	}
	if r.Port == 0 {
		r.Port = ntp.Port // the answer has no Port record (RFC 8915 §4.1.8)
	}
	if a, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		r.Remote = a.AddrPort().Addr().Unmap()
	}
	return r
}
