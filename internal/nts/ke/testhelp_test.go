package ke

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"testing"
	"time"

	"ntp-daemon/internal/nts"
)

// cryptoSigner is what a tls.Certificate's private key is.
type cryptoSigner = crypto.Signer

// bigSigner has a public key too large to be accepted; what it signs is worth nothing.
type bigSigner struct{ *rsa.PrivateKey }

func (b bigSigner) Public() crypto.PublicKey { return &b.PublicKey }

func (b bigSigner) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return make([]byte, b.N.BitLen()/8), nil
}

// testKeySet is a set of one fresh master key.
func testKeySet(t testing.TB) *nts.KeySet {
	t.Helper()
	key, err := nts.NewMasterKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return nts.NewKeySet(key, 1)
}

// issue makes a certificate signed by parent, or by itself if parent is nil.
func issue(t testing.TB, parent *tls.Certificate, edit func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "chain"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), BasicConstraintsValid: true,
	}
	edit(template)
	signer, issuer := crypto.Signer(key), template
	if parent != nil {
		signer, issuer = parent.PrivateKey.(crypto.Signer), parent.Leaf
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// selfSigned is a certificate without authority.
func selfSigned(t testing.TB, name string) tls.Certificate {
	return issue(t, nil, func(c *x509.Certificate) { c.DNSNames = []string{name} })
}

// longChain is a leaf below n intermediates of one name below an unknown root: as many ways to try as there
// can be.
func longChain(t testing.TB, name string, n int) tls.Certificate {
	authority := func(c *x509.Certificate) { c.IsCA, c.KeyUsage = true, x509.KeyUsageCertSign }
	at := issue(t, nil, authority)
	var chain [][]byte
	for range n {
		next := issue(t, &at, authority)
		chain = append(chain, next.Certificate[0])
		at = next
	}
	leaf := issue(t, &at, func(c *x509.Certificate) { c.DNSNames = []string{name} })
	leaf.Certificate = append(leaf.Certificate, chain...)
	return leaf
}
