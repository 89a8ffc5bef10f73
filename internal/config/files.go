package config

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"ntp-daemon/internal/secret"
)

// Caps on what is read, far above any sensible file and far below what hurts.
const (
	longestConfig = 4 << 20 // 10000 sources take less than one megabyte
	longestPEM    = 4 << 20 // the system's whole trust store is a quarter of a megabyte
	worldWrite    = 0o002
	worldRead     = 0o004
)

// readCapped returns the content of a file of at most most bytes.
func readCapped(path string, most int64) ([]byte, error) {
	f, err := os.Open(path) //nolint:gosec // the path is the operator's own choice
	if err != nil {
		return nil, cause(err)
	}
	defer f.Close() //nolint:errcheck // opened for reading
	if st, err := f.Stat(); err == nil && st.IsDir() {
		return nil, errors.New("is a directory")
	}
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, cause(err)
	}
	if int64(len(data)) > most {
		return nil, fmt.Errorf("is larger than %d bytes", most)
	}
	return data, nil
}

// cause strips the operation and the path from an error of package os; the message has the path already.
func cause(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// checkMode warns of a configuration that others may change (row F03).
func (l *loader) checkMode(path string) {
	if st, err := os.Stat(path); err == nil && st.Mode().IsRegular() && st.Mode().Perm()&worldWrite != 0 {
		l.fileWarning(fmt.Sprintf("everybody may write it (mode %04o)", st.Mode().Perm()), "chmod o-w "+path)
	}
	st, err := os.Lstat(path)
	if err != nil || st.Mode()&fs.ModeSymlink == 0 {
		return
	}
	if owner, ok := st.Sys().(*syscall.Stat_t); ok && owner.Uid != 0 && int(owner.Uid) != os.Geteuid() {
		l.fileWarning(fmt.Sprintf("is a symbolic link of user %d, who can point it elsewhere", owner.Uid), "name the file itself")
	}
}

// named reads a file that a key names; nil when it cannot, which it reports.
func (l *loader) named(t *table, key string, at *node, path string) []byte {
	if !l.files || path == "" {
		return nil
	}
	data, err := readCapped(path, longestPEM)
	if err != nil {
		t.fail(key, at, fmt.Sprintf("%s: %v", path, err), "give the path of a readable file")
		return nil
	}
	if data == nil {
		data = []byte{}
	}
	return data
}

// certificates returns the certificates of a PEM file, at least one; nil after it reported what is wrong.
func (l *loader) certificates(t *table, key string, at *node, path string) []*x509.Certificate {
	data := l.named(t, key, at, path)
	if data == nil {
		return nil
	}
	return parseCertificates(data, func(what, remedy string) { t.fail(key, at, path+what, remedy) })
}

func parseCertificates(data []byte, fail func(what, remedy string)) []*x509.Certificate {
	var list []*x509.Certificate
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			fail(fmt.Sprintf(": certificate %d: %v", len(list)+1, err), "replace it")
			return nil
		}
		list = append(list, c)
	}
	if len(list) == 0 {
		fail(" holds no certificate", "give a file in PEM form")
	}
	return list
}

// roots returns the system's roots with those of the file added; nil when there is no file.
func (l *loader) roots(t *table, key, path string) *x509.CertPool {
	n := t.node.children[key]
	if n == nil {
		return nil
	}
	list := l.certificates(t, key, n, path)
	if list == nil {
		return nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil { // no trust store on this host: the file's roots are all there is
		pool = x509.NewCertPool()
	}
	for _, c := range list {
		pool.AddCert(c)
	}
	return pool
}

// leaf returns the DER of a file that must hold exactly one certificate (docs/rules/configuration.md#one-certificate).
func (l *loader) leaf(t *table, key string, at *node) []byte {
	list := l.certificates(t, key, at, at.text)
	switch len(list) {
	case 0:
		return nil
	case 1:
		return list[0].Raw
	}
	t.fail(key, at, fmt.Sprintf("%s holds %d certificates", at.text, len(list)), "give a file with the pool's own certificate alone")
	return nil
}

// checkKeyPair makes sure that the certificate and the key are there and belong together, so that validate
// finds what would stop the server. What this user may not read is no problem here: the server may run as
// another one, and reads both files itself.
func (l *loader) checkKeyPair(t *table, chainKey, keyKey, chain, key string) {
	if !l.files || chain == "" || key == "" {
		return
	}
	chainAt, keyAt := t.node.children[chainKey], t.node.children[keyKey]
	chainPEM := l.readable(t, chainKey, chainAt, chain)
	keyPEM := l.readable(t, keyKey, keyAt, key)
	defer clear(keyPEM)
	if chainPEM == nil || parseCertificates(chainPEM, func(what, remedy string) { t.fail(chainKey, chainAt, chain+what, remedy) }) == nil || keyPEM == nil {
		return
	}
	if _, err := tls.X509KeyPair(chainPEM, keyPEM); err != nil {
		t.fail(keyKey, keyAt, fmt.Sprintf("%s: %s", key, strings.TrimPrefix(err.Error(), "tls: ")), "give the key of "+chainKey+" in PEM form")
	}
	st, err := os.Stat(key)
	switch {
	case err != nil:
	case st.Mode().Perm()&worldWrite != 0:
		l.warn(keyAt.val, t.name(keyKey), key+" is writable by everybody", "chmod 600 "+key)
	case st.Mode().Perm()&worldRead != 0:
		l.note(keyAt.val, t.name(keyKey), key+" is readable by everybody", "chmod 600 "+key)
	}
}

// readable is named, with a note instead of a problem when permission is what is missing.
func (l *loader) readable(t *table, key string, at *node, path string) []byte {
	if f, err := os.Open(path); errors.Is(err, fs.ErrPermission) { //nolint:gosec // the operator's own choice
		l.note(at.val, t.name(key), path+" is not readable by this user, it was not checked", "")
		return nil
	} else if err == nil {
		_ = f.Close()
	}
	return l.named(t, key, at, path)
}

// tokenFile returns the tokens of a file, one per line; blank lines do not count.
func (l *loader) tokenFile(t *table, key, path string) []secret.Bytes {
	n := t.node.children[key]
	data := l.named(t, key, n, path)
	if data == nil {
		return nil
	}
	defer clear(data)
	var list []secret.Bytes
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		if what := checkToken(line); what != "" {
			t.fail(key, n, path+" "+what, "make a new token")
			return nil
		}
		list = append(list, secret.Bytes(line))
	}
	if len(list) == 0 {
		t.fail(key, n, path+" holds no token", "write one token per line")
	}
	return list
}
