package accept

import (
	"net"
	"testing"
)

// TestListen_Family: what the operator writes is what is opened.
func TestListen_Family(t *testing.T) {
	for address, want4 := range map[string]bool{"0.0.0.0:0": true, "127.0.0.1:0": true, "[::]:0": false} {
		ln, err := Listen(t.Context(), address)
		if err != nil {
			t.Skipf("%s: %v", address, err) // a host without IPv6
		}
		if got := ln.Addr().(*net.TCPAddr).AddrPort().Addr(); got.Is4() != want4 {
			t.Errorf("%s opened as %v", address, ln.Addr())
		}
		_ = ln.Close()
	}
}
