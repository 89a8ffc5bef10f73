// Package interop_test runs the suite's programs against each other and against real peers, on networks of its own.
package interop_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ntp-daemon/internal/suite"
)

func TestMain(m *testing.M) {
	suite.Helper()
	os.Exit(m.Run())
}

// The three seed files. The clock is measured and not steered here; TestRealClock_Seed does the same with steering.
func TestSeedScenario(t *testing.T) { suite.SeedScenario(t, "--no-clock-control") }

// The seed's own server file has no local-stratum: on an island its server is never synchronised, and the client
// says in one line why it cannot follow.
func TestSeedScenario_Island(t *testing.T) {
	host := suite.NewNamespace(t)
	host.Resolve("127.0.0.1")
	text, err := os.ReadFile(filepath.Join(suite.Root(), "configs/unsafe.nts.server.toml"))
	if err != nil {
		t.Fatal(err)
	}
	untouched := filepath.Join(t.TempDir(), "server.toml")
	suite.WriteFile(t, untouched, strings.Replace(string(text), "\nlocal-stratum = 10", "", 1))
	server := host.Start(suite.Program(t, "ntp-daemon"), "-c", untouched, "--no-clock-control")
	server.WaitLog(`key exchange listening`)
	host.Start(suite.Program(t, "nts-pool-ke"), "-c", "configs/unsafe.pool.toml").WaitLog(`listening on`)
	client := host.Start(suite.Program(t, "ntp-daemon"), "-c", "configs/unsafe.nts.client.toml", "--no-clock-control")
	client.WaitLog(`localhost:4460\) cannot be followed: the server is not synchronised`)
}
