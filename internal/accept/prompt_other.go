//go:build !linux

package accept

import "syscall"

// quickAck does nothing: other systems have no such option.
func quickAck(syscall.RawConn) {}
