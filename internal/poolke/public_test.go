package poolke

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ntp-daemon/internal/nts/aead"
	"ntp-daemon/internal/nts/record"
	"ntp-daemon/internal/testca"
)

// TestPublicPool_RunsUnchanged: a configuration and a list as today's public pool has them, comments and all, start this program
// as they are. A user is served by a time source that knows the pool by the token made from the base secret alone; a monitor
// reaches the one that the list takes out of the draw.
func TestPublicPool_RunsUnchanged(t *testing.T) {
	w := newTestPool(t)
	const secret, user, hidden = "even-more-secrets-this-time-with-no-min-length", "1532f796-7a16-40bd-8d5a-4d09fc90e061", "de9b1a09-691a-431e-908a-2625e3c34a84"
	w.real("localhost", sum(secret+user+"4a4A8wEJ2ZKte6DJ3VxK6e"), nil)
	w.real("localhost", sum(secret+hidden+"rehrJnlBAKWNJyQE0V2MVv"), nil)
	dir := t.TempDir()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := ln.Addr().String()
	_ = ln.Close()
	chain, key := testca.Files(t, w.ca.Leaf("pool.example"))
	for name, data := range map[string]string{
		"ca.pem": string(w.ca.PEM()), "end.fullchain.pem": string(chain), "end.key": string(key),
		"secrets": secret + "\n", "monitoring.json": "[\"testmonitor-0123456789\"]\n",
		"servers.json": fmt.Sprintf(`[
    { "uuid": %q, "domain": "localhost", "port": %d, "randomizer": "4a4A8wEJ2ZKte6DJ3VxK6e", "base-key-index": 0, "weight": 1, "regions": ["NL", "EUROPE"], "ipv4-capable": true, "ipv6-capable": true },
    { "uuid": %q, "domain": "localhost", "port": %d, "randomizer": "rehrJnlBAKWNJyQE0V2MVv", "weight": 0, "ipv4-capable": false, "ipv6-capable": false }
]
`, user, w.cfg.Backends[0].Port, hidden, w.cfg.Backends[1].Port),
		"pool.toml": strings.NewReplacer("DIR", dir, "LISTEN", address).Replace(`# part of the test setup for the NTS pool KE. Do not use in production!
[server]
listen = "LISTEN"
certificate-chain = "DIR/end.fullchain.pem"
private-key = "DIR/end.key"
key-exchange-timeout = 20000
timesource-timeout = 10000
max-connections = 100
monitoring-keys = "DIR/monitoring.json"

[backend]
upstream-cas = "DIR/ca.pem"
allowed-protocols = [0]
certificate-chain = "DIR/end.fullchain.pem"
private-key = "DIR/end.key"
key-exchange-servers = "DIR/servers.json"
base-shared-secret = "DIR/secrets"
timesource-timeout = 10000

[observability]
log-level = "info"
`),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Main(ctx, Options{ConfigPath: filepath.Join(dir, "pool.toml")}, nil, &w.log) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	eventually(t, func() bool { return strings.Contains(w.log.String(), "listening on") })
	w.addr = netip.MustParseAddrPort(address)
	for range 4 {
		r, err := w.keyExchange([]aead.Algorithm{15})
		if err != nil || r.Server != "localhost" {
			t.Fatalf("%+v, %v\n%s", r, err, w.log.String())
		}
	}
	answer, _ := w.ask(monitorRequest("testmonitor-0123456789", hidden))
	if r, fault := record.ParseResponse(answer, record.Offer{Protocols: []record.Protocol{0}, Algorithms: []aead.Algorithm{17, 15}}); fault != record.None || len(r.Cookies) != 8 {
		t.Errorf("the monitor: %v, %x", fault, answer)
	}
	for _, hush := range []string{secret, sum(secret + user + "4a4A8wEJ2ZKte6DJ3VxK6e"), "testmonitor-0123456789"} {
		if strings.Contains(w.log.String(), hush) {
			t.Error("the log holds a secret")
		}
	}
}
