package e2e_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ntp-daemon/internal/observe"
	"ntp-daemon/internal/suite"
	"ntp-daemon/internal/testca"
)

// TestL05_NetworkOutages: started without network and name server, the client has all its sources within 30 s of their
// return; 100 flaps of its interface and dead name servers cost it no more than that either, and leave no descriptor,
// thread or goroutine behind. A twin that is spared the outages tells how many goroutines are right.
func TestL05_NetworkOutages(t *testing.T) {
	t.Parallel()
	world, host := newTestHost(t), newTestHost(t)
	suite.Link(world.Namespace, "198.18.0.1/24", host.Namespace, "198.18.0.100/24")
	servers := []string{"198.18.0.11", "198.18.0.12", "198.18.0.13"}
	for _, a := range servers {
		world.IP("addr", "add", a+"/32", "dev", "lo")
	}
	const dns = "198.18.0.53"
	veth := host.wire()
	up := func() {
		host.IP("link", "set", veth, "up")
		for _, a := range append(servers, dns) {
			host.IP("route", "replace", a+"/32", "via", "198.18.0.1")
		}
	}
	ca := testca.New(t)
	chain, key := testca.Files(t, ca.Leaf("nts.test"))
	for name, b := range map[string][]byte{"chain.pem": chain, "key.pem": key} {
		suite.WriteFile(t, filepath.Join(world.dir, name), string(b))
	}
	suite.WriteFile(t, filepath.Join(host.dir, "ca.pem"), string(ca.PEM()))
	files := strings.NewReplacer("{keys}/end.fullchain.pem", "{dir}/chain.pem", "{keys}/end.key", "{dir}/key.pem")
	world.up(world.start("world", files.Replace(server("world"))))
	world.IP("addr", "add", dns+"/32", "dev", "lo")
	world.NameServer(dns, map[string][]string{
		"ntp.test": servers[:1], "pool.test": servers[1:2], "nts.test": servers[2:],
	})
	eventually(t, 10*time.Second, "name server", func() (bound bool) {
		inside(t, world.Namespace, func() error {
			b, err := os.ReadFile("/proc/thread-self/net/udp")
			bound = strings.Contains(string(b), ":0035 ")
			return err
		})
		return bound
	})
	world.IP("addr", "del", dns+"/32", "dev", "lo")
	host.IP("link", "set", veth, "down")
	host.Resolve(dns)

	conf := func(name string) string {
		return strings.ReplaceAll(observing, "NAME", name) + `
[source-defaults]
poll-interval-limits = { min = 0, max = 2 }
initial-poll-interval = 0
[[source]]
mode = "server"
address = "ntp.test"
[[source]]
mode = "pool"
address = "pool.test"
count = 1
[[source]]
mode = "nts"
address = "nts.test:8080"
certificate-authority = "{dir}/ca.pem"
[synchronization]
clock = "virtual"
minimum-agreeing-sources = 3
`
	}
	client, twin := host.start("client", conf("client")), host.start("twin", conf("twin"))
	fresh := func(o *observe.Snapshot) bool {
		n := 0
		for _, src := range o.Sources {
			if src.Measured && src.Reach&1 != 0 {
				n++
			}
		}
		return n == 3 && o.Suite.Synchronized
	}
	back := func(p *suite.Proc, what string) {
		t.Helper()
		took := eventually(t, 30*time.Second, "three good sources after "+what, func() bool {
			o := suite.Snapshot(host.socket(p.Name))
			return o != nil && fresh(o)
		})
		t.Logf("%s: recovered after %v", what, took.Round(time.Millisecond))
	}
	time.Sleep(6 * time.Second) // a boot without network
	if n := strings.Count(client.Log(), "failed"); n != 3 {
		t.Errorf("%d lines about three sources that cannot be found:\n%s", n, client.Log())
	}
	up()
	world.IP("addr", "add", dns+"/32", "dev", "lo")
	back(client, "a boot without network")
	back(twin, "a boot without network (twin)")
	base := use(t, client)
	right := goroutines(t, twin)

	for range 100 {
		host.IP("link", "set", veth, "down")
		time.Sleep(5 * time.Millisecond) // the rhythm of a bad plug
		up()
		time.Sleep(5 * time.Millisecond)
	}
	back(client, "100 flaps")
	world.IP("addr", "del", dns+"/32", "dev", "lo")
	host.IP("link", "set", veth, "down")
	time.Sleep(7 * time.Second) // dead long enough for every source to lose polls
	up()
	back(client, "seven seconds without link, name server still dead")
	world.IP("addr", "add", dns+"/32", "dev", "lo")
	eventually(t, 10*time.Second, "as few descriptors and threads as before", func() bool {
		now := use(t, client)
		return now.fds <= base.fds && now.threads <= base.threads+2
	})
	t.Logf("before: %v, after: %v", base, use(t, client))
	if spent := use(t, client).cpu - base.cpu; spent > 2*time.Second {
		t.Errorf("%v of CPU time", spent)
	}
	if n := goroutines(t, client); n > right {
		t.Errorf("%d goroutines, %d in the twin without outages", n, right)
	}
	if lines := strings.Count(client.Log(), "\n"); lines > 120 {
		t.Errorf("%d log lines", lines)
	}
}
