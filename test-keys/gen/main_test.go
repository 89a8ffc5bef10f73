package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// TestCommittedFiles: the files in the repository are what the program makes, byte for byte.
func TestCommittedFiles(t *testing.T) {
	files, err := generate()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join("..", name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s differs; run `go run ./test-keys/gen`", name)
		}
	}
}

func TestChainVerifies(t *testing.T) {
	pair, err := tls.LoadX509KeyPair("../end.fullchain.pem", "../end.key") // refuses a key that does not match
	if err != nil {
		t.Fatal(err)
	}
	if len(pair.Certificate) != 2 {
		t.Fatalf("chain of %d certificates, want leaf and CA", len(pair.Certificate))
	}
	ca, err := os.ReadFile("../testca.pem")
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		t.Fatal("testca.pem holds no certificate")
	}
	for _, name := range []string{"localhost", "127.0.0.1", "::1"} {
		for _, year := range []int{1999, 2026, 2036, 2106, 9998} {
			_, err := pair.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots,
				CurrentTime: time.Date(year, 6, 1, 0, 0, 0, 0, time.UTC),
				KeyUsages:   []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
			if err != nil {
				t.Errorf("%s in %d: %v", name, year, err)
			}
		}
	}
	if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		t.Errorf("as client certificate: %v", err)
	}
	if pair.Leaf.IsCA {
		t.Error("the leaf is a CA")
	}
}

// TestSingleCertificate: authorized-pool-server-certificates wants a file with the leaf alone.
func TestSingleCertificate(t *testing.T) {
	data, err := os.ReadFile("../end.pem")
	if err != nil {
		t.Fatal(err)
	}
	if block, rest := pem.Decode(data); block == nil || len(bytes.TrimSpace(rest)) != 0 {
		t.Error("end.pem must hold exactly one certificate")
	}
}

// TestGenCert runs the shell script as the seed's text says: a certificate for a name, signed by the test CA.
func TestGenCert(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("skipped: no openssl on this machine")
	}
	dir := t.TempDir()
	for _, name := range []string{"testca.pem", "testca.key", "gen-cert.sh"} {
		data, err := os.ReadFile(filepath.Join("..", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	script := func(args ...string) ([]byte, error) {
		cmd := exec.Command(filepath.Join(dir, "gen-cert.sh"), args...)
		cmd.Dir = dir
		return cmd.CombinedOutput()
	}
	if out, err := script("nts.example.org"); err != nil {
		t.Fatalf("gen-cert.sh nts.example.org: %v\n%s", err, out)
	}
	if out, err := script("127.0.0.1", "testca"); err != nil {
		t.Fatalf("gen-cert.sh 127.0.0.1 testca: %v\n%s", err, out)
	}
	ca, _ := os.ReadFile(filepath.Join(dir, "testca.pem"))
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	for _, name := range []string{"nts.example.org", "127.0.0.1"} {
		for _, chain := range []string{".chain.pem", ".fullchain.pem"} {
			pair, err := tls.LoadX509KeyPair(filepath.Join(dir, name+chain), filepath.Join(dir, name+".key"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := pair.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots}); err != nil {
				t.Errorf("%s%s: %v", name, chain, err)
			}
		}
		st, err := os.Stat(filepath.Join(dir, name+".key"))
		if err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s.key: mode %v, error %v; want 0600", name, st.Mode().Perm(), err)
		}
		if _, err := os.Stat(filepath.Join(dir, name+".pem")); err != nil {
			t.Error(err)
		}
	}
	if _, err := script(); err == nil {
		t.Error("gen-cert.sh without a name succeeded")
	}
	if _, err := script("a.example.org", "no-such-ca"); err == nil {
		t.Error("gen-cert.sh with an absent CA succeeded")
	}
	if _, err := script("../evil"); err == nil {
		t.Error("gen-cert.sh with a path as name succeeded")
	}
}
