package program

import (
	"net"
	"net/netip"
	"time"

	"ntp-daemon/internal/config"
)

// AtStart keeps what a program says at its start of what Examine found. What keeps a part down is said by that part, again
// when it changes; so is an absent folder by who would store something in it; and the time of certificates is judged by the
// time that the program believes, which it does not know yet.
func AtStart(found []config.Warning) (list []config.Warning) {
	for _, w := range found {
		if row := w.Check.Check(); w.Info || row.Daemon == config.Told && w.Check != config.CheckCertificateTime && w.Check != config.CheckStateFolder {
			list = append(list, w)
		}
	}
	return list
}

// Machine is this machine as the checks of a configuration see it. Where the interfaces cannot be listed, nothing is said of
// listen addresses.
func Machine(now time.Time) config.Machine {
	m := config.Machine{Now: now}
	list, err := net.InterfaceAddrs()
	if err != nil {
		return m
	}
	for _, a := range list {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			m.Addresses = append(m.Addresses, p.Addr().WithZone("").Unmap())
		}
	}
	return m
}
