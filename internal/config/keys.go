package config

import (
	"maps"
	"slices"
)

// everyTable opens each table that the loader reads only when it is there, so that its keys are seen. The values
// are of no interest; most of them are missing or wrong.
const everyTable = `
[[source]]
mode = "server"
ntp_version = 4
[[source]]
mode = "server"
[[source]]
mode = "pool"
[[source]]
mode = "nts"
[[source]]
mode = "nts-pool"
[[source]]
mode = "sock"
[[source]]
mode = "pps"
[[server]]
allowlist = { filter = [] }
denylist = { filter = [] }
[[nts-ke-server]]
[synchronization]
single-step-panic-threshold = {}
startup-step-panic-threshold = {}
[clock]
`

// everyPoolTable is the same for nts-pool-ke.
const everyPoolTable = `
[nts-pool-ke-server]
key-exchange-servers = [{}]
proxy-protocol = {}
`

// Keys returns every key that a configuration of ntp-daemon may hold, as dotted paths without the brackets of
// arrays, sorted. The documentation's tests compare them with the manual page.
func Keys() []string {
	l := newLoader("", false)
	l.seen = map[string]bool{}
	l.config([]byte(everyTable))
	delete(l.seen, poolTable) // known in order to say where it belongs
	return slices.Sorted(maps.Keys(l.seen))
}

// PoolKeys is Keys for nts-pool-ke.
func PoolKeys() []string {
	l := newLoader("", false)
	l.seen = map[string]bool{}
	_, _, _ = l.pool([]byte(everyPoolTable)) // only the keys matter
	return slices.Sorted(maps.Keys(l.seen))
}
