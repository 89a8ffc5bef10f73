package interop_test

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// sidEnv names the folder that scripts/sid.sh unpacked; not set: the cells of sid's programs are skipped.
const sidEnv = "NTPD_SID"

// atOnce is how many cells run at the same time: most of the time they wait for the next poll.
const atOnce = 16

// protocol is a column of the matrix.
type protocol string

const (
	v4     protocol = "NTPv4"
	v3     protocol = "NTPv3"
	aead15 protocol = "NTS, AEAD 15"
	aead30 protocol = "NTS, AEAD 30"
	pooled protocol = "NTS through our pool"
)

var protocols = []protocol{v4, v3, aead15, aead30, pooled}

func (p protocol) nts() bool { return p != v4 && p != v3 }

// number is the AEAD algorithm of the column; 0: whatever the two agree on.
func (p protocol) number() int {
	switch p {
	case aead15:
		return 15
	case aead30:
		return 30
	}
	return 0
}

// The programs, as the matrix names them.
const (
	ours      = "ours"
	chronyd   = "chronyd"
	chrony43  = "chronyd 4.3"
	ntpSec    = "ntpsec"
	ntpdRS    = "ntpd-rs"
	beevikRow = "beevik/ntp"
)

var (
	matrixServers = []string{ours, chronyd, ntpSec, ntpdRS}
	// matrixClients are the rows; each driver returns what the client says of the sample, once it is valid.
	matrixClients = []struct {
		name string
		run  func(c *cell) string
	}{
		{ours, (*cell).ours}, {chronyd, (*cell).chronyd}, {chrony43, (*cell).chronyd}, {ntpSec, (*cell).ntpsec},
		{ntpdRS, (*cell).ntpdRS}, {beevikRow, (*cell).beevik},
	}
)

// fromSid is the programs that scripts/sid.sh brings.
var fromSid = map[string]bool{chronyd: true, ntpSec: true, ntpdRS: true}

// impossible says why a cell cannot be green, "" if it can. This is the whole list.
func impossible(client, server string, p protocol) string {
	has30 := func(name string) bool { return name != ntpSec && name != ntpdRS && name != chrony43 }
	switch {
	case p == aead30 && !has30(client):
		return client + " has no AEAD 30"
	case p == aead30 && !has30(server):
		return server + " has no AEAD 30"
	case p == pooled && (server == chronyd || server == ntpSec):
		return "stock " + server + " cannot be a member of a pool"
	case p == v3 && client == ntpdRS:
		return "ntpd-rs cannot be told to ask with version 3"
	}
	return ""
}

// cell is one client that asks one server.
type cell struct {
	*host
	client, server string
	protocol       protocol
}

// TestInteropMatrix runs every client against every server in every protocol that both have: six by four by five
// cells. A cell is green when the client itself reports a valid sample from that server, authenticated if the
// protocol is NTS. The servers run once, each on a host of its own; each client has a host of its own, too.
func TestInteropMatrix(t *testing.T) {
	started := time.Now()
	sid := sidDir(t)
	s := newMatrixNet(t, sid)
	m := &matrix{cells: map[string]string{}}
	var wg sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for _, client := range matrixClients {
		for _, server := range matrixServers {
			for _, p := range protocols {
				wg.Go(func() {
					slots <- struct{}{}
					defer func() { <-slots }()
					t.Run(fmt.Sprintf("%s of %s, %s", client.name, server, p), func(t *testing.T) {
						m.set(client.name, server, p, "failed")
						if why := impossible(client.name, server, p); why != "" {
							m.set(client.name, server, p, "–")
							return
						}
						if sid == "" && (fromSid[client.name] || fromSid[server]) {
							m.set(client.name, server, p, "not run")
							t.Skipf("%s is not set: sid's programs are not here", sidEnv)
						}
						c := &cell{host: s.client(t), client: client.name, server: server, protocol: p}
						if with := client.run(c); !t.Failed() {
							m.set(client.name, server, p, "ok"+with)
						}
					})
				})
			}
		}
	}
	wg.Wait()
	took := time.Since(started).Round(time.Second)
	t.Logf("%s\n%s", m.summary(took), m.table())
	if !t.Failed() {
		m.report(t, sid)
	}
}

// sidDir returns the folder of sid's programs, "" without one. Whoever names one expects it to be complete.
func sidDir(t *testing.T) string {
	t.Helper()
	peersDir(t) // skips where the bookworm peers are missing: chronyd 4.3 is one of them
	dir := os.Getenv(sidEnv)
	if dir == "" {
		return ""
	}
	for _, p := range []string{"run", "noclock.so", "root"} {
		if _, err := os.Stat(filepath.Join(dir, p)); err != nil {
			t.Fatalf("%s is set, but: %v", sidEnv, err)
		}
	}
	return dir
}
