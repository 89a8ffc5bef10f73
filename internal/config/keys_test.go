package config

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"ntp-daemon/internal/suite"
)

// daemonKeys returns every key that a configuration of ntp-daemon may hold, as dotted paths without the brackets of
// arrays, sorted.
func daemonKeys() []string { return paths(everyDaemonKey()) }

// poolKeys is daemonKeys for nts-pool-ke, in both of its formats.
func poolKeys() []string {
	keys := everyPoolKey()
	maps.Copy(keys, everyPublicKey())
	return paths(keys)
}

func paths(keys map[place]bool) []string {
	var list []string
	for k := range keys {
		list = append(list, strings.TrimPrefix(strings.Trim(k.table, "[]")+"."+k.key, topOfFile+"."))
	}
	slices.Sort(list)
	return slices.Compact(list)
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

// TestUnknownKey_Public: whoever writes a file of the public pool is told of that file's tables, not of those of the other format.
func TestUnknownKey_Public(t *testing.T) {
	_, _, err := ParsePool("t.toml", []byte("[server]\nupstream-cas = \"x\"\nport = 1\n[backend]\nlisten = \"[::]:4460\"\ngeolocation-db-path = \"x\"\n"))
	for _, want := range []string{
		"server.upstream-cas: unknown key; it belongs to [backend]\n", "server.port: unknown key; remove it\n",
		"backend.listen: unknown key; it belongs to [server]\n", `backend.geolocation-db-path: unknown key; did you mean "geolocation-db"?` + "\n",
	} {
		if err == nil || !strings.Contains(err.Error()+"\n", want) {
			t.Errorf("%v\nwant %s", err, want)
		}
	}
}
