//go:build !unix

package member

import "net"

// nothingToRead cannot look into a socket here: the first write or read on the connection will tell.
func nothingToRead(net.Conn) bool { return true }
