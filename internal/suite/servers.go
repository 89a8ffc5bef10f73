package suite

import (
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"ntp-daemon/internal/testca"
)

// WithoutClock is the command line of a program that scripts/sid.sh unpacked into the folder sid, without the right to set the clock.
func WithoutClock(sid, program string, args ...string) []string {
	return append([]string{"setpriv", "--bounding-set", "-sys_time", filepath.Join(sid, "run"), program}, args...)
}

// WriteCertificates writes ca.pem, and chain.pem and key.pem of a server called localhost.
func WriteCertificates(t testing.TB, dir string, ca *testca.CA) {
	t.Helper()
	chain, key := testca.Files(t, ca.Leaf("localhost"))
	for name, text := range map[string][]byte{"chain.pem": chain, "key.pem": key, "ca.pem": ca.PEM()} {
		WriteFile(t, filepath.Join(dir, name), string(text))
	}
}

// NTSServer is a server whose cost is compared with that of others: it answers everybody with the time of the machine's clock, which
// it leaves alone, and gives out keys with the certificate of WriteCertificates.
type NTSServer struct {
	Dir     string // of its files
	Address string
	NTP, KE int // ports
}

const (
	// With a local stratum ntpd-rs serves the machine's clock and needs no source.
	ntpdRSServing = `
[observability]
log-level = "warn"
observation-path = "{dir}/{ntp}.sock"
[[server]]
listen = "{address}:{ntp}"
[[nts-ke-server]]
listen = "{address}:{ke}"
certificate-chain-path = "{dir}/chain.pem"
private-key-path = "{dir}/key.pem"
ntp-port = {ntp}
[synchronization]
local-stratum = 1
`
	chronydServing = `
user root
cmdport 0
bindcmdaddress {dir}/chronyd.sock
pidfile {dir}/chronyd.pid
ntsdumpdir {dir}
bindaddress {address}
port {ntp}
local stratum 1
allow
ntsport {ke}
ntsservercert {dir}/chain.pem
ntsserverkey {dir}/key.pem
maxntsconnections 1000
`
)

// Own is the configuration of our daemon: that of ntpd-rs, and a line of our own.
func (s NTSServer) Own() string { return s.NTPdRS() + "clock-control = false\n" }

// NTPdRS is the configuration of ntpd-rs.
func (s NTSServer) NTPdRS() string { return s.fill(ntpdRSServing) }

// Chronyd is the configuration of chronyd, one of which has its sockets in a folder.
func (s NTSServer) Chronyd() string { return s.fill(chronydServing) }

func (s NTSServer) fill(text string) string {
	return strings.NewReplacer("{dir}", s.Dir, "{address}", s.Address, "{ntp}", strconv.Itoa(s.NTP), "{ke}", strconv.Itoa(s.KE)).Replace(text)
}
