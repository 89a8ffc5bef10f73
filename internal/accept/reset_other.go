//go:build !unix

package accept

import "syscall"

// awaitReset cannot look at a socket without reading here: the next write will tell.
func awaitReset(syscall.RawConn) error { return nil }

// pendingReset cannot either.
func pendingReset(syscall.RawConn) error { return nil }
