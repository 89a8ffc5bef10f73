package e2e_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ntp-daemon/internal/observe"
	"ntp-daemon/internal/suite"
	"ntp-daemon/internal/testca"
)

// TestPoolSource_MembersComeAndGo: a daemon with two sources from a pool of three, all of them our own programs. One member is killed: its
// place goes to the third, and it is left out for a while. One comes back with other cookie keys: the client has fresh keys from that very member,
// and nothing else changes.
func TestPoolSource_MembersComeAndGo(t *testing.T) {
	t.Parallel()
	s, ca := newTestHost(t), testca.New(t)
	names := map[string]string{"pool.test": "127.0.0.10", "a.test": "127.0.0.11", "b.test": "127.0.0.12", "c.test": "127.0.0.13"}
	zone := map[string][]string{}
	suite.WriteFile(t, filepath.Join(s.dir, "ca.pem"), string(ca.PEM()))
	for name, addr := range names {
		zone[name] = []string{addr}
		chain, key := testca.Files(t, ca.Leaf(name))
		suite.WriteFile(t, filepath.Join(s.dir, name+".pem"), string(chain))
		suite.WriteFile(t, filepath.Join(s.dir, name+".key"), string(key))
	}
	s.NameServer("127.0.0.53", zone)
	s.Resolve("127.0.0.53")

	member := func(name string) *suite.Proc {
		config := strings.ReplaceAll(observing, "NAME", name) + fmt.Sprintf(`
[[server]]
listen = "%[2]s:123"
[[nts-ke-server]]
listen = "%[2]s:4460"
certificate-chain-path = "{dir}/%[1]s.pem"
private-key-path = "{dir}/%[1]s.key"
accepted-pool-authentication-tokens = [%[3]q]
[synchronization]
clock-control = false
local-stratum = 2
`, name, names[name], poolToken)
		p := s.start(name, config)
		s.up(p)
		return p
	}
	procs := map[string]*suite.Proc{}
	list := ""
	for _, name := range []string{"a.test", "b.test", "c.test"} {
		procs[name] = member(name)
		list += fmt.Sprintf("[[nts-pool-ke-server.key-exchange-servers]]\ndomain = %q\nport = 4460\ntokens = [%q]\n", name, poolToken)
	}
	s.start("pool", `
[observability]
log-format = "console"
[nts-pool-ke-server]
listen = "127.0.0.10:4460"
certificate-authority-path = "{dir}/ca.pem"
certificate-chain-path = "{dir}/pool.test.pem"
private-key-path = "{dir}/pool.test.key"
`+list).WaitLog("listening on")

	client := s.start("client", strings.ReplaceAll(observing, "NAME", "client")+`
[[source]]
mode = "nts-pool"
address = "pool.test"
certificate-authority = "{dir}/ca.pem"
count = 2
poll-interval-limits = { min = 0, max = 0 }
initial-poll-interval = 0
[synchronization]
minimum-agreeing-sources = 1
clock = "virtual"
virtual-offset = 0.25
`)
	held := func(o *observe.Snapshot) (list []string) {
		if len(o.Suite.Pools) == 1 {
			for _, m := range o.Suite.Pools[0].Members {
				list = append(list, m.Server)
			}
		}
		return list
	}
	// steady: two members of the pool that answer every poll and have all their cookies.
	steady := func(o *observe.Snapshot) bool {
		return o.Suite.Synchronized && len(o.Sources) == 2 && !slices.ContainsFunc(o.Sources, func(r observe.Source) bool {
			return r.Reach != 0xff || r.NTSCookies == nil || *r.NTSCookies != 8
		})
	}
	before := held(client.WaitSnapshot(s.socket("client"), "two members that answer", steady))
	if len(before) != 2 || before[0] == before[1] {
		t.Fatalf("members %q", before)
	}
	dead, stays := before[0], before[1]
	_ = procs[dead].Cmd.Process.Kill()
	procs[dead].Exit()
	after := client.WaitSnapshot(s.socket("client"), "another member in its place", func(o *observe.Snapshot) bool {
		return steady(o) && !slices.Contains(held(o), dead)
	})
	p := after.Suite.Pools[0]
	if !slices.Contains(held(after), stays) || p.FoundBy != observe.FoundByKeyExchange || p.Want != 2 || p.Wait != -1 {
		t.Errorf("%+v", p)
	}
	if len(p.Failed) != 1 || p.Failed[0].Server != dead || p.Failed[0].Seconds < 29*60 || p.Failed[0].Seconds > 3600 {
		t.Errorf("left out: %+v, want %s for 30 to 60 minutes", p.Failed, dead)
	}

	ids := func(o *observe.Snapshot) (list []uint64) {
		for i := range o.Sources {
			list = append(list, o.Sources[i].ID)
		}
		return list
	}
	_ = procs[stays].Cmd.Process.Kill()
	procs[stays].Exit()
	client.Forget(len(client.Log()))
	procs[stays] = member(stays) // with new cookie keys
	client.WaitLog("keys exchanged|does not recognise our cookies")
	again := client.WaitSnapshot(s.socket("client"), "the same members, with keys that work", func(o *observe.Snapshot) bool {
		return steady(o) && slices.Equal(ids(o), ids(after))
	})
	if !slices.Equal(held(again), held(after)) {
		t.Errorf("members %q became %q", held(after), held(again))
	}
}
