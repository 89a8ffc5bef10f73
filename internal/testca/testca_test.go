package testca

import (
	"crypto/tls"
	"crypto/x509"
	"testing"
	"time"
)

func TestLeaf_VerifiesForItsNamesOnly(t *testing.T) {
	ca := New(t)
	leaf := ca.Leaf("time.test", "127.0.0.1").Leaf
	for _, tc := range []struct {
		name string
		ok   bool
	}{{"time.test", true}, {"127.0.0.1", true}, {"other.test", false}} {
		for _, now := range []time.Time{time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2500, 1, 1, 0, 0, 0, 0, time.UTC)} {
			_, err := leaf.Verify(x509.VerifyOptions{Roots: ca.Pool(), DNSName: tc.name, CurrentTime: now})
			if (err == nil) != tc.ok {
				t.Errorf("%s at %d: %v", tc.name, now.Year(), err)
			}
		}
	}
}

func TestFiles_LoadAsKeyPair(t *testing.T) {
	chain, key := Files(t, New(t).Leaf("time.test"))
	if _, err := tls.X509KeyPair(chain, key); err != nil {
		t.Fatal(err)
	}
}
