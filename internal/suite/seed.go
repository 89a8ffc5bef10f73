package suite

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Internet is a namespace with four time servers and a name server that knows pool.ntp.org; host is another one,
// joined to it, whose name server that is.
func Internet(t *testing.T) (host *Namespace) {
	world, host := NewNamespace(t), NewNamespace(t)
	Link(world, "198.18.0.1/24", host, "198.18.0.100/24")
	servers := []string{"198.18.0.11", "198.18.0.12", "198.18.0.13", "198.18.0.14"}
	var conf strings.Builder
	conf.WriteString("[observability]\nobservation-path = \"" + filepath.Join(t.TempDir(), "world") + "\"\n")
	for _, a := range servers {
		world.IP("addr", "add", a+"/32", "dev", "lo")
		host.IP("route", "add", a+"/32", "via", "198.18.0.1")
		fmt.Fprintf(&conf, "[[server]]\nlisten = \"%s:123\"\n", a)
	}
	conf.WriteString("[synchronization]\nclock-control = false\nlocal-stratum = 2\n")
	path := filepath.Join(t.TempDir(), "world.toml")
	WriteFile(t, path, conf.String())
	world.NameServer("198.18.0.1", map[string][]string{"pool.ntp.org": servers})
	world.Start(Program(t, "ntp-daemon"), "-c", path)
	host.Resolve("198.18.0.1")
	return host
}

// InOrder checks that the expressions match lines of the log one after the other.
func InOrder(t *testing.T, name, log string, exprs ...string) {
	t.Helper()
	rest := log
	for _, e := range exprs {
		loc := regexp.MustCompile(e).FindStringIndex(rest)
		if loc == nil {
			t.Fatalf("%s: %q not found (in this order) in\n%s", name, e, log)
		}
		rest = rest[loc[1]:]
	}
}

// SeedFiles are the configuration files of the mission's three calls, as paths from the top of the repository.
type SeedFiles struct{ Server, Pool, Client string }

// SeedScenario makes the three calls of the mission with the files of configs, on one host with its own network, and
// checks the seed's log lines in their order. args are added to both daemons' command lines.
func SeedScenario(t *testing.T, args ...string) {
	t.Helper()
	RunSeed(t, Internet(t).Start, SeedFiles{
		Server: "configs/unsafe.nts.server.toml",
		Pool:   "configs/unsafe.pool.toml",
		Client: "configs/unsafe.nts.client.toml",
	}, args...)
}

// RunSeed is SeedScenario with other files. start runs a program on the host, whose name server knows pool.ntp.org. The
// two daemons go on until the test ends.
func RunSeed(t *testing.T, start func(name string, args ...string) *Proc, files SeedFiles, args ...string) (server, client *Proc) {
	t.Helper()
	daemon := func(conf string) *Proc {
		p := start(Program(t, "ntp-daemon"), append([]string{"-c", conf}, args...)...)
		p.Name = conf
		return p
	}
	server = daemon(files.Server)
	server.WaitLog(`Offset: `)
	pool := start(Program(t, "nts-pool-ke"), "-c", files.Pool)
	pool.WaitLog(`listening on`)
	client = daemon(files.Client)
	client.WaitLog(`Offset: `)

	// Not a terminal and not the journal, so the lines are JSON; the words and their order are the seed's.
	InOrder(t, "server", server.Log(),
		`"source_id":"SourceId\(1\)","addr":"198\.18\.0\.1[1-4]:123","spawner":"SpawnerId\(1\)".*"new source"`,
		`"source_id":"SourceId\(2\)".*"new source"`, `"source_id":"SourceId\(3\)".*"new source"`,
		`"source_id":"SourceId\(4\)".*"new source"`,
		`Offset: -?[0-9.e-]+\+-[0-9.e-]+ms, frequency: -?[0-9.e-]+\+-[0-9.e-]+ppm`)
	InOrder(t, "pool", pool.Log(), `listening on 'Ok\(0\.0\.0\.0:4460\)'`, `received records from the client`,
		`checking supported algorithms for 'localhost:8081'`, `checking supported algorithms for 'localhost:8080'`,
		`established connection to the server`, `received supported algorithms from the NTS KE server`,
		`fetching cookies from the NTS KE server`, `received cookies from the NTS KE server`, `wrote records for client`)
	InOrder(t, "client", client.Log(),
		`"source_id":"SourceId\(1\)","addr":"127\.0\.0\.1:123","spawner":"SpawnerId\(1\)".*"new source"`,
		`Offset: -?[0-9.e-]+\+-[0-9.e-]+ms, frequency: `)
	return server, client
}
