package accept

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"time"
)

// keepAlive finds peers that vanished without closing (docs/rules/key-exchange.md#keep-alive-probes).
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 10 * time.Second, Count: 3}

// Listen opens a TCP listener for Serve. Multipath TCP is off: Go would ask for it, and NTS gains nothing from
// a second code path in the kernel (docs/rules/key-exchange.md#multipath). The backlog is the system's somaxconn.
func Listen(ctx context.Context, address string) (net.Listener, error) {
	lc := net.ListenConfig{KeepAliveConfig: keepAlive}
	lc.SetMultipathTCP(false)
	network := "tcp"
	if ap, err := netip.ParseAddrPort(address); err == nil && ap.Addr().Is4() {
		network = "tcp4" // with "tcp", Go would open 0.0.0.0 as [::], for both families
	}
	return lc.Listen(ctx, network, address)
}

// Adopt gives the connections of a listener that another process opened the settings of Listen's.
func Adopt(ln *net.TCPListener) net.Listener { return &adopted{ln} }

type adopted struct{ *net.TCPListener }

// Accept accepts.
func (l *adopted) Accept() (net.Conn, error) {
	c, err := l.AcceptTCP()
	if err != nil {
		return nil, err
	}
	_ = c.SetKeepAliveConfig(keepAlive) // of a connection that is gone already
	return c, nil
}

// Dial is the counterpart for clients: the same settings for connections that we open. A name that RFC 6761 §6.3 ties
// to the loopback addresses needs neither a hosts file nor a name server; 127.0.0.1 is asked first.
func Dial(ctx context.Context, network, address string) (net.Conn, error) {
	d := &net.Dialer{KeepAliveConfig: keepAlive}
	d.SetMultipathTCP(false)
	host, port, err := net.SplitHostPort(address)
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if err != nil || host != "localhost" && !strings.HasSuffix(host, ".localhost") {
		return d.DialContext(ctx, network, address)
	}
	conn, err := d.DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
	if err == nil {
		return conn, nil
	}
	if conn6, err6 := d.DialContext(ctx, network, net.JoinHostPort("::1", port)); err6 == nil {
		return conn6, nil
	}
	return nil, err
}
