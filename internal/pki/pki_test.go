package pki

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// party is a certificate with its key.
type party struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

var noon = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// issue makes a certificate for name; a nil issuer signs itself.
func issue(t testing.TB, issuer *party, name string, edit func(*x509.Certificate)) *party {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(int64(len(name)) + time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: noon.AddDate(0, -1, 0), NotAfter: noon.AddDate(0, 2, 0), BasicConstraintsValid: true,
	}
	if edit != nil {
		edit(c)
	}
	parent, signer := c, key
	if issuer != nil {
		parent, signer = issuer.cert, issuer.key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &party{cert, key}
}

func authority(c *x509.Certificate) {
	c.IsCA, c.KeyUsage = true, x509.KeyUsageCertSign
}

func server(c *x509.Certificate) {
	c.DNSNames, c.ExtKeyUsage = []string{"ntp.example.org"}, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
}

func (p *party) pem() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.cert.Raw}))
}

func (p *party) keyPEM(t testing.TB) string {
	der, err := x509.MarshalPKCS8PrivateKey(p.key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// cut removes line n, counted from 1; a negative n counts from the end.
func edited(s string, edit func(lines []string) []string) string {
	return strings.Join(edit(strings.Split(strings.TrimSuffix(s, "\n"), "\n")), "\n") + "\n"
}

func file(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file.pem")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestLoadPair_ChainLosesNothing: what a library would step over in a chain is an error that names the line; what is only
// written in another way is read.
func TestLoadPair_ChainLosesNothing(t *testing.T) {
	root := issue(t, nil, "Root", authority)
	inter := issue(t, root, "Intermediate", authority)
	leaf := issue(t, inter, "leaf", server)
	l, i := leaf.pem(), inter.pem()
	begins := strings.Count(l, "\n") + 1 // the line of the second BEGIN
	der := leaf.cert.Raw
	for _, tt := range []struct {
		name, chain string
		line        int    // of the fault
		what        string // empty: both certificates are there
	}{
		{"as it should be", l + i, 0, ""},
		{"byte order mark", "\xef\xbb\xbf" + l + i, 0, ""},
		{"CRLF", strings.ReplaceAll(l+i, "\n", "\r\n"), 0, ""},
		{"CR", strings.ReplaceAll(l+i, "\n", "\r"), 0, ""},
		{"text around", "subject=CN = leaf\nissuer=CN = Intermediate\n" + l + "\n# the -----BEGIN CERTIFICATE----- of its issuer\n" + i + "the end", 0, ""},
		{"text behind END", strings.TrimSuffix(l, "\n") + "subject=CN = x\n" + i, 0, ""},
		{"indented", "  " + strings.ReplaceAll(l+i, "\n", "\n  "), 0, ""},
		{"old label", strings.ReplaceAll(l+i, " CERTIFICATE", " X509 CERTIFICATE"), 0, ""},
		{"no newline at the end", strings.TrimSuffix(l+i, "\n"), 0, ""},
		{"key in the same file", l + i + leaf.keyPEM(t), 0, ""},
		{"END and BEGIN share a line", strings.TrimSuffix(l, "\n") + i, begins - 1, "END and BEGIN share a line"},
		{"cut", l + edited(i, func(x []string) []string { return x[:len(x)-2] }), begins, "the CERTIFICATE that begins here has no END line"},
		{"END lost between", edited(l, func(x []string) []string { return x[:len(x)-1] }) + i, 1, "has no END line"},
		{"damaged letter", l + edited(i, func(x []string) []string { x[2] = "!" + x[2][1:]; return x }), begins + 2, "is no base64"},
		{"a line is missing", l + edited(i, func(x []string) []string { return append(x[:2], x[3:]...) }), begins, "cannot be used"},
		{"a letter is missing", l + edited(i, func(x []string) []string { x[2] = x[2][1:]; return x }), begins, "damaged"},
		{"empty block", l + "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n", begins, "damaged"},
		{"BEGIN damaged", l + strings.Replace(i, "-----BEGIN CERTIFICATE-----", "-----BEGIN CERTIFICATE----", 1), begins, "the BEGIN line is damaged"},
		{"BEGIN lost", l + edited(i, func(x []string) []string { return x[1:] }), begins + strings.Count(i, "\n") - 2, "END without a BEGIN"},
		{"BEGIN behind text", l + "issuer: " + i, begins, "BEGIN stands in the middle of the line"},
		{"another END", l + strings.Replace(i, "END CERTIFICATE", "END X509 CRL", 1), begins + strings.Count(i, "\n") - 1, "not the end of the CERTIFICATE that begins in line"},
		{"OpenSSL's own form", l + strings.ReplaceAll(i, " CERTIFICATE", " TRUSTED CERTIFICATE"), begins, "a form of OpenSSL's own"},
		{"DER", string(der), 0, "is in DER form"},
		{"UTF-16", "\xff\xfe" + strings.Join(strings.Split(l, ""), "\x00"), 0, "is UTF-16 text"},
		{"a request", strings.ReplaceAll(l, " CERTIFICATE", " CERTIFICATE REQUEST"), 0, "holds no certificate, only a CERTIFICATE REQUEST"},
		{"nothing", "", 0, "holds no certificate"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			chain := file(t, tt.chain)
			cert, remarks, err := LoadPair(chain, file(t, leaf.keyPEM(t)), noon)
			if tt.what == "" {
				if err != nil || len(cert.Certificate) != 2 || !bytes.Equal(cert.Certificate[1], inter.cert.Raw) || !cert.Leaf.Equal(leaf.cert) || len(remarks) != 0 {
					t.Fatalf("%v, remarks %v, error %v", cert, remarks, err)
				}
				return
			}
			var fe *FileError
			if !errors.As(err, &fe) || fe.Key || fe.Path != chain || fe.Fault.Line != tt.line || !strings.Contains(fe.Fault.What, tt.what) || fe.Fault.Remedy == "" {
				t.Errorf("%v, want line %d: %s", err, tt.line, tt.what)
			}
		})
	}
}

// TestLoadPair_Named: a pair that cannot serve is called what it is.
func TestLoadPair_Named(t *testing.T) {
	root := issue(t, nil, "Root", authority)
	inter := issue(t, root, "Intermediate", authority)
	leaf := issue(t, inter, "leaf", server)
	other := issue(t, inter, "other", server)
	chain, key := leaf.pem()+inter.pem(), leaf.keyPEM(t)
	ecKey, err := x509.MarshalECPrivateKey(leaf.key)
	if err != nil {
		t.Fatal(err)
	}
	sec1 := string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: ecKey}))
	legacy := strings.Replace(sec1, "KEY-----\n", "KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\n", 1)
	for _, tt := range []struct {
		name, chain, key string
		now              time.Time
		ofKey            bool
		what             string
	}{
		{"old form of the key", chain, "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n" + sec1, noon, false, ""},
		{"swapped", key, chain, noon, false, "holds a key, and the file of the key holds certificates"},
		{"key of another", chain, other.keyPEM(t), noon, true, "private key does not match the certificate of ntp.example.org"},
		{"chain in the wrong order", inter.pem() + leaf.pem(), key, noon, false, "the private key belongs to certificate 2"},
		{"encrypted", chain, strings.ReplaceAll(key, " PRIVATE", " ENCRYPTED PRIVATE"), noon, true, "line 1: the private key is encrypted"},
		{"encrypted by OpenSSL of old", chain, legacy, noon, true, "line 1: the private key is encrypted"},
		{"OpenSSH", chain, strings.ReplaceAll(key, " PRIVATE", " OPENSSH PRIVATE"), noon, true, "a key of OpenSSH"},
		{"public key", chain, strings.ReplaceAll(key, " PRIVATE", " PUBLIC"), noon, true, "holds no private key, only a PUBLIC KEY"},
		{"no key", chain, "", noon, true, "holds no private key"},
		{"key cut", chain, key[:len(key)-30], noon, true, "line 1: the PRIVATE KEY that begins here has no END line"},
		{"last second", chain, key, leaf.cert.NotAfter, false, ""},
		{"expired", chain, key, leaf.cert.NotAfter.Add(time.Second), false, "certificate expired on 2027-01-28"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			paths := map[bool]string{false: file(t, tt.chain), true: file(t, tt.key)}
			_, _, err := LoadPair(paths[false], paths[true], tt.now)
			var fe *FileError
			switch {
			case tt.what == "":
				if err != nil {
					t.Error(err)
				}
			case !errors.As(err, &fe) || fe.Key != tt.ofKey || fe.Path != paths[tt.ofKey] || !strings.Contains(err.Error(), tt.what) || fe.Fault.Remedy == "":
				t.Errorf("%v, want %q", err, tt.what)
			}
			if err != nil && strings.Contains(err.Error(), key[40:60]) {
				t.Error("the error shows the key")
			}
		})
	}
}

