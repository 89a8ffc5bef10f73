// Command gen makes the certificates of test-keys/. They are public and unsafe: the private keys are derived
// from names in this file and are part of the repository, so that every checkout has the same ones and every
// run makes the same bytes.
package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// The validity covers every moment that a test, a demo or a machine with a wrong clock may think it is now;
// the end is the one that RFC 5280 §4.1.2.5 reserves for certificates without a known end.
var (
	notBefore = time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC)
	notAfter  = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
)

func main() {
	dir := "test-keys"
	if len(os.Args) > 1 {
		dir = os.Args[1]
	}
	if err := run(dir); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

// run writes the five files into dir.
func run(dir string) error {
	files, err := generate()
	if err != nil {
		return err
	}
	for name, data := range files {
		// The mode is that of a checkout: git keeps no other, and there is nothing to protect.
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil { //nolint:gosec // public keys by design
			return err
		}
	}
	return nil
}

// generate returns the content of every file: a CA, and a leaf for localhost that serves as server and as
// client certificate.
func generate() (map[string][]byte, error) {
	caKey, err := derive("ntp-daemon test CA, unsafe")
	if err != nil {
		return nil, err
	}
	leafKey, err := derive("ntp-daemon test leaf, unsafe")
	if err != nil {
		return nil, err
	}
	ca := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "ntp-daemon UNSAFE test CA", Organization: []string{"public private key, for tests only"}},
		NotBefore:             notBefore,
		NotAfter:              notAfter,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	leaf := &x509.Certificate{
		SerialNumber:          big.NewInt(2),
		Subject:               pkix.Name{CommonName: "localhost"},
		NotBefore:             notBefore,
		NotAfter:              notAfter,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
		DNSNames:              []string{"localhost"},
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1).To4(), net.IPv6loopback},
	}
	caDER, err := x509.CreateCertificate(nil, ca, ca, &caKey.PublicKey, caKey)
	if err != nil {
		return nil, fmt.Errorf("sign CA: %w", err)
	}
	if ca, err = x509.ParseCertificate(caDER); err != nil { // it now has the key identifier that the leaf names
		return nil, err
	}
	leafDER, err := x509.CreateCertificate(nil, leaf, ca, &leafKey.PublicKey, caKey)
	if err != nil {
		return nil, fmt.Errorf("sign leaf: %w", err)
	}
	files := map[string][]byte{"testca.pem": certificate(caDER), "end.pem": certificate(leafDER)}
	files["end.fullchain.pem"] = bytes.Join([][]byte{files["end.pem"], files["testca.pem"]}, nil)
	for name, key := range map[string]*ecdsa.PrivateKey{"testca.key": caKey, "end.key": leafKey} {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return nil, err
		}
		files[name] = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	}
	return files, nil
}

// derive makes a P-256 key from a name: the hash is the private scalar, which is in range for these two names.
func derive(name string) (*ecdsa.PrivateKey, error) {
	sum := sha256.Sum256([]byte(name))
	return ecdsa.ParseRawPrivateKey(elliptic.P256(), sum[:])
}

func certificate(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
