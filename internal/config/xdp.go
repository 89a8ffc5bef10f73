package config

import "ntp-daemon/internal/server"

// longestInterface is the longest name of a network interface (netdevice(7), IFNAMSIZ with its closing zero).
const longestInterface = 15

// xdp reads the key of that name, once the other keys of the server are known. What the program in the kernel cannot do is
// refused with it: it would answer whom the daemon does not.
func (t *table) xdp(s *Server) {
	const key = "xdp"
	if !t.text(key, "eth0", &s.XDP) {
		return
	}
	refuse := func(what, remedy string) { t.fail(key, t.node.children[key], what, remedy) }
	switch {
	case s.XDP == "" || len(s.XDP) > longestInterface:
		refuse(quote(s.XDP)+" is no name of a network interface", `write a name as ip link shows it, as "eth0"`)
	case s.RateLimitSlots > 0 && s.RateLimitSpacing > 0:
		refuse("cannot be had together with a rate limit, which the network driver does not know", "remove one of them")
	case s.Responder.RequireNTS != server.Allow:
		refuse("answers requests without NTS, which require-nts refuses", "remove one of them")
	}
}

// checkXDP looks at what spans tables: the daemon's clock must be the kernel's, and ntp-xdp must find the daemon.
func (l *loader) checkXDP(c *Config, servers []*table) {
	for i := range c.Servers {
		if c.Servers[i].XDP == "" {
			continue
		}
		t := servers[i]
		switch {
		case c.Synchronization.Clock == ClockVirtual:
			t.fail("xdp", t.node.children["xdp"], "reads the system's clock, and this daemon serves a virtual one", "remove one of them")
		case c.Process.XDPPath == "":
			t.fail("xdp", t.node.children["xdp"], "needs a socket for ntp-xdp", `write xdp-path = "/run/ntp-daemon/xdp" in [process]`)
		}
	}
}