// TestLoadPair_Remarks: what loads and what clients will not like is told.
func TestLoadPair_Remarks(t *testing.T) {
	t.Setenv("SSL_CERT_DIR", t.TempDir())
	root := issue(t, nil, "Root", authority)
	inter := issue(t, root, "Intermediate", authority)
	stranger := issue(t, nil, "Stranger", authority)
	known := issue(t, nil, "Known Root", authority)
	t.Setenv("SSL_CERT_FILE", file(t, known.pem()))
	with := func(edit func(*x509.Certificate)) func(*x509.Certificate) {
		return func(c *x509.Certificate) { server(c); edit(c) }
	}
	leaf := issue(t, inter, "leaf", server)
	for _, tt := range []struct {
		name string
		of   *party
		tail string
		now  time.Time
		want string // empty: none
	}{
		{"nothing", leaf, inter.pem(), noon, ""},
		{"15 days left", leaf, inter.pem(), leaf.cert.NotAfter.Add(-15 * 24 * time.Hour), ""},
		{"13 days left", leaf, inter.pem(), leaf.cert.NotAfter.Add(-13 * 24 * time.Hour), "expires on 2027-01-28"},
		{"not yet", leaf, inter.pem(), leaf.cert.NotBefore.Add(-time.Hour), "not valid before 2026-10-28"},
		{"no name", issue(t, inter, "leaf", with(func(c *x509.Certificate) { c.DNSNames = nil })), inter.pem(), noon, "names no host"},
		{"an address is a name", issue(t, inter, "leaf", with(func(c *x509.Certificate) { c.DNSNames, c.IPAddresses = nil, []net.IP{{192, 0, 2, 1}} })), inter.pem(), noon, ""},
		{"for clients", issue(t, inter, "leaf", with(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })), inter.pem(), noon, "not for servers"},
		{"for everything", issue(t, inter, "leaf", with(func(c *x509.Certificate) { c.ExtKeyUsage = nil })), inter.pem(), noon, ""},
		{"alone", leaf, "", noon, `without that of its issuer "Intermediate"`},
		{"alone, of a root that all know", issue(t, known, "leaf", server), "", noon, ""},
		{"alone and its own issuer", issue(t, nil, "leaf", server), "", noon, ""},
		{"foreign issuer", leaf, stranger.pem(), noon, "certificate 2 of the chain is not the issuer of certificate 1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, remarks, err := LoadPair(file(t, tt.of.pem()+tt.tail), file(t, tt.of.keyPEM(t)), tt.now)
			got := ""
			for _, r := range remarks {
				got += r.What
				if r.Remedy == "" || r.Time != strings.Contains(tt.want, "-") {
					t.Errorf("%+v", r)
				}
			}
			if err != nil || (tt.want == "") != (got == "") || !strings.Contains(got, tt.want) || len(remarks) > 1 {
				t.Errorf("%q, %v, want %q", got, err, tt.want)
			}
		})
	}
}

