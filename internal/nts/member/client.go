package member

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"ntp-daemon/internal/accept"
	"ntp-daemon/internal/nts"
	"ntp-daemon/internal/nts/aead"
	"ntp-daemon/internal/nts/ke"
	"ntp-daemon/internal/nts/record"
	"ntp-daemon/internal/pool"
	"ntp-daemon/internal/secret"
)

// Defaults of a pool's connection to a time source (docs/rules/pool.md#limits).
const (
	DefaultConnectTimeout = time.Second             // TCP; a black hole must not cost a user more
	DefaultAnswerTimeout  = 2500 * time.Millisecond // one request, and everything after keys went out; TLS has four fifths of it
	idleTime              = 240 * time.Second       // below the 300 s after which time sources hang up
	maxAge                = time.Hour               // nobody stays connected for ever
	maxKept               = 2                       // time sources keep 5 (chrony's fork) to 51 connections in all
	maxAlone              = 64                      // half of what our own server lets one address have by default
	lookAhead             = time.Minute             // a kept connection that ends within it is replaced before a user needs it
	leastPatience         = 100 * time.Millisecond  // for a connection in use: near ones come free sooner, unless they hang
	requestSize           = 512                     // a token of 256 bytes, keys of 128 and what belongs to them
	dialectMemory         = 24 * time.Hour          // how long a detected dialect is believed (docs/rules/pool.md#dialect-detection)
)

// Reasons why a time source cannot be used by the pool.
var (
	ErrDialect = errors.New("time source understands none of the pool's requests")
	// ErrCertificate is what a certificate that was renewed leads to.
	ErrCertificate = errors.New("the time source does not know this pool's certificate: " +
		"give it the one in use (authorized-pool-server-certificates there), or agree on a token")
	ErrRefused = errors.New("time source rejects the pool's token or certificate")
	// ErrCrowded says nothing about the time source: the pool has more to do than its connections can take.
	ErrCrowded = errors.New("all connections are in use")
	ErrALPN    = errors.New("time source did not choose ALPN ntske/1, so it gets no token")
	errAnswer  = errors.New("time source gave an unusable answer")
)

// Config describes one time source to the pool that distributes its cookies.
type Config struct {
	pool.Backend

	// Roots is asked at every connection whom the time source's chain must lead to, and Untrusted is told why a TLS
	// handshake failed, so that roots can be read again. nil: the system's roots, and nobody.
	Roots     func() (*x509.CertPool, error)
	Untrusted func(error)

	Certificate func() *tls.Certificate // presented whenever the time source asks; nil: none

	Time func() time.Time // for certificates; nil: the system clock
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Lookup finds the addresses of Domain, if Addresses is empty. nil: the system's resolver, or none if Dial is set,
	// which is then given the name.
	Lookup func(ctx context.Context, name string) ([]netip.Addr, error)
	// Failed, if not nil, hears of an address that could not be used while another one is left to be tried.
	Failed func(error)

	ConnectTimeout, AnswerTimeout time.Duration // 0: the defaults
	IdleTime, MaxAge              time.Duration // how long a connection is kept unused, and at all; 0: the defaults
}

// Support is what a time source said it can do, and how it wants to be spoken to.
type Support struct {
	Dialect    record.Dialect
	Protocols  []record.Protocol
	Algorithms []aead.Algorithm // only those whose key size, by our own table, the time source states (P04)
	token      secret.Bytes     // the one that was accepted; nil in the certificate dialect
}

// Format hides the token from every verb.
func (s Support) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "%v, protocols %v, algorithms %v", s.Dialect, s.Protocols, s.Algorithms)
}

// Client speaks to one time source for a pool. Two kinds of request exist. An information request
// (Supports) asks what the time source can do and finds out its dialect, in the order of
// detectionOrder, with each token in turn. A fixed key request (FixedKey) carries a user's keys in
// the dialect that was found. Each takes an idle connection or opens one, writes one message, reads
// one, and gives the connection back if the time source granted Keep Alive and nothing else arrived;
// after any error the connection is closed. Safe for concurrent use.
//
// On no connection of a Client are keys exported: the TLS state stays inside conn, because a
// connection that carried Keep Alive must never yield keys of its own (draft-venhoek-nts-pool).
type Client struct {
	cfg   Config
	tls   *tls.Config
	meter meter

	// places are the kept connections that are in use; together with the idle ones never more than fit in, but for one that is being replaced.
	places chan struct{}
	// alone are the connections that serve one request each.
	alone chan struct{}

	mu       sync.Mutex
	idle     []*conn // kept connections, the latest used last
	closed   bool
	failed   map[string]time.Time // addresses, host:port, whose last connection failed, and when
	known    Support              // the detected dialect and its token; only those two are used
	until    time.Time
	nameless time.Time // it does not know the question for names; believed until then
	named    bool      // it answered that question
	notAfter time.Time // end of the certificate that it showed last

	refusals     int       // of Keep Alive, in a row
	oneShot      time.Time // taken until then for one that keeps no connections
	sessions     tls.ClientSessionCache
	sessionRoots *x509.CertPool // that sessions began with
}

