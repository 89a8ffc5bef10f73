package program

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestLoadCertificate: each fault names the key, the file and the remedy, and is one of the configuration.
func TestLoadCertificate(t *testing.T) {
	const chain, key = "../../test-keys/end.fullchain.pem", "../../test-keys/end.key"
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	good, err := LoadCertificate(chain, key, time.Unix(0, 0))
	if err != nil || good.Leaf == nil {
		t.Fatalf("%v, %v", good, err)
	}
	for _, tt := range []struct {
		chain, key string
		now        time.Time
		want       []string
	}{
		{"/nowhere/chain.pem", key, time.Time{}, []string{"certificate-chain-path /nowhere/chain.pem: no such file", "check the path"}},
		{chain, "/nowhere/key.pem", time.Time{}, []string{"private-key-path /nowhere/key.pem: no such file", "check the path"}},
		{chain, empty, time.Time{}, []string{"private-key-path " + empty, "holds no private key", "first certificate"}},
		{empty, key, time.Time{}, []string{"certificate-chain-path " + empty, "holds no certificate", "PEM"}},
		{chain, key, good.Leaf.NotAfter.Add(time.Second), []string{chain, "expired on", "renew it"}},
	} {
		_, err := LoadCertificate(tt.chain, tt.key, tt.now)
		var ce *ConfigError
		if !errors.As(err, &ce) {
			t.Errorf("%s, %s: %v", tt.chain, tt.key, err)
			continue
		}
		for _, want := range tt.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q is missing in %v", want, err)
			}
		}
	}
}