// TestReadRoots: a root that cannot be used costs that root and a fault with its line, never the others.
func TestReadRoots(t *testing.T) {
	a, b := issue(t, nil, "A", authority), issue(t, nil, "B", authority)
	next := strings.Count(b.pem(), "\n") + 1
	for _, tt := range []struct {
		name, text string
		roots      int
		line       int
		what       string
	}{
		{"two", b.pem() + a.pem(), 2, 0, ""},
		{"byte order mark", "\xef\xbb\xbf" + a.pem() + b.pem(), 2, 0, ""},
		{"indented", b.pem() + "    " + strings.ReplaceAll(a.pem(), "\n", "\n    "), 2, 0, ""},
		{"old label", b.pem() + strings.ReplaceAll(a.pem(), " CERTIFICATE", " X509 CERTIFICATE"), 2, 0, ""},
		{"damaged", b.pem() + edited(a.pem(), func(x []string) []string { x[2] = "!" + x[2][1:]; return x }), 1, next + 2, "is no base64"},
		{"no certificate inside", b.pem() + "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", 1, next, "cannot be used"},
		{"OpenSSL's own form", b.pem() + strings.ReplaceAll(a.pem(), " CERTIFICATE", " TRUSTED CERTIFICATE"), 1, next, "OpenSSL's own"},
		{"none left", strings.ReplaceAll(a.pem(), " CERTIFICATE", " TRUSTED CERTIFICATE"), 0, 1, "OpenSSL's own"},
		{"none", "# nothing yet\n", 0, 0, "holds no certificate"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			list, faults, err := ReadRoots(file(t, tt.text))
			var fe *FileError
			if errors.As(err, &fe) {
				faults = []Fault{fe.Fault}
			}
			if len(list) != tt.roots || (err != nil) != (tt.roots == 0) || (tt.what == "") != (len(faults) == 0) {
				t.Fatalf("%d roots, %v, %v", len(list), faults, err)
			}
			if tt.what != "" && (faults[0].Line != tt.line || !strings.Contains(faults[0].What, tt.what)) {
				t.Errorf("%v, want line %d: %s", faults[0], tt.line, tt.what)
			}
		})
	}
}

