package ke

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"time"

	"github.com/rs/zerolog"

	"ntp-daemon/internal/accept"
	"ntp-daemon/internal/nts"
	"ntp-daemon/internal/nts/aead"
	"ntp-daemon/internal/nts/record"
	"ntp-daemon/internal/printable"
	"ntp-daemon/internal/secret"
)

// Defaults of ServerConfig.
const (
	serverTimeout     = 5 * time.Second   // one exchange, handshake included (rows KS10, KS13)
	requestTimeout    = 5 * time.Second   // kept connection: from the first byte of a request (docs/rules/pool.md#kept)
	idleTimeout       = 300 * time.Second // kept connection: between requests (docs/rules/pool.md#kept)
	maxAge            = time.Hour         // kept connection (docs/rules/pool.md#kept)
	maxRequests       = 100_000           // kept connection: then it is closed (docs/rules/pool.md#kept)
	maxRate           = 5000              // kept connection: requests per second, beyond which it is slowed (docs/rules/pool.md#kept)
	maxConnections    = 512               // ntpd-rs's default
	longLivedShare    = 10                // kept connections are a tenth of the others, as in ntpd-rs
	prefixShare       = 4                 // one prefix gets at most a quarter of the permits
	leastPrefix       = 16                // but never fewer than this
	threadNice        = 10                // below NTP: a tenth of its weight where both want the processor (sched(7))
	drainTimeout      = 2 * time.Second   // shutdown: what running exchanges get
	cookiesPerRequest = record.MaxCookies // RFC 8915 §4.1.6
)

// ServerConfig is what a time source's key exchange server needs. Certificate, KeySet and Rand are required;
// functions are called per handshake or request, so what they return can be replaced while the server runs.
// They must be safe for concurrent use.
type ServerConfig struct {
	Certificate func() *tls.Certificate
	KeySet      func() *nts.KeySet // the master keys that cookies are sealed with
	Rand        io.Reader          // for the nonces of cookies; safe for concurrent use

	// PoolLeaves are the DER forms of the certificates of pools (key authorized-pool-server-certificates). A
	// pool is known by exactly this leaf; neither chain, names nor dates matter. Client certificates are
	// asked for only if the list is not empty. Tokens are the other way for a pool to prove itself
	// (accepted-pool-authentication-tokens). With both empty or nil every pool request is refused.
	PoolLeaves func() [][]byte
	Tokens     func() []secret.Bytes

	// NTPServer and NTPPort go into the answers if set: where NTP is served, unless it is this address, 123.
	NTPServer string
	NTPPort   uint16
	// Names are the names that answers may carry, for pools that ask; nil means NTPServer if set, else none.
	Names func() []string
	// Algorithms are accepted; nil is all that are built. The client's order decides.
	Algorithms []aead.Algorithm
	// NoOldNumbers switches the pool dialects of before June 2026 off.
	NoOldNumbers bool

	Timeout        time.Duration // one exchange from accept to answer; 0 is 5 s
	MaxConnections int           // at one time; 0 is 512
	PerPrefix      int           // of them from one IPv4 address or IPv6 /64; 0 is a quarter, at least 16; negative no limit
	LongLived      int           // connections kept for pools; 0 is a tenth of MaxConnections, negative none

	// HandshakeCPU is the processor time that key exchange may take before handshakes have to wait, in percent of one
	// processor. On Linux it then has threads of its own, one for each whole processor and the rest, with a niceness
	// of 10. 0 is no limit and a goroutine for each connection, and one processor is left out.
	HandshakeCPU int
	// Nice is the niceness of those threads; 0 is 10, negative is that of the process.
	Nice int

	IdleTimeout time.Duration // kept connections: between requests; 0 is 300 s
	MaxAge      time.Duration // kept connections; 0 is 1 h. Up to a tenth is added at random, so that pools do not reconnect together
	MaxRequests int           // kept connections; 0 is 100000

	Log zerolog.Logger   // debug level only, apart from panics and accept errors
	Now func() time.Time // for certificates; nil is the system's clock
}

// Server answers key exchanges: one request per connection for clients, many for pools that proved themselves
// (docs/rules/pool.md#kept).
type Server struct {
	cfg        ServerConfig
	loop       *accept.Loop
	tls        *tls.Config
	gate       *Gate
	longLived  chan struct{} // one element per kept connection
	workspaces workspaces
	hellos     helloRooms
	counts     counts
}

