package poolke

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"ntp-daemon/internal/config"
	"ntp-daemon/internal/testca"
)

// TestTimeLimitsFollowTheTotal: key-exchange-timeout-ms is the limit, a part of it that is not set is no shorter than the
// user's whole time, and what one time source may take grows with it.
func TestTimeLimitsFollowTheTotal(t *testing.T) {
	for _, row := range []struct{ total, user, connect, answer time.Duration }{
		{0, 5 * time.Second, time.Second, 2500 * time.Millisecond},
		{time.Second, time.Second, 200 * time.Millisecond, 500 * time.Millisecond},
		{30 * time.Second, 30 * time.Second, 6 * time.Second, 15 * time.Second},
	} {
		c := Config{Timeout: row.total}.withDefaults()
		if c.Timeout != row.user || c.HandshakeTimeout != row.user || c.RequestTimeout != row.user ||
			c.ConnectTimeout != row.connect || c.AnswerTimeout != row.answer {
			t.Errorf("%v: %v, handshake %v, request %v, connect %v, answer %v", row.total, c.Timeout, c.HandshakeTimeout,
				c.RequestTimeout, c.ConnectTimeout, c.AnswerTimeout)
		}
	}
	own := Config{Timeout: time.Minute, HandshakeTimeout: time.Second, ConnectTimeout: 2 * time.Second}.withDefaults()
	if own.HandshakeTimeout != time.Second || own.ConnectTimeout != 2*time.Second {
		t.Errorf("limits that are set: %v, %v", own.HandshakeTimeout, own.ConnectTimeout)
	}
}

// TestConnectionsPerClient: the key reaches the limit; 0 lifts it.
func TestConnectionsPerClient(t *testing.T) {
	dir := t.TempDir()
	chain, key := testca.Files(t, testca.New(t).Leaf("pool.example"))
	for name, data := range map[string][]byte{"chain.pem": chain, "key.pem": key} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for line, want := range map[string]int{"": 16, "connections-per-client = 200": 200, "connections-per-client = 0": 0} {
		path := filepath.Join(dir, "pool.toml")
		text := fmt.Sprintf("[nts-pool-ke-server]\nlisten = \"127.0.0.1:4460\"\ncertificate-chain-path = %q\nprivate-key-path = %q\n%s\n",
			filepath.Join(dir, "chain.pem"), filepath.Join(dir, "key.pem"), line)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, _, err := config.LoadPool(path)
		if err != nil {
			t.Fatal(err)
		}
		conf, err := FromConfig(c, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if got := conf.withDefaults().PerPrefix; got != want {
			t.Errorf("%q: %d, want %d", line, got, want)
		}
	}
}
