package config

import (
	"slices"
	"testing"
)

// TestKeys checks that keys of every depth are listed, and that no foreign or made-up one is.
func TestKeys(t *testing.T) {
	keys, pool := Keys(), PoolKeys()
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