// TestRoots_SeenWhileRunning: a root that is added is believed as soon as a chain fails on it, looked for at most once a
// minute; one that is taken away is believed for an hour at most, and not after Forget.
func TestRoots_SeenWhileRunning(t *testing.T) {
	a, b := issue(t, nil, "A", authority), issue(t, nil, "B", authority)
	path := file(t, a.pem())
	r := NewRoots(path, false)
	believes := func(now time.Time, p *party) bool {
		t.Helper()
		pool, err := r.Pool(now)
		if err != nil {
			t.Fatal(err)
		}
		_, err = p.cert.Verify(x509.VerifyOptions{Roots: pool, CurrentTime: noon})
		return err == nil
	}
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	unknown := error(x509.UnknownAuthorityError{})
	if !believes(noon, a) || believes(noon, b) {
		t.Fatal("not the roots of the file")
	}
	write(a.pem() + b.pem())
	switch {
	case r.Doubt(errors.New("connection refused"), noon.Add(2*time.Minute)) || believes(noon.Add(2*time.Minute), b):
		t.Error("read again for a fault that is none of the roots")
	case r.Doubt(unknown, noon.Add(59*time.Second)):
		t.Error("read again within a minute")
	case !r.Doubt(unknown, noon.Add(61*time.Second)) || !believes(noon.Add(61*time.Second), b):
		t.Error("the new root is not seen")
	case r.Doubt(unknown, noon.Add(3*time.Minute)):
		t.Error("another try without another root")
	}
	read := noon.Add(3 * time.Minute)
	write(a.pem())
	switch {
	case !believes(read.Add(time.Hour), b):
		t.Error("read again before an hour")
	case believes(read.Add(time.Hour+time.Second), b):
		t.Error("a root that was taken away is believed for ever")
	}
	write(b.pem())
	if r.Forget(); !believes(read.Add(time.Hour+2*time.Second), b) {
		t.Error("not read after Forget")
	}
	write("")
	r.Forget()
	if pool, err := r.Pool(read.Add(2 * time.Hour)); err == nil || pool != nil || !strings.Contains(err.Error(), path+": holds no certificate") {
		t.Errorf("%v, %v", pool, err)
	}
	write(a.pem())
	if believes(read.Add(2*time.Hour+61*time.Second), a); r.err != nil {
		t.Error(r.err)
	}
}

