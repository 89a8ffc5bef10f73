package config

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// TestF02_EveryKey puts what is no number, and what is none that anybody can mean, into every key of both configurations:
// each is refused at that key, and a key that wants a number says which. (0 is right for many; where it is not, a sample of
// testdata says so.)
func TestF02_EveryKey(t *testing.T) {
	// In these −1 has a meaning.
	signed := []string{
		"synchronization.virtual-offset", "synchronization.virtual-frequency", "source.precision", "source.poll-interval-limits.min",
		"source.poll-interval-limits.max", "source.initial-poll-interval", "source-defaults.poll-interval-limits.min",
		"source-defaults.poll-interval-limits.max", "source-defaults.initial-poll-interval",
	}
	numbers := map[string]bool{}
	try := func(keys []string, parse func(text string) error, text func(key, value string) []string) {
		for _, key := range keys {
			if slices.ContainsFunc(keys, func(other string) bool { return strings.HasPrefix(other, key+".") }) {
				continue // a table
			}
			for _, value := range []string{"nan", "inf", "-inf", "1e400", "-1e300", "1e300", "9999999999999999999999", "-1"} {
				for _, text := range text(key, value) {
					err := parse(text)
					if _, ok := errors.AsType[*NotBuilt](err); ok {
						continue // refused, whatever it is
					}
					problems, _ := errors.AsType[Problems](err)
					at := slices.IndexFunc(problems, func(p Problem) bool { return p.Key == key })
					if at < 0 {
						if value != "-1" || !slices.Contains(signed, key) {
							t.Errorf("%s = %s is taken, or refused elsewhere: %v", key, value, problems)
						}
						continue
					}
					if said := problems[at].String(); strings.Contains(said, " to ") {
						numbers[key] = true
					} else if numbers[key] && !strings.Contains(said, "no key of mode") {
						t.Errorf("%s = %s: no range is named: %s", key, value, said)
					}
				}
			}
		}
	}
	daemon := func(key, value string) (texts []string) {
		table, rest, _ := strings.Cut(key, ".")
		if table != "source" && table != "server" && table != "nts-ke-server" {
			return []string{"[" + table + "]\n" + rest + " = " + value}
		}
		if table != "source" || rest == "mode" {
			return []string{"[[" + table + "]]\n" + rest + " = " + value}
		}
		for _, mode := range []string{"server", "pool", "nts", "nts-pool"} {
			texts = append(texts, "[[source]]\nmode = \""+mode+"\"\n"+rest+" = "+value)
		}
		return texts
	}
	try(daemonKeys(), func(text string) error { _, _, err := Parse("t.toml", []byte(text)); return err }, daemon)
	try(poolKeys(), func(text string) error { _, _, err := ParsePool("t.toml", []byte(text)); return err }, func(key, value string) []string {
		if table, rest, _ := strings.Cut(key, ".key-exchange-servers."); rest != "" {
			return []string{"[" + table + "]\nkey-exchange-servers = [{ " + rest + " = " + value + " }]"}
		}
		if table, rest, _ := strings.Cut(key, "."); table != "source" {
			return []string{"[" + table + "]\n" + rest + " = " + value}
		}
		return daemon(key, value)
	})
	if len(numbers) < 30 {
		t.Errorf("only %d keys want numbers", len(numbers))
	}
	t.Logf("%d keys want numbers", len(numbers))
}
