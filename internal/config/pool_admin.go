package config

import "net/netip"

// admin reads admin-listen: the address of the HTTP listener for operators. A port alone is one of this machine's loopback.
func (l *loader) admin(t *table, dst *netip.AddrPort) {
	const key, example = "admin-listen", "127.0.0.1:9976"
	if n := t.node.children[key]; n != nil && n.kind == kindInteger {
		var port int
		if t.integer(key, portRange, &port); port == 0 {
			return
		}
		*dst = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(port))
	} else {
		t.listen(key, example, dst)
	}
	if !dst.IsValid() {
		return
	}
	if !dst.Addr().Unmap().IsLoopback() {
		l.note(t.node.children[key].key, t.name(key), "is not on loopback: whoever reaches it reads the state of the pool and of its time sources, "+
			"without password or TLS; nothing of a user is in there", "")
	}
	l.listens(t, key, "tcp", *dst)
}