// TestRoots_Pinned: without the system's roots the file's are all; with them they are added.
func TestRoots_Pinned(t *testing.T) {
	system, own := issue(t, nil, "System", authority), issue(t, nil, "Own", authority)
	t.Setenv("SSL_CERT_FILE", file(t, system.pem()))
	t.Setenv("SSL_CERT_DIR", t.TempDir())
	path := file(t, own.pem())
	for _, tt := range []struct {
		roots       *Roots
		system, own bool
	}{{NewRoots(path, false), false, true}, {NewRoots(path, true), true, true}, {NewRoots("", true), true, false}} {
		pool, err := tt.roots.Pool(noon)
		if err != nil {
			t.Fatal(err)
		}
		for p, want := range map[*party]bool{system: tt.system, own: tt.own} {
			if _, err := p.cert.Verify(x509.VerifyOptions{Roots: pool, CurrentTime: noon}); (err == nil) != want {
				t.Errorf("%+v: %s: %v", tt.roots, p.cert.Subject, err)
			}
		}
	}
	if !NewRoots(path, false).Equal(NewRoots(path, false), noon) || NewRoots(path, false).Equal(NewRoots(path, true), noon) {
		t.Error("Equal")
	}
	gone := filepath.Join(t.TempDir(), "gone.pem")
	if !NewRoots(gone, false).Equal(NewRoots(gone, false), noon) || NewRoots(gone, false).Equal(NewRoots(gone, true), noon) || NewRoots(gone, true).Equal(NewRoots(path, true), noon) {
		t.Error("Equal without the file")
	}
}

func FuzzReadPEM(f *testing.F) {
	p := issue(f, nil, "A", authority)
	f.Add([]byte(p.pem()))
	f.Add([]byte(strings.TrimSuffix(p.pem(), "\n") + p.pem()))
	f.Add([]byte("-----BEGIN A-----\nProc-Type: 4,ENCRYPTED\nQUJD\n-----END A-----"))
	f.Fuzz(func(t *testing.T, data []byte) {
		blocks, faults := readPEM(data)
		if len(faults) > mostFaults {
			t.Errorf("%d faults", len(faults))
		}
		// Whatever the library finds on its own is found here, or there is a fault.
		if len(faults) > 0 || bytes.ContainsRune(data, '\r') {
			return
		}
		n := 0
		for b, rest := pem.Decode(data); b != nil; b, rest = pem.Decode(rest) {
			if len(b.Bytes) > 0 {
				n++
			}
		}
		if n > len(blocks) {
			t.Errorf("%d blocks, encoding/pem has %d", len(blocks), n)
		}
	})
}

// TestPair_SignsAlike: an ECDSA key signs the same twice (RFC 6979 §3), what its own public key verifies; the test vector is that of
// RFC 6979 appendix A.2.5 for SHA-256 and "sample".
func TestPair_SignsAlike(t *testing.T) {
	x, _ := new(big.Int).SetString("C9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721", 16)
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), x.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	self := &party{key: key}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: noon.AddDate(0, -1, 0), NotAfter: noon.AddDate(0, 2, 0)}
	server(c)
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	if self.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	cert, _, f := parsePair([]byte(self.pem()), []byte(self.keyPEM(t)))
	if f != nil {
		t.Fatal(f)
	}
	digest := sha256.Sum256([]byte("sample"))
	sign := cert.PrivateKey.(crypto.Signer)
	signature, err := sign.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	const r, s = "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716", "f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8"
	if got := hex.EncodeToString(signature); !strings.Contains(got, r) || !strings.HasSuffix(got, s) {
		t.Errorf("signature %s", got)
	}
	if !ecdsa.VerifyASN1(sign.Public().(*ecdsa.PublicKey), digest[:], signature) {
		t.Error("does not verify")
	}
}
