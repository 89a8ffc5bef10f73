package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"ntp-daemon/internal/durable"
	"ntp-daemon/internal/pki"
	"ntp-daemon/internal/pool"
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
	data, err := durable.ReadNamed(path, most)
	return data, cause(err)
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

// noteTokens mentions once that others can read the configuration, which holds tokens.
func (l *loader) noteTokens(key string, at int) {
	if l.tokensNoted || !l.files {
		return
	}
	l.tokensNoted = true
	file := l.file
	l.examine(key, at, func(_ *Machine, found func(CheckID, string, string)) {
		if st, err := os.Stat(file); err == nil && st.Mode().Perm()&worldRead != 0 {
			found(CheckFileMode, "everybody can read this file and its tokens; chmod o-r "+file, "")
		}
	})
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

// authority is where the trusted roots of key exchanges are written down.
type authority struct {
	file   string // PEM; empty: none
	system bool   // system-certificates: the system's, too
}

// authorityKeys reads both keys over what is in a.
func (t *table) authorityKeys(key string, a *authority) {
	t.file(key, "/etc/ntp-daemon/ca.pem", &a.file)
	const system = "system-certificates"
	t.boolean(system, &a.system)
	if n := t.node.children[system]; n != nil && !a.system && !t.has(key) && a.file == "" {
		t.fail(system, n, "is false and there is no "+key+", so nobody would be believed", "write "+key)
	}
}

// roots reads whom key exchanges believe. The file is read when they need it, and again while the program runs.
func (l *loader) roots(t *table, key string, defaults authority) *pki.Roots {
	a := defaults
	t.authorityKeys(key, &a)
	name := fmt.Sprint(a.system, a.file)
	if l.trust[name] == nil {
		l.trust[name] = pki.NewRoots(a.file, a.system)
		if a.file != "" {
			n := t.node.children[key]
			if n == nil { // from the defaults
				n = t.node
			}
			l.examine(t.name(key), n.val, examineRoots(a.file))
		}
	}
	return l.trust[name]
}

// leaf returns the DER of a file that must hold exactly one certificate (docs/rules/configuration.md#one-certificate).
func (l *loader) leaf(t *table, key string, at *node) []byte {
	if !l.files {
		return nil
	}
	refuse := func(what, remedy string) []byte {
		l.told(CheckPoolCertificate, at.val, t.name(key), at.text+": "+what, remedy)
		return nil
	}
	data, err := pki.Read(at.text)
	if err != nil {
		return refuse(err.Error(), "give the path of a readable file")
	}
	list, err := pki.Certificates(data)
	var f *pki.Fault
	switch {
	case errors.As(err, &f):
		return refuse(f.Says(), f.Remedy)
	case len(list) > 1:
		return refuse(fmt.Sprintf("holds %d certificates", len(list)), "give a file with the pool's own certificate alone")
	}
	return list[0].Raw
}

// tokenFile returns the tokens of a file, one per line; blank lines and those that begin with # do not count.
func (l *loader) tokenFile(t *table, key, path string) []secret.Bytes {
	n := t.node.children[key]
	data := l.named(t, key, n, path)
	if data == nil {
		return nil
	}
	defer clear(data)
	t.examine(key, examineTokenFile(path))
	var list []secret.Bytes
	number := 0
	for line := range strings.Lines(strings.TrimPrefix(string(data), "\xef\xbb\xbf")) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if what := tokenFault(line); what != "" {
			t.fail(key, n, fmt.Sprintf("%s: line %d %s", path, number, what), "write one token per line")
			return nil
		}
		if len(line) < shortToken {
			l.told(CheckShortToken, n.val, t.name(key), fmt.Sprintf("%s: line %d holds a token of %d characters, which can be guessed", path, number, len(line)), newToken)
		}
		list = append(list, secret.Bytes(line))
	}
	if len(list) == 0 {
		t.fail(key, n, path+" holds no token", "write one token per line")
	}
	return list
}

// tokenFault is checkToken, and what shows that another kind of file was named.
func tokenFault(line string) string {
	switch {
	case strings.HasPrefix(line, "-----BEGIN "):
		return "begins a PEM block, which is no token"
	case len(line) > pool.MaxTokenBytes:
		return fmt.Sprintf("holds a token of more than %d bytes", pool.MaxTokenBytes)
	}
	return checkToken(line)
}
