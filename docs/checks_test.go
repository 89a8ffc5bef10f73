package docs_test

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"ntp-daemon/internal/config"
)

// The part of ntp-daemon(8) between these lines follows from the table of package config.
const (
	checksBegin = ".\\\" checks: written by UPDATE_GOLDEN=1 go test ./docs\n"
	checksEnd   = ".\\\" end of checks\n"
)

// checksPage is the mdoc of all checks.
func checksPage() string {
	about := map[config.About]string{config.AboutFile: "file", config.AboutMachine: "machine", config.AboutStart: "start"}
	page := ".Bl -tag -width Ds\n"
	for _, c := range config.Checks() {
		effect := func(e config.Effect) string {
			if e == config.Ends {
				return fmt.Sprintf("ends with %d", c.Exit)
			}
			return map[config.Effect]string{config.Told: "told", config.Down: "down"}[e]
		}
		page += fmt.Sprintf(".It %s Pq %s\n%s%s.\n", c.Name, about[c.About], strings.ToUpper(c.What[:1]), c.What[1:])
		var who []string
		for _, p := range []struct {
			name   string
			effect config.Effect
		}{{"daemon", c.Daemon}, {"pool", c.Pool}} {
			if p.effect != config.None {
				who = append(who, p.name+": "+effect(p.effect))
			}
		}
		if c.Validate != 0 {
			who = append(who, fmt.Sprintf("validate: %d", c.Validate))
		}
		page += strings.ToUpper(who[0][:1]) + strings.Join(who, "; ")[1:] + ".\n"
		if c.Then != "" {
			page += "Runs: " + c.Then + ".\n"
		}
	}
	return page + ".El\n"
}

// TestDaemonPage_Checks: the page says of every check what follows from it.
func TestDaemonPage_Checks(t *testing.T) {
	generated(t, filepath.Join("man", "ntp-daemon.8"), checksBegin, checksEnd, wrapped(checksPage()))
}

// TestExitCodes: each program's page lists the codes that the table of checks has for it, and 0.
func TestExitCodes(t *testing.T) {
	for page, effect := range map[string]func(*config.Check) config.Effect{
		"ntp-daemon.8":  func(c *config.Check) config.Effect { return c.Daemon },
		"nts-pool-ke.8": func(c *config.Check) config.Effect { return c.Pool },
	} {
		codes := map[string]bool{"0": true}
		for _, c := range config.Checks() {
			if effect(&c) == config.Ends {
				codes[strconv.Itoa(c.Exit)] = true
			}
		}
		readPage(t, page).has(t, "EXIT STATUS", slices.Sorted(maps.Keys(codes)), true)
	}
}
