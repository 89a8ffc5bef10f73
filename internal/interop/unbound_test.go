package interop_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"ntp-daemon/internal/observe"
	"ntp-daemon/internal/suite"
)

// zoneTest is signed; the servers are those of the lab and one that has no address. zonePlain is not.
const (
	zoneTest = `$ORIGIN test.
$TTL 300
@ SOA ns.test. admin.test. 1 3600 600 86400 60
@ NS ns.test.
_ntske._tcp.pool SRV 10 0 4460 gone.test.
_ntske._tcp.pool SRV 20 0 4460 ours.test.
_ntske._tcp.alias CNAME _ntske._tcp.pool.test.
_ntske._tcp.forged SRV 10 0 4460 good.test.
_ntske._tcp.none SRV 0 0 0 .
`
	zonePlain = `$ORIGIN plain.
$TTL 300
@ SOA ns.plain. admin.plain. 1 3600 600 86400 60
@ NS ns.plain.
_ntske._tcp.pool SRV 20 0 4460 ours.test.
`
	unboundConfig = `server:
  do-daemonize: no
  use-syslog: no
  logfile: ""
  username: ""
  chroot: ""
  directory: "{dir}"
  pidfile: "{dir}/unbound.pid"
  interface: 127.0.0.1@5353
  do-ip6: no
  module-config: "validator iterator"
  trust-anchor-file: "{dir}/anchor"
  ede: yes
  local-zone: "test." nodefault
remote-control:
  control-enable: no
auth-zone:
  name: "test."
  zonefile: "{dir}/test.signed"
  for-downstream: no
auth-zone:
  name: "plain."
  zonefile: "{dir}/plain.zone"
  for-downstream: no
`
	srvClientConfig = `
[[source]]
mode = "nts"
address = "forged.test"
enable-srv-resolution = true
srv-resolvers = ["127.0.0.1:5353"]
[[source]]
mode = "nts"
address = "pool.plain"
enable-srv-resolution = true
srv-resolvers = ["127.0.0.1:5353"]
[[source]]
mode = "nts"
address = "none.test"
enable-srv-resolution = true
srv-resolvers = ["127.0.0.1:5353"]
[[source]]
mode = "nts"
address = "absent.test"
enable-srv-resolution = true
srv-resolvers = ["127.0.0.1:5353"]
[[source]]
mode = "nts-pool"
address = "alias.test"
enable-srv-resolution = true
srv-resolvers = ["127.0.0.1:5353"]
certificate-authority = "{ca}"
count = 2
`
)

// validator is Debian's unbound and what signs a zone for it, with their own libraries.
type validator struct {
	t   *testing.T
	dir string
}

func newValidator(t *testing.T) validator {
	t.Helper()
	return validator{t, filepath.Join(peersDir(t), "unbound")}
}

// libraries is the environment in which its programs find theirs.
func (v validator) libraries() string {
	v.t.Helper()
	dirs, err := filepath.Glob(filepath.Join(v.dir, "usr/lib/*-linux-gnu*"))
	if err != nil || len(dirs) == 0 {
		v.t.Fatalf("no libraries in %s, run scripts/peers.sh again: %v", v.dir, err)
	}
	return "LD_LIBRARY_PATH=" + strings.Join(dirs, ":")
}

// run runs one of the tools in a folder and returns what it prints.
func (v validator) run(dir, tool string, args ...string) string {
	v.t.Helper()
	cmd := exec.Command(filepath.Join(v.dir, "usr/bin", tool), args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), v.libraries())
	out, err := cmd.Output()
	if err != nil {
		v.t.Fatalf("%s %v: %v", tool, args, err)
	}
	return strings.TrimSpace(string(out))
}

// TestInterop_Unbound: members of a pool that stand in a signed zone are found through a resolver that really validates, and nothing
// is taken from a zone that is not signed, a record that was changed after it was signed, or a name without the service.
func TestInterop_Unbound(t *testing.T) {
	t.Parallel()
	v, l := newValidator(t), newLab(t)
	l.startServer()
	suite.WriteFile(t, l.path("test"), zoneTest)
	suite.WriteFile(t, l.path("plain.zone"), zonePlain)
	key := v.run(l.dir, "ldns-keygen", "-a", "ECDSAP256SHA256", "-k", "test.")
	v.run(l.dir, "ldns-signzone", "-f", l.path("test.signed"), l.path("test"), key)
	anchor, err := os.ReadFile(l.path(key + ".key"))
	if err != nil {
		t.Fatal(err)
	}
	suite.WriteFile(t, l.path("anchor"), string(anchor))
	signed, err := os.ReadFile(l.path("test.signed"))
	if err != nil || strings.Count(string(signed), "good.test.") != 1 {
		t.Fatalf("%v, signed zone:\n%s", err, signed)
	}
	suite.WriteFile(t, l.path("test.signed"), strings.Replace(string(signed), "good.test.", "evil.test.", 1))

	unbound := l.ours.Start("env", v.libraries(), filepath.Join(v.dir, "usr/sbin/unbound"), "-c", l.file("unbound.conf", unboundConfig))
	unbound.Name = "unbound"
	unbound.WaitLog(`start of service`)
	client := l.ours.Start(suite.Program(t, "ntp-daemon"), "-c", l.file("client.toml", srvClientConfig+clientConfig))
	client.Name = "our client"
	s := client.WaitSnapshot(l.path("client.sock"), "a synchronised client whose other sources say why they are missing", func(s *observe.Snapshot) bool {
		return s.Suite.Synchronized && len(s.Sources) == 1 && s.Sources[0].Reach == 0xff && len(s.Suite.Missing) == 5 &&
			strings.Contains(s.Suite.Missing[4].Reason, "failed of late")
	})
	src := s.Sources[0]
	if src.Name != "_ntske._tcp.alias.test" || src.Address != oursAddr+":123" || src.NTSCookies == nil {
		t.Errorf("source %+v", src)
	}
	reasons := map[string]string{}
	for _, m := range s.Suite.Missing {
		reasons[m.Name] = m.Reason
	}
	for name, want := range map[string]string{
		"_ntske._tcp.forged.test": "DNSSEC: bogus", "_ntske._tcp.pool.plain": "not validated by DNSSEC: the zone is not signed",
		"_ntske._tcp.none.test": "the domain says that it does not offer it", "_ntske._tcp.absent.test": "the name does not exist",
	} {
		if !strings.Contains(reasons[name], want) {
			t.Errorf("%s: %q, want %q", name, reasons[name], want)
		}
	}
	if log := client.Log(); strings.Contains(log, "evil.test") {
		t.Errorf("a forged record was followed:\n%s", log)
	}
	p := s.Suite.Pools[4]
	if p.Name != src.Name || p.FoundBy != observe.FoundBySRV || p.Want != 2 || len(p.Members) != 1 || p.Members[0].Server != "ours.test" ||
		len(p.Failed) != 1 || p.Failed[0].Server != "gone.test" {
		t.Errorf("%+v", p)
	}
}
