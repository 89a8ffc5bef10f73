//go:build !linux

package accept

import (
	"context"
	"net"
	"time"
)

// serveThreads is for systems with epoll; elsewhere goroutines serve, with everybody's priority.
func (l *Loop) serveThreads(context.Context, net.Listener) (ok bool, err error) { return false, nil }

// threadConn has no values here, so its methods are never called.
type threadConn struct{ patient bool }

func (c *Conn) threaded() *threadConn               { return nil }
func (c *threadConn) abort()                        {}
func (c *threadConn) resume()                       {}
func (c *threadConn) present() bool                 { return true }
func (c *threadConn) borrow() []byte                { return nil }
func (c *threadConn) giveBack([]byte)               {}
func (c *threadConn) writeMore([]byte) (int, error) { return 0, nil }
func (c *threadConn) park(parking, time.Time) error { return nil }
