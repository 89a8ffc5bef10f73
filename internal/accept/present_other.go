//go:build !linux

package accept

import "net"

// present cannot tell.
func present(net.Conn) bool { return true }
