package fastpath

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
)

// The faults of the socket that an operator can mend.
var (
	// ErrStranger says that the other end belongs to neither root nor our own user.
	ErrStranger = errors.New("belongs to another user: ntp-daemon and ntp-xdp run as the same user, or as root")
	// ErrOccupied says that the path has something that is not ours to remove.
	ErrOccupied = errors.New("exists and is in use, or no socket; change [process] xdp-path, or remove it")
)

// Listen makes the daemon's socket, for its own user only; a stale one is replaced. Its folder is made if only that is missing.
func Listen(path string) (*net.UnixListener, error) {
	if err := os.Mkdir(filepath.Dir(path), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("socket %s: %w; create the folder or change [process] xdp-path", path, err)
	}
	if err := removeStale(path); err != nil {
		return nil, fmt.Errorf("socket %s: %w", path, err)
	}
	old := syscall.Umask(0o177)
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	syscall.Umask(old)
	if err != nil {
		return nil, fmt.Errorf("socket %s: %w", path, err)
	}
	return ln, nil
}

// removeStale removes the socket of a process that is gone.
func removeStale(path string) error {
	st, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case st.Mode()&fs.ModeSocket == 0:
		return ErrOccupied
	}
	c, err := net.Dial("unix", path)
	if err == nil {
		_ = c.Close()
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return ErrOccupied
	}
	return os.Remove(path)
}

// Accept waits for ntp-xdp. An error that wraps ErrStranger concerns that connection only.
func Accept(ln *net.UnixListener) (*net.UnixConn, error) {
	c, err := ln.AcceptUnix()
	if err != nil {
		return nil, err
	}
	if err := trusted(c); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

// Dial connects to the daemon. A daemon that was started by root counts as root's, whoever it became.
func Dial(ctx context.Context, path string) (*net.UnixConn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("connect to ntp-daemon: %w; is it running, with xdp in a [[server]] and with this xdp-path?", err)
	}
	u := c.(*net.UnixConn)
	if err := trusted(u); err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("connect to ntp-daemon: socket %s: %w", path, err)
	}
	return u, nil
}

// trusted reports whether the other end is root's or our own user's.
func trusted(c *net.UnixConn) error {
	uid, err := peerUser(c)
	if err != nil {
		return fmt.Errorf("ask whose process the other end is: %w", err)
	}
	if uid != 0 && uid != os.Geteuid() {
		return fmt.Errorf("user %d: %w", uid, ErrStranger)
	}
	return nil
}
