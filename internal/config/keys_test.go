package config

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"ntp-daemon/internal/suite"
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
[monitor]
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
`

// daemonKeys returns every key that a configuration of ntp-daemon may hold, as dotted paths without the brackets of
// arrays, sorted.
func daemonKeys() []string {
	l := newLoader("", false)
	l.seen = map[string]bool{}
	l.config([]byte(everyTable))
	delete(l.seen, poolTable) // known in order to say where it belongs
	return slices.Sorted(maps.Keys(l.seen))
}

// poolKeys is daemonKeys for nts-pool-ke.
func poolKeys() []string {
	l := newLoader("", false)
	l.seen = map[string]bool{}
	_, _, _ = l.pool([]byte(everyPoolTable)) // only the keys matter
	public := newLoader("", false)
	public.seen = l.seen
	_, _, _ = public.pool([]byte(everyPublicTable))
	return slices.Sorted(maps.Keys(l.seen))
}

// TestKeys checks that keys of every depth are listed, and that no foreign or made-up one is.
func TestKeys(t *testing.T) {
	keys, pool := daemonKeys(), poolKeys()
	for _, want := range []string{
		"source", "source.mode", "source.count", "source.ntp_version", "source.poll-interval-limits.min",
		"source.measurement_noise_estimate", "source.period", "server.denylist.filter", "keyset.stale-key-count",
		"synchronization.algorithm.step-threshold", "synchronization.single-step-panic-threshold.forward",
		"clock.enable-timestamps.rx-hardware", "observability.control-path", "state.directory",
		"nts-ke-server.accepted-pool-authentication-tokens",
	} {
		if !slices.Contains(keys, want) {
			t.Errorf("%s is missing", want)
		}
	}
	for _, want := range []string{"nts-pool-ke-server.listen", "nts-pool-ke-server.key-exchange-servers.token-file", "observability.log-level"} {
		if !slices.Contains(pool, want) {
			t.Errorf("pool: %s is missing", want)
		}
	}
	for _, foreign := range []string{"peer", "nts-pool-ke-server", ""} {
		if slices.Contains(keys, foreign) {
			t.Errorf("%q is no key of ntp-daemon", foreign)
		}
	}
}

// TestKeys_Lists keeps the lists of all keys that the documentation's tests compare with the manual pages. With
// UPDATE_GOLDEN set it writes them.
func TestKeys_Lists(t *testing.T) {
	for path, keys := range map[string][]string{"testdata/keys.txt": daemonKeys(), "testdata/poolkeys.txt": poolKeys()} {
		suite.Golden(t, path, strings.Join(keys, "\n")+"\n")
	}
}
