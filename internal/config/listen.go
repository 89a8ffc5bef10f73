package config

import (
	"fmt"
	"net/netip"
)

// longestSocket is the longest path that the kernel takes for a Unix socket (unix(7), sun_path with its closing zero).
const longestSocket = 107

// listener is an address that a table asks for.
type listener struct {
	network string // "udp" or "tcp"
	address netip.AddrPort
	at      int // where it is written
}

// listens is claims for an address of this program, which is looked for on this machine.
func (l *loader) listens(t *table, key, network string, a netip.AddrPort) {
	if l.claims(t, key, network, a) {
		t.examine(key, examineListen(a))
	}
}

// claims notes an address that a table listens on, and refuses one that another table of the file has: of two servers one
// would get no packet, and of two listeners the second does not start. A TCP listener on all addresses has those of the
// others, too; servers on UDP are told apart by the kernel, the closest address first.
func (l *loader) claims(t *table, key, network string, a netip.AddrPort) bool {
	n := t.node.children[key]
	if !a.IsValid() || n == nil {
		return false
	}
	for _, o := range l.listeners {
		if o.network != network || !overlap(o.address, a, network == "tcp") {
			continue
		}
		line, _ := l.doc.position(o.at)
		what := fmt.Sprintf("%v is used in line %d too", a, line)
		if o.address != a {
			what = fmt.Sprintf("%v is part of %v in line %d", a, o.address, line)
			if a.Addr().IsUnspecified() {
				what = fmt.Sprintf("%v holds %v of line %d", a, o.address, line)
			}
		}
		t.fail(key, n, what, "remove one of them or change its port")
		return false
	}
	l.listeners = append(l.listeners, listener{network, a, n.val})
	return true
}

// overlap reports whether two sockets cannot both be had. All of IPv6 is all of IPv4, too.
func overlap(a, b netip.AddrPort, wildcards bool) bool {
	if a.Port() != b.Port() {
		return false
	}
	x, y := a.Addr().Unmap(), b.Addr().Unmap()
	all := func(w, o netip.Addr) bool { return w.IsUnspecified() && (w.Is6() || o.Is4()) }
	return x == y || wildcards && (all(x, y) || all(y, x))
}

// socket reads the path of a Unix socket.
func (t *table) socket(key, example string, dst *string) {
	if !t.file(key, example, dst) {
		return
	}
	if len(*dst) > longestSocket {
		t.fail(key, t.node.children[key], fmt.Sprintf("is a path of %d bytes, a socket can have %d", len(*dst), longestSocket), "choose a shorter one")
		return
	}
	t.examine(key, examineSocket(*dst))
}
