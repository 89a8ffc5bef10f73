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

// seedFiles are the seed's own: its two daemons name one observation socket.
var seedFiles = suite.SeedFiles{
	Server: "internal/interop/testdata/seed/server.toml",
	Pool:   "internal/interop/testdata/seed/pool.toml",
	Client: "internal/interop/testdata/seed/client.toml",
}

const seedSocket = "/var/run/ntpd-rs/observe" // of both

// seedHost is a host with a folder of its own as /var.
type seedHost struct {
	*suite.Namespace
	dir string
}

func newSeedHost(t *testing.T) seedHost { return seedHost{suite.Internet(t), shortDir(t)} }

// Start runs a program that sees the host's /var; the mount is private to it.
func (h seedHost) Start(name string, args ...string) *suite.Proc {
	const script = `mount --bind "$0" /var && exec "$@"`
	p := h.Namespace.Start("sh", append([]string{"-c", script, h.dir, name}, args...)...)
	p.Name = filepath.Base(name)
	return p
}

// status is what `ntp-ctl status` says of the socket that both daemons name, and its exit code.
func (h seedHost) status(t *testing.T) (text string, code int) {
	t.Helper()
	ctl := h.Start(suite.Program(t, "ntp-ctl"), "status", "-s", seedSocket)
	code = ctl.Exit()
	return ctl.Log(), code
}

// Whoever comes first has the socket, and keeps it undisturbed; the other says so, does everything else, and takes the
// socket over when its owner has gone. The folder is made if only that is missing.
func TestSeedFiles_OneObservationSocket(t *testing.T) {
	for name, folder := range map[string]string{"with the folder": "run/ntpd-rs", "without the folder": "run"} {
		t.Run(name, func(t *testing.T) {
			host := newSeedHost(t)
			if err := os.MkdirAll(filepath.Join(host.dir, folder), 0o755); err != nil {
				t.Fatal(err)
			}
			server, client := suite.RunSeed(t, host.Start, seedFiles, "--no-clock-control")
			suite.InOrder(t, "client", client.Log(), `another process serves this socket.*observation socket.*is down, everything else runs`)
			client.WaitLog(`"message":"synchronised: 1 of 1 sources agree"`)
			if log := server.Log(); strings.Contains(log, "is down") {
				t.Errorf("the owner of the socket was disturbed:\n%s", log)
			}
			for range 2 { // the first answer could have been the owner's last
				text, code := host.status(t)
				if code != 0 || !strings.Contains(text, "pool.ntp.org") || !strings.Contains(text, "0.0.0.0:123") {
					t.Errorf("not the server's status, exit code %d:\n%s", code, text)
				}
			}

			server.Stop()
			client.WaitLog(`observation socket.* is up again`)
			if text, code := host.status(t); code != 0 || !strings.Contains(text, "localhost:4460") {
				t.Errorf("not the client's status, exit code %d:\n%s", code, text)
			}
		})
	}
}

// A socket that nobody can have, because a file is in the place of its folder, costs both daemons the socket alone.
func TestSeedFiles_NoFolderForTheSocket(t *testing.T) {
	host := newSeedHost(t)
	if err := os.Mkdir(filepath.Join(host.dir, "run"), 0o755); err != nil {
		t.Fatal(err)
	}
	suite.WriteFile(t, filepath.Join(host.dir, "run/ntpd-rs"), "")
	server, client := suite.RunSeed(t, host.Start, seedFiles, "--no-clock-control")
	client.WaitLog(`"message":"synchronised: 1 of 1 sources agree"`)
	for _, p := range []*suite.Proc{server, client} {
		suite.InOrder(t, p.Name, p.Log(), `not a directory.*observation socket.*is down, everything else runs`)
		if !p.Running() {
			t.Errorf("%s has ended", p.Name)
		}
	}
	if text, code := host.status(t); code == 0 || !strings.Contains(text, seedSocket) {
		t.Errorf("status where there is no socket: exit code %d\n%s", code, text)
	}
}
