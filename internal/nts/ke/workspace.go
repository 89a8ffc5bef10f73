package ke

import (
	"sync"

	"ntp-daemon/internal/nts"
)

// workspace is memory that a request takes while it is read and answered. Made for each, it would be a quarter of the garbage
// of an exchange, and the collector's work with it. It is used by one connection at a time.
type workspace struct {
	sealer  *nts.Sealer
	request []byte   // what the Reader begins with
	reply   []byte   // the answer
	cookies []byte   // all cookies of the answer
	list    [][]byte // where they are
}

// workspaces keeps those that nobody uses, until a collection or two. The zero value is ready. Safe for concurrent use.
type workspaces struct{ spare sync.Pool }

// take is a workspace without content.
func (p *workspaces) take() *workspace {
	if w, ok := p.spare.Get().(*workspace); ok {
		return w
	}
	return &workspace{sealer: nts.NewSealer()}
}

// put takes one back. Nothing of the keys that were in it is left; the caller has wiped the request.
func (p *workspaces) put(w *workspace) {
	w.sealer.Forget()
	if cap(w.request) > firstBuffer {
		w.request = nil // one long message is no reason to keep room for the next
	}
	clear(w.list)
	w.request, w.reply, w.cookies, w.list = w.request[:0], w.reply[:0], w.cookies[:0], w.list[:0]
	p.spare.Put(w)
}

// helloRooms keeps memory for the ClientHellos of a server's connections, as workspaces does. A nil one keeps nothing.
type helloRooms struct{ spare sync.Pool }

// take is room for a ClientHello.
func (p *helloRooms) take() *[helloBuffer]byte {
	if p != nil {
		if room, ok := p.spare.Get().(*[helloBuffer]byte); ok {
			return room
		}
	}
	return new([helloBuffer]byte)
}

// put takes room back.
func (p *helloRooms) put(room *[helloBuffer]byte) {
	if p != nil {
		p.spare.Put(room)
	}
}
