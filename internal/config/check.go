package config

import (
	"fmt"

	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/server"
)

// check looks at what only shows across tables (docs/rules/configuration.md#warnings, row F05).
func (l *loader) check(c *Config, sync *table) {
	if l.blocks == 0 {
		l.warnings = append(l.warnings, Warning{Info: true, Problem: Problem{File: l.file, What: "there are no sources, the clock is not steered"}})
	}
	if c.Synchronization.Clock == ClockVirtual && !c.Synchronization.ClockControl {
		l.warn(sync.node.children["clock"].val, "synchronization.clock", "a virtual clock is steered all the same, clock-control = false is for the system clock", "remove one of them")
	}
	if s := &c.Synchronization; s.NTSBootstrap && s.Clock == ClockSystem && !s.ClockControl {
		l.warn(sync.node.children["nts-bootstrap"].key, "synchronization.nts-bootstrap", "has no effect on a clock that is not set", "remove it or clock-control = false")
	}
	for _, ke := range c.KEServers {
		l.checkKE(c, &ke)
	}
}

// checkSources compares the sources with the agreement that is asked for. A number that the file itself asks
// for and can never have is an error. The default of 3 with fewer sources is a warning, because files of
// every 1.x era must load, the seed's example with two pool sources included.
func (l *loader) checkSources(c *Config, sync *table) {
	const key = "minimum-agreeing-sources"
	need := c.Synchronization.Algorithm.MinimumAgreeing
	if l.blocks == 0 || l.possible >= need {
		return
	}
	what := fmt.Sprintf("%d sources must agree and at most %d can", need, l.possible)
	remedy := fmt.Sprintf("lower it to %d or add sources", l.possible)
	if n := sync.node.children[key]; n != nil {
		if l.possible == 0 {
			remedy = "add sources"
		}
		l.problem(n.val, sync.name(key), what, remedy)
		return
	}
	l.warn(sync.node.key, sync.name(key), what+", the clock will not be steered", fmt.Sprintf("write %s = %d or add sources", key, l.possible))
}

// checkKE warns of keys for an NTP server that is not there: clients are sent to this host unless ntp-server
// names another.
func (l *loader) checkKE(c *Config, ke *KEServer) {
	port := ke.NTPPort
	if port == 0 {
		port = ntp.Port
	}
	if ke.NTPServer != "" {
		return
	}
	for _, s := range c.Servers {
		if s.Listen.Port() == port && s.Responder.Versions&server.VersionSet(4) != 0 {
			return
		}
	}
	l.fileWarning(fmt.Sprintf("nts-ke-server %v sends clients to port %d of this host, where no [[server]] answers version 4", ke.Listen, port),
		"add one, or write ntp-server and ntp-port")
}
