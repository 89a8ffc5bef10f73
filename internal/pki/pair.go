package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"ntp-daemon/internal/durable"
)

// Notice is how long before its end a certificate is warned of. Those of automatic authorities are renewed a month ahead,
// so that 14 days mean that this failed for two weeks.
const Notice = 14 * 24 * time.Hour

// Remark is something about a certificate that loads and that clients will not like.
type Remark struct {
	Time         bool // it depends on the time that LoadPair was given
	What, Remedy string
}

// mostBytes caps a file; the system's whole trust store is a quarter of a megabyte.
const mostBytes = 4 << 20

// FileError says which of a pair's two files is at fault.
type FileError struct {
	Key   bool // the private key's file, else the chain's
	Path  string
	Fault Fault
	Err   error // of the system when the file cannot be read; nil otherwise
}

// Error is "PATH: what; remedy".
func (e *FileError) Error() string { return e.Path + ": " + e.Fault.Error() }

// Unwrap returns the system's error.
func (e *FileError) Unwrap() error { return e.Err }

// Read returns the content of a file; the error is the system's reason, without the path.
func Read(path string) ([]byte, error) {
	data, err := durable.ReadNamed(path, mostBytes)
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		err = pe.Err
	}
	return data, err
}

// LoadPair reads a chain and its key as a server needs them: the server's own certificate first, then its issuers in any
// number, and one unencrypted key. An expired certificate is an error, because no client would accept it. The remarks are
// about what loads and what clients will not like. The error is a *FileError.
func LoadPair(chain, key string, now time.Time) (*tls.Certificate, []Remark, error) {
	chainPEM, err := Read(chain)
	if err != nil {
		return nil, nil, &FileError{Path: chain, Fault: Fault{What: err.Error(), Remedy: "check the path and that this user may read it"}, Err: err}
	}
	keyPEM, err := Read(key)
	if err != nil {
		return nil, nil, &FileError{Key: true, Path: key, Fault: Fault{What: err.Error(), Remedy: "check the path and that this user may read it"}, Err: err}
	}
	defer clear(keyPEM)
	cert, ofKey, f := parsePair(chainPEM, keyPEM)
	if f == nil && now.After(cert.Leaf.NotAfter) {
		f = &Fault{What: "certificate expired on " + cert.Leaf.NotAfter.UTC().Format(time.DateOnly), Remedy: "renew it"}
	}
	if f != nil {
		e := &FileError{Key: ofKey, Path: chain, Fault: *f}
		if ofKey {
			e.Path = key
		}
		return nil, nil, e
	}
	return cert, remarks(cert, now), nil
}

// parsePair makes a certificate of two files; ofKey tells which one the fault is about.
func parsePair(chainPEM, keyPEM []byte) (cert *tls.Certificate, ofKey bool, f *Fault) {
	chainBlocks, chainFaults := readPEM(chainPEM)
	keyBlocks, keyFaults := readPEM(keyPEM)
	defer wipe(keyBlocks)
	if len(chainFaults) > 0 {
		return nil, false, &chainFaults[0]
	}
	if !slices.ContainsFunc(chainBlocks, isCertificate) && slices.ContainsFunc(chainBlocks, isKey) && slices.ContainsFunc(keyBlocks, isCertificate) {
		return nil, false, &Fault{What: "holds a key, and the file of the key holds certificates", Remedy: "swap the two paths"}
	}
	list, f := certificates(chainBlocks)
	if f != nil {
		return nil, false, f
	}
	if len(keyFaults) > 0 {
		return nil, true, &keyFaults[0]
	}
	key, f := privateKey(keyBlocks)
	if f != nil {
		return nil, true, f
	}
	switch i := slices.IndexFunc(list, func(c *x509.Certificate) bool { return belongs(key, c) }); {
	case i < 0:
		return nil, true, &Fault{What: "private key does not match the certificate of " + holder(list[0]), Remedy: "give the key of the first certificate of the chain"}
	case i > 0:
		return nil, false, &Fault{What: fmt.Sprintf("the private key belongs to certificate %d", i+1), Remedy: "put the server's own certificate first, then its issuers"}
	}
	cert = &tls.Certificate{PrivateKey: signing(key), Leaf: list[0]}
	for _, c := range list {
		cert.Certificate = append(cert.Certificate, c.Raw)
	}
	return cert, false, nil
}

func wipe(blocks []block) {
	for _, b := range blocks {
		clear(b.der)
	}
}

func isCertificate(b block) bool { return b.label == "CERTIFICATE" || b.label == "X509 CERTIFICATE" }
func isKey(b block) bool         { return strings.HasSuffix(b.label, "PRIVATE KEY") }

// Certificates returns the certificates of a file, at least one. The error is a *Fault.
func Certificates(data []byte) ([]*x509.Certificate, error) {
	blocks, faults := readPEM(data)
	if len(faults) > 0 {
		return nil, &faults[0]
	}
	list, f := certificates(blocks)
	if f != nil {
		return nil, f
	}
	return list, nil
}

// certificates parses the certificates among the blocks.
func certificates(blocks []block) (list []*x509.Certificate, f *Fault) {
	for _, b := range blocks {
		if isCertificate(b) || b.label == trusted {
			c, f := certificate(b)
			if f != nil {
				return nil, f
			}
			list = append(list, c)
		}
	}
	if len(list) > 0 {
		return list, nil
	}
	f = &Fault{What: "holds no certificate", Remedy: "give a file in PEM form"}
	if len(blocks) > 0 {
		f.What += fmt.Sprintf(", only a %s", blocks[0].label)
	}
	return nil, f
}

