package config

import (
	"slices"
	"strings"
)

// everyTable opens each table that the loader reads only when it is there, so that its keys are seen. The values
// are of no interest; most of them are missing or wrong.
const everyTable = everySource + `
[[source]]
mode = "nts"
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
` + everyMonitor

// everyMonitor is what both formats of nts-pool-ke have.
const everyMonitor = `
[monitor]
` + everySource

// everySource is the sources that both programs have.
const everySource = `
[[source]]
mode = "server"
ntp_version = 4
[[source]]
mode = "server"
[[source]]
mode = "pool"
[[source]]
mode = "nts-pool"
`

// everyPublicTable is the same in the format of the public pool.
const everyPublicTable = `
[server]
[backend]
` + everyMonitor

// topOfFile is where keys stand that are in no table.
const topOfFile = "the top of the file"

// place is a key and the table that it belongs to, as a file has it: [keyset], [[source]], topOfFile.
type place struct{ table, key string }

// everyDaemonKey returns every key that a configuration of ntp-daemon may hold. It asks the loader, which is the one who knows.
func everyDaemonKey() map[place]bool {
	keys := seenBy(func(l *loader) { l.config([]byte(everyTable)) })
	delete(keys, place{topOfFile, poolTable}) // known in order to say where it belongs
	return keys
}

// everyPoolKey is everyDaemonKey for nts-pool-ke.
func everyPoolKey() map[place]bool {
	return seenBy(func(l *loader) { _, _, _ = l.pool([]byte(everyPoolTable)) }) // only the keys matter
}

// everyPublicKey is the same for the format of the public pool.
func everyPublicKey() map[place]bool {
	return seenBy(func(l *loader) { _, _, _ = l.pool([]byte(everyPublicTable)) })
}

// seenBy lets a loader read a file and returns the keys that it asked for.
func seenBy(read func(*loader)) map[place]bool {
	l := newLoader("", false)
	l.seen = map[place]bool{}
	read(l)
	return l.seen
}

// otherTables names the tables that have a key which is none of the table at header; empty: no other has it.
func (l *loader) otherTables(header, key string) string {
	if l.seen != nil || l.everyKey == nil {
		return ""
	}
	if l.homes == nil {
		l.homes = map[string][]string{}
		for k := range l.everyKey() {
			l.homes[k.key] = append(l.homes[k.key], k.table)
		}
	}
	tables := slices.DeleteFunc(slices.Clone(l.homes[key]), func(t string) bool { return t == header })
	slices.Sort(tables)
	if last := len(tables) - 1; last > 0 {
		return strings.Join(tables[:last], ", ") + " or " + tables[last]
	}
	return strings.Join(tables, "")
}
