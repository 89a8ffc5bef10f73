package poolke

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/rs/zerolog"

	"ntp-daemon/internal/accept"
	"ntp-daemon/internal/handover"
	"ntp-daemon/internal/program"
)

// The names under which sockets are passed from one process to the next. Whatever else a socket unit passes is for users:
// without FileDescriptorName= its name is that of the unit.
const (
	usersSocket       = "listen"
	observationSocket = "observation"
	adminSocket       = "admin"
	handoverSocket    = "handover"
)

// sockets are what the pool listens on. Those that other processes opened for it wait here until they are asked for.
type sockets struct {
	mu      sync.Mutex
	waiting []handover.Socket
	open    []handover.Socket // in use, for a successor
}

// take removes the waiting sockets that are meant, in their order.
func (s *sockets) take(meant func(*handover.Socket) bool) (list []handover.Socket) {
	s.waiting = slices.DeleteFunc(s.waiting, func(h handover.Socket) bool {
		if meant(&h) {
			list = append(list, h)
			return true
		}
		return false
	})
	return list
}

// get is the operator's socket of that name: one that waits and fits, else what open makes. What a socket unit passes fits.
func (s *sockets) get(name string, fits func(*handover.Socket) bool, open func() (net.Listener, error)) (net.Listener, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	own := handover.Socket{Name: name}
	for _, h := range s.take(func(h *handover.Socket) bool { return h.Name == name }) {
		if own.Listener == nil && (h.Origin == handover.Unit || fits(&h)) {
			own = h
		} else {
			_ = h.Close()
		}
	}
	if own.Listener == nil {
		ln, err := open()
		if err != nil {
			return nil, err
		}
		own.Listener = ln
	}
	unlink(own.Listener, own.Origin != handover.Unit)
	s.open = slices.DeleteFunc(s.open, func(h handover.Socket) bool { return h.Name == name })
	s.open = append(s.open, own)
	return own.Listener, nil
}

// unlink says whether the path of a Unix socket goes with it; it stays for a successor.
func unlink(ln net.Listener, yes bool) {
	if u, ok := ln.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(yes)
	}
}

// atPath is what fits for a Unix socket.
func atPath(path string) func(*handover.Socket) bool {
	return func(h *handover.Socket) bool {
		a, ok := h.Addr().(*net.UnixAddr)
		return ok && a.Name == path
	}
}

// given are those that a successor gets.
func (s *sockets) given() []handover.Socket {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.open)
}

// leave keeps the paths of Unix sockets for the successor, which has them now.
func (s *sockets) leave() {
	for _, h := range s.given() {
		unlink(h.Listener, false)
	}
}

// stay has the paths of Unix sockets go with this process again, because the successor did not come so far.
func (s *sockets) stay() {
	for _, h := range s.given() {
		unlink(h.Listener, h.Origin != handover.Unit)
	}
}

// closeRest closes what nobody has asked for.
func (s *sockets) closeRest() {
	s.mu.Lock()
	defer s.mu.Unlock()
	handover.CloseAll(s.waiting)
	s.waiting = nil
}

// listen gets the sockets for users, at least one: of those that other processes opened the ones of the first origin that has
// any, in the order of handover.Origin, else a new one at the configured address.
func (p *Pool) listen(ctx context.Context, at netip.AddrPort) ([]handover.Socket, error) {
	s := &p.sockets
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []handover.Socket
	ranked := slices.SortedStableFunc(slices.Values(s.take(forUsers)), func(a, b handover.Socket) int { return cmp.Compare(a.Origin, b.Origin) })
	for _, h := range ranked {
		t, tcp := h.Listener.(*net.TCPListener)
		if !tcp || len(list) > 0 && list[0].Origin != h.Origin || h.Origin != handover.Unit && !h.At(at) {
			p.log.Warn().Str("origin", h.Origin.String()).Str("socket", h.Name).Str("address", h.Addr().String()).Str("listen", at.String()).
				Msg("this socket is not what listen says, it is closed")
			if h.Origin == handover.Store {
				p.deps.Manager.Forget(h.Name)
			}
			_ = h.Close()
			continue
		}
		if !h.At(at) {
			p.log.Warn().Str("socket", h.Name).Str("address", h.Addr().String()).Str("listen", at.String()).
				Msg("the socket unit says where to listen, and listen of the configuration is not used")
		}
		h.Listener = accept.Adopt(t)
		list = append(list, h)
	}
	if len(list) == 0 {
		ln, err := p.deps.Listen(ctx, at.String())
		if err != nil {
			return nil, program.Bound(fmt.Errorf("listen on %s: %w", at, err), "listen")
		}
		list = []handover.Socket{{Listener: ln, Name: usersSocket}}
	}
	for i := range list {
		list[i].Name = usersSocket // a successor need not know the unit
		s.open = append(s.open, list[i])
	}
	return list, nil
}

// forUsers tells the sockets for users from the operator's.
func forUsers(h *handover.Socket) bool {
	return h.Name != observationSocket && h.Name != adminSocket && h.Name != handoverSocket
}

// keep leaves the users' sockets with the service manager, for the process after this one; those of a socket unit are there.
func (p *Pool) keep(list []handover.Socket) {
	for i := range list {
		if list[i].Origin == handover.Unit {
			continue
		}
		if err := p.deps.Manager.Keep(&list[i]); err != nil {
			p.log.Debug().Str("e", err.Error()).Msg("the service manager does not keep the listening socket")
		}
	}
}

// addresses is where users' sockets are, as the log of the first pool has it: as configured, with the port that the system
// chose if it was 0, or as the socket unit says.
func addresses(list []handover.Socket, at netip.AddrPort) string {
	var text []string
	for i := range list {
		address := list[i].Addr().String()
		if list[i].At(at) && at.Port() != 0 {
			address = at.String()
		}
		text = append(text, address)
	}
	return strings.Join(text, ", ")
}

// serveUsers accepts on all sockets until ctx ends or one of them is lost, and returns when every user is done.
func serveUsers(ctx context.Context, loop *accept.Loop, list []handover.Socket) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ends := make(chan error, len(list))
	for i := range list {
		go func() {
			err := loop.Serve(ctx, list[i])
			cancel()
			ends <- err
		}()
	}
	var first error
	for range list {
		if err := <-ends; first == nil {
			first = err
		}
	}
	return first
}

// logOrigin says where sockets came from, when it is not this process.
func logOrigin(log *zerolog.Logger, list []handover.Socket) {
	for i := range list {
		if list[i].Origin != handover.Opened {
			log.Info().Str("origin", list[i].Origin.String()).Str("address", list[i].Addr().String()).Msg("the listening socket is another process's")
		}
	}
}