// New prepares for a time source without connecting to it.
func New(c Config) *Client {
	if c.ConnectTimeout <= 0 {
		c.ConnectTimeout = DefaultConnectTimeout
	}
	if c.AnswerTimeout <= 0 {
		c.AnswerTimeout = DefaultAnswerTimeout
	}
	if c.IdleTime <= 0 {
		c.IdleTime = idleTime
	}
	if c.MaxAge <= 0 {
		c.MaxAge = maxAge
	}
	if c.Dial == nil {
		c.Dial = accept.Dial
		if c.Lookup == nil {
			c.Lookup = systemLookup
		}
	}
	kept := c.MaxConnections
	if kept <= 0 {
		kept = maxKept
	}
	return &Client{cfg: c, tls: clientTLS(&c), places: make(chan struct{}, kept), alone: make(chan struct{}, maxAlone)}
}

// String is domain:port.
func (m *Client) String() string {
	return m.cfg.Backend.String()
}

// Close gives up the kept connections. Requests under way end by themselves.
func (m *Client) Close() {
	m.mu.Lock()
	idle := m.idle
	m.idle, m.closed = nil, true
	m.mu.Unlock()
	for _, c := range idle {
		c.close()
	}
}

// FixedKey asks for cookies for a user's keys, over a kept connection if there is one. take is
// called when the connection stands and right before the keys go out; an error of it ends the
// request. If a kept connection turns out dead before the first byte of an answer, take is called
// once more and the request repeated on a fresh connection to this same time source, inside the
// one answer timeout that began with the first send (row P05).
func (m *Client) FixedKey(ctx context.Context, s Support, p record.Protocol, take func() (nts.Keys, error)) (record.Response, error) {
	m.meter.inFlight.Add(1)
	defer m.meter.inFlight.Add(-1)
	c, err := m.connection(ctx, false)
	if err != nil {
		return record.Response{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, m.cfg.AnswerTimeout)
	defer cancel()
	resp, err := m.fixedKey(ctx, c, s, p, take)
	if !errors.Is(err, errStale) {
		return resp, err
	}
	if c, err = m.connection(ctx, true); err != nil {
		return record.Response{}, err
	}
	return m.fixedKey(ctx, c, s, p, take)
}

// fixedKey makes the request on one connection and keeps or closes it.
func (m *Client) fixedKey(ctx context.Context, c *conn, s Support, p record.Protocol, take func() (nts.Keys, error)) (record.Response, error) {
	if !c.alpn && s.Dialect != record.Cert4000 {
		m.drop(c)
		return record.Response{}, ErrALPN
	}
	keys, err := take()
	if err != nil {
		m.put(c)
		return record.Response{}, err
	}
	req := record.Request{
		Kind: record.FixedKey, Dialect: s.Dialect, Token: s.token, KeepAlive: c.placed,
		Protocols: []record.Protocol{p}, Algorithms: []aead.Algorithm{keys.Algorithm},
		Keys: append(append(make(secret.Bytes, 0, len(keys.C2S)+len(keys.S2C)), keys.C2S...), keys.S2C...),
	}
	wire := req.Append(make([]byte, 0, requestSize))
	msg, err := m.roundTrip(ctx, c, wire)
	req.Keys.Wipe()
	clear(wire)
	if err != nil {
		m.drop(c)
		return record.Response{}, fmt.Errorf("request cookies from %s: %w", m, named(err))
	}
	resp, fault := record.ParseFixed(msg, record.Offer{Protocols: req.Protocols, Algorithms: req.Algorithms})
	if fault != record.None {
		m.drop(c)
		m.forget()
		err := faultWithCode(fault, resp.Code)
		if s.Dialect == record.Cert4000 && faultVerdict(fault, resp.Code) == unknown {
			err = fmt.Errorf("%w: %w", ErrCertificate, err) // it answered the question for lists, so it knows the dialect
		}
		return record.Response{}, fmt.Errorf("cookies from %s: %w", m, err)
	}
	m.release(c, resp.KeepAlive)
	return resp, nil
}

// CodeError is the error that a time source answered with.
type CodeError struct{ Code record.ErrorCode }

// Error names the code.
func (e *CodeError) Error() string { return fmt.Sprintf("%v: %v", record.PeerError, e.Code) }

// Unwrap is record.PeerError.
func (e *CodeError) Unwrap() error { return record.PeerError }

// faultWithCode adds the code to an error that the time source reported.
func faultWithCode(f record.Fault, code record.ErrorCode) error {
	if f == record.PeerError {
		return &CodeError{code}
	}
	return f
}

// clientTLS is the pool's side of TLS towards a time source: chain and name verified, weak keys
// refused, our certificate shown to whoever asks (crypto/tls on its own withholds it if the time
// source's hints do not match).
func clientTLS(c *Config) *tls.Config {
	conf := ke.ClientTLS(c.Domain, nil, c.Time)
	conf.VerifyConnection = checkKey
	conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		if c.Certificate != nil {
			if cert := c.Certificate(); cert != nil {
				return cert, nil
			}
		}
		return &tls.Certificate{}, nil
	}
	return conf
}