// NewServer fills in the defaults.
func NewServer(c ServerConfig) *Server {
	orInt := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	orTime := func(v *time.Duration, d time.Duration) {
		if *v <= 0 {
			*v = d
		}
	}
	orTime(&c.Timeout, serverTimeout)
	orTime(&c.IdleTimeout, idleTimeout)
	orTime(&c.MaxAge, maxAge)
	orInt(&c.MaxRequests, maxRequests)
	orInt(&c.Nice, threadNice)
	orInt(&c.MaxConnections, maxConnections)
	orInt(&c.PerPrefix, max(leastPrefix, c.MaxConnections/prefixShare))
	orInt(&c.LongLived, max(1, c.MaxConnections/longLivedShare))
	if c.Algorithms == nil {
		c.Algorithms = []aead.Algorithm{aead.SIVCMAC256, aead.SIVCMAC512, aead.GCMSIV128, aead.SIVCMAC384}
	}
	s := &Server{cfg: c, gate: NewGate(0), longLived: make(chan struct{}, max(0, c.LongLived))}
	s.tls = s.tlsConfig()
	conf := accept.Config{
		Permits: c.MaxConnections, PerPrefix: max(0, c.PerPrefix),
		Drain: drainTimeout, Handle: s.handle, Log: c.Log,
	}
	if c.HandshakeCPU > 0 {
		conf.Threads, conf.Nice = Threads(c.HandshakeCPU), max(0, c.Nice)
		share := float64(c.HandshakeCPU) / float64(conf.Threads)
		conf.Turns = func() accept.Turns { return newDesk(share, c.Timeout/2, &s.counts.spent, &s.counts.held) }
	}
	s.loop = accept.New(conf)
	return s
}

// Threads is how many threads a server with this HandshakeCPU has.
func Threads(percent int) int { return (percent + 99) / 100 }

// tlsConfig asks for a client certificate only while there is a list to compare it with. The certificate is
// not verified at all: possession of its key is what TLS proves, and the list says whose key it is
// (docs/rules/pool.md#certificate-privilege).
func (s *Server) tlsConfig() *tls.Config {
	plain := ServerTLS(s.cfg.Certificate, s.cfg.Now)
	asking := plain.Clone()
	asking.ClientAuth, asking.GetConfigForClient = tls.RequestClientCert, nil
	byCurve, byCurveAsking := forCurves(plain), forCurves(asking)
	plain.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if s.cfg.PoolLeaves == nil || len(s.cfg.PoolLeaves()) == 0 {
			return byCurve(hello), nil
		}
		if c := byCurveAsking(hello); c != nil {
			return c, nil
		}
		return asking, nil
	}
	return plain
}

// Serve accepts connections on ln until ctx ends, then lets running exchanges finish for two seconds. The
// only error is a listener that became unusable. It may be called for several listeners; they share the
// limits.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error { return s.loop.Serve(ctx, ln) }

// Counters reads the counters.
func (s *Server) Counters() Counters {
	c := s.counts.read()
	c.Accept = s.loop.Counters()
	return c
}

// handle serves one connection.
func (s *Server) handle(ctx context.Context, c *accept.Conn) {
	start := time.Now()
	conn, outcome, err := s.handshake(c, start)
	if err != nil {
		s.done(c, outcome, err)
		return
	}
	x := newServerSession(s, c, conn)
	defer x.close()
	if !x.first(ctx, start.Add(s.cfg.Timeout)) {
		return
	}
	// The connection is a pool's from now on: it counts against the other limit.
	c.Release()
	x.keep(ctx, start)
}

// handshake shakes hands and demands ntske/1. The one exception are the pools of the seed era, which send no
// ALPN but a certificate that is listed (row KS11).
func (s *Server) handshake(c *accept.Conn, start time.Time) (*tls.Conn, Outcome, error) {
	gated := s.gated(c)
	finished := false
	defer func() { gated.Done(finished) }()
	// Not the handler's context: a shutdown lets handshakes finish, as it does exchanges. A deadline needs no goroutine.
	if err := gated.SetDeadline(start.Add(s.cfg.Timeout)); err != nil {
		return nil, HandshakeFailed, err
	}
	conn := tls.Server(gated, s.tls)
	if err := conn.HandshakeContext(context.Background()); err != nil {
		return nil, failedHandshake(c, err), err
	}
	cs := conn.ConnectionState()
	if err := CheckALPN(cs); err != nil && (cs.NegotiatedProtocol != "" || !s.listed(leafOf(&cs))) {
		_ = conn.Close()
		return nil, NoALPN, err
	}
	finished = true
	c.Advance()
	return conn, 0, nil
}

// gated puts a connection where handshakes wait for their turn.
func (s *Server) gated(c *accept.Conn) *GatedConn {
	gated := newGated(c, s.gate)
	if d, ok := c.Turns().(*desk); ok {
		gated.places = d
	}
	gated.rooms = &s.hellos
	return gated
}

// failedHandshake sorts the errors of a handshake.
func failedHandshake(c *accept.Conn, err error) Outcome {
	switch {
	case errors.Is(err, ErrOverBudget):
		return OverBudget
	case errors.Is(err, ErrLeft), c.Evicted():
		return CrowdedOut
	case accept.IsTimeout(err):
		return HandshakeTimeout
	}
	return HandshakeFailed
}

// done counts an outcome and, at debug level, says what happened. Peers can cause any number of these lines,
// hence the level.
func (s *Server) done(c *accept.Conn, o Outcome, err error) {
	s.counts.outcomes[o].Add(1)
	e := s.cfg.Log.Debug()
	if !e.Enabled() {
		return
	}
	e = e.Str("peer", c.Remote().String()).Str("outcome", o.String())
	if err != nil {
		e = e.Str("error", printable.Text(err.Error()))
	}
	e.Msg("key exchange")
}

// leafOf is the DER form of the first certificate the peer presented, nil without one.
func leafOf(cs *tls.ConnectionState) []byte {
	if len(cs.PeerCertificates) == 0 {
		return nil
	}
	return cs.PeerCertificates[0].Raw
}
