package accept

import (
	"context"
	"net"
	"net/netip"
	"time"
)

// keepAlive finds peers that vanished without closing (nts-pool.md E10).
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 10 * time.Second, Count: 3}

// Listen opens a TCP listener for Serve. Multipath TCP is off: Go would ask for it, and NTS gains nothing from
// a second code path in the kernel (libraries.md 15). The backlog is the system's somaxconn.
func Listen(ctx context.Context, address string) (net.Listener, error) {
	lc := net.ListenConfig{KeepAliveConfig: keepAlive}
	lc.SetMultipathTCP(false)
	network := "tcp"
	if ap, err := netip.ParseAddrPort(address); err == nil && ap.Addr().Is4() {
		network = "tcp4" // with "tcp", Go would open 0.0.0.0 as [::], for both families
	}
	return lc.Listen(ctx, network, address)
}

// Dialer is the counterpart for clients: the same settings for connections that we open.
func Dialer() *net.Dialer {
	d := &net.Dialer{KeepAliveConfig: keepAlive}
	d.SetMultipathTCP(false)
	return d
}
