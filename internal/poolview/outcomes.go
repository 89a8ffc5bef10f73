package poolview

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// outcomes are the words for how a user's exchange ended, in the order of an exchange, with their meaning. A test holds them
// to be those of package poolke.
var outcomes = []struct{ name, meaning string }{
	{"served", "got cookies of one time source"},
	{"no_protocol", "no time source has a protocol of the user's"},
	{"no_algorithm", "no time source has an algorithm of the user's"},
	{"proxy_refused", "not from a trusted balancer, or without a good PROXY header"},
	{"over_limit", "too many users from one network behind the balancer"},
	{"tls_failed", "the handshake failed or was not finished in time"},
	{"crowded_out", "made room for others during the handshake"},
	{"no_alpn", "did not ask for NTS key exchange"},
	{"incomplete_request", "the request never became complete"},
	{"bad_request", "the request was against the rules"},
	{"unknown_critical", "the request held a critical record that is unknown"},
	{"bad_key", "named a time source and showed no key of monitors"},
	{"no_server", "no time source was usable"},
	{"server_failed", "the time source that had the keys did not deliver"},
	{"timed_out", "the time for one user was over before keys were sent"},
	{"user_gone", "the user left while time sources were asked"},
	{"health_check", "a balancer looked whether this pool is there"},
}

// OutcomeNames are the words in the order of an exchange.
func OutcomeNames() (names []string) {
	for _, o := range outcomes {
		names = append(names, o.name)
	}
	return names
}

// OutcomeMeaning explains an outcome; empty for one that is not known.
func OutcomeMeaning(name string) string {
	for _, o := range outcomes {
		if o.name == name {
			return o.meaning
		}
	}
	return ""
}

// OutcomeTone tells whose fault an outcome is: bad is ours or our time sources', neutral the user's.
func OutcomeTone(name string) Tone {
	switch name {
	case "served":
		return Good
	case "no_server", "server_failed", "timed_out":
		return Bad
	case "no_protocol", "no_algorithm", "over_limit", "crowded_out":
		return Notice
	}
	return Neutral
}

// Counts lists the counters that are not zero in the order of their names.
func Counts(counts map[string]uint64) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		if n := counts[name]; n > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", name, n))
		}
	}
	return strings.Join(parts, ", ")
}