// trusted is OpenSSL's own form, a certificate with a list of what it is trusted for behind it.
const trusted = "TRUSTED CERTIFICATE"

func certificate(b block) (*x509.Certificate, *Fault) {
	if b.label == trusted {
		return nil, &Fault{b.line, "a TRUSTED CERTIFICATE is a form of OpenSSL's own", "convert it with openssl x509 -in FILE -out FILE.pem"}
	}
	c, err := x509.ParseCertificate(b.der)
	if err != nil {
		return nil, &Fault{b.line, "this certificate cannot be used: " + strings.TrimPrefix(err.Error(), "x509: "), "replace it"}
	}
	return c, nil
}

// privateKey returns the first key among the blocks.
func privateKey(blocks []block) (crypto.PrivateKey, *Fault) {
	at := slices.IndexFunc(blocks, isKey)
	if at < 0 {
		what := "holds no private key"
		if len(blocks) > 0 {
			what += fmt.Sprintf(", only a %s", blocks[0].label)
		}
		return nil, &Fault{What: what, Remedy: "give the key of the chain's first certificate in PEM form"}
	}
	b := blocks[at]
	switch {
	case b.encrypted, b.label == "ENCRYPTED PRIVATE KEY":
		return nil, &Fault{b.line, "the private key is encrypted, and nobody is asked for its pass phrase at the start", "store it unencrypted, as with openssl pkey -in FILE -out FILE.key"}
	case b.label == "OPENSSH PRIVATE KEY":
		return nil, &Fault{b.line, "is a key of OpenSSH", "give the key of the certificate"}
	}
	key, err := x509.ParsePKCS8PrivateKey(b.der)
	if err == nil {
		return key, nil
	}
	if key, err := x509.ParsePKCS1PrivateKey(b.der); err == nil {
		return key, nil
	}
	if key, err := x509.ParseECPrivateKey(b.der); err == nil {
		return key, nil
	}
	return nil, &Fault{b.line, "the private key cannot be used", "give an RSA, ECDSA or Ed25519 key in PEM form"}
}

// belongs reports whether the key is the certificate's.
func belongs(key crypto.PrivateKey, c *x509.Certificate) bool {
	switch k := key.(type) {
	case *rsa.PrivateKey:
		return k.PublicKey.Equal(c.PublicKey)
	case *ecdsa.PrivateKey:
		return k.PublicKey.Equal(c.PublicKey)
	case ed25519.PrivateKey:
		return k.Public().(ed25519.PublicKey).Equal(c.PublicKey)
	}
	return false
}

// holder is whom a certificate is for.
func holder(c *x509.Certificate) string {
	if len(c.DNSNames) > 0 {
		return c.DNSNames[0]
	}
	return c.Subject.String()
}

// remarks are what clients will not like about a server's certificate.
func remarks(cert *tls.Certificate, now time.Time) (list []Remark) {
	leaf := cert.Leaf
	day := func(t time.Time) string { return t.UTC().Format(time.DateOnly) }
	switch {
	case now.Before(leaf.NotBefore):
		list = append(list, Remark{true, "certificate is not valid before " + day(leaf.NotBefore), "check it and the clock"})
	case leaf.NotAfter.Sub(now) < Notice:
		list = append(list, Remark{true, "certificate expires on " + day(leaf.NotAfter), "renew it"})
	}
	if len(leaf.DNSNames) == 0 && len(leaf.IPAddresses) == 0 {
		list = append(list, Remark{What: "certificate names no host (subjectAltName), clients refuse it", Remedy: "get one with the server's name"})
	}
	if len(leaf.ExtKeyUsage) > 0 && !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageServerAuth) && !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageAny) {
		list = append(list, Remark{What: "certificate is not for servers (extended key usage), clients refuse it", Remedy: "get one with serverAuth"})
	}
	if r := broken(cert); r.What != "" {
		list = append(list, r)
	}
	return list
}

// broken says where the way from the server's certificate to its root ends early.
func broken(cert *tls.Certificate) Remark {
	var list []*x509.Certificate
	for _, der := range cert.Certificate {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return Remark{}
		}
		list = append(list, c)
	}
	for i := range len(list) - 1 {
		if list[i].CheckSignatureFrom(list[i+1]) != nil {
			return Remark{
				What:   fmt.Sprintf("certificate %d of the chain is not the issuer of certificate %d, many clients refuse it", i+2, i+1),
				Remedy: "write the chain in order",
			}
		}
	}
	if len(list) > 1 || slices.Equal(list[0].RawSubject, list[0].RawIssuer) {
		return Remark{}
	}
	roots := systemRoots()
	_, err := list[0].Verify(x509.VerifyOptions{Roots: roots, CurrentTime: list[0].NotBefore.Add(time.Second), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	if errors.As(err, new(x509.UnknownAuthorityError)) {
		return Remark{
			What:   fmt.Sprintf("the chain is the server's certificate alone, without that of its issuer %q", list[0].Issuer.CommonName),
			Remedy: "append the intermediate certificates unless clients know this issuer",
		}
	}
	return Remark{}
}
