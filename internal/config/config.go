package config

// DefaultPath is the file that ntp-daemon and ntp-ctl read when none is named. The default state directory and
// observation socket apply with this path only, so that several daemons run on one host
// (docs/rules/configuration.md#own-path).
const DefaultPath = "/etc/ntp-daemon/ntp.toml"

// Config is the whole of a configuration of ntp-daemon. All values are inside their ranges and all defaults
// are filled in.
type Config struct {
	Path            string // the file, as it was named; empty after an absent DefaultPath
	Observability   Observability
	Sources         []Source
	Servers         []Server
	Keyset          Keyset
	KEServers       []KEServer
	Synchronization Synchronization
	State           State
	Process         Process

	examinations []examination
}
