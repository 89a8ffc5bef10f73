package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"ntp-daemon/internal/pki"
)

// Machine is what the checks about this machine look at, besides the files that keys name.
type Machine struct {
	Now       time.Time    // certificates are judged as of then
	Addresses []netip.Addr // of all interfaces; nil: listen addresses are not looked for
	Resolvers string       // path of resolv.conf; empty: the system's
}

// Examine runs the checks about this machine and returns what they found, in the order of the file. It changes nothing.
func (c *Config) Examine(m Machine) []Warning { return examineAll(c.examinations, &m) }

// Examine is that of Config.
func (p *Pool) Examine(m Machine) []Warning { return examineAll(p.examinations, &m) }

// examination is one value of the file that is about this machine.
type examination struct {
	at    Problem // the place of the value
	order int     // its offset
	run   func(m *Machine, found func(id CheckID, what, remedy string))
}

func examineAll(list []examination, m *Machine) (all []Warning) {
	slices.SortStableFunc(list, func(a, b examination) int { return a.order - b.order })
	for _, e := range list {
		e.run(m, func(id CheckID, what, remedy string) {
			w := Warning{Problem: e.at, Check: id}
			w.What, w.Remedy = what, remedy
			w.Info = remedy == ""
			all = append(all, w)
		})
	}
	return all
}

// examine notes what is to be looked at later.
func (l *loader) examine(key string, offset int, run func(*Machine, func(CheckID, string, string))) {
	l.examinations = append(l.examinations, examination{l.at(offset, key, "", ""), offset, run})
}

func (t *table) examine(key string, run func(*Machine, func(CheckID, string, string))) {
	t.l.examine(t.name(key), t.node.children[key].val, run)
}

// examineKeyPair loads a server's certificate as the programs do. What this user may not read is only mentioned: the server
// may run as another one. Of a key that others can read a note is enough, because a folder that they cannot enter keeps
// them out.
func (t *table) examineKeyPair(chainKey, keyKey, chain, key string) {
	t.examine(chainKey, func(m *Machine, found func(CheckID, string, string)) {
		_, remarks, err := pki.LoadPair(chain, key, m.Now)
		var fe *pki.FileError
		if errors.As(err, &fe) && !fe.Key {
			unusable(found, fe)
		}
		for _, r := range remarks {
			id := CheckCertificateUse
			if r.Time {
				id = CheckCertificateTime
			}
			found(id, chain+": "+r.What, r.Remedy)
		}
	})
	t.examine(keyKey, func(m *Machine, found func(CheckID, string, string)) {
		_, _, err := pki.LoadPair(chain, key, m.Now)
		var fe *pki.FileError
		if errors.As(err, &fe) && !fe.Key { // that is told already; of the key there is only to see whether it is there
			_, err = pki.Read(key)
			fe = &pki.FileError{Path: key, Fault: pki.Fault{What: fmt.Sprint(err), Remedy: fe.Fault.Remedy}, Err: err}
		}
		if err != nil {
			unusable(found, fe)
		}
		st, err := os.Stat(key)
		switch {
		case err != nil:
		case st.Mode().Perm()&worldWrite != 0:
			found(CheckFileMode, key+" is writable by everybody", "chmod 600 "+key)
		case st.Mode().Perm()&worldRead != 0:
			found(CheckFileMode, key+" is readable by everybody; chmod 600 "+key, "")
		}
	})
}

func unusable(found func(CheckID, string, string), e *pki.FileError) {
	if errors.Is(e.Err, fs.ErrPermission) {
		found(CheckCertificate, e.Path+" is not readable by this user, it was not checked", "")
		return
	}
	found(CheckCertificate, e.Path+": "+e.Fault.Says(), e.Fault.Remedy)
}

// examineRoots reads a file of trusted roots.
func examineRoots(path string) func(*Machine, func(CheckID, string, string)) {
	return func(_ *Machine, found func(CheckID, string, string)) {
		_, faults, err := pki.ReadRoots(path)
		var fe *pki.FileError
		if errors.As(err, &fe) {
			found(CheckAuthority, fe.Path+": "+fe.Fault.Says(), fe.Fault.Remedy)
			return
		}
		for i := range faults {
			found(CheckRoot, path+": "+faults[i].Says(), faults[i].Remedy)
		}
	}
}

// examineTokenFile looks at who else may read or change a file of tokens.
func examineTokenFile(path string) func(*Machine, func(CheckID, string, string)) {
	return func(_ *Machine, found func(CheckID, string, string)) {
		st, err := os.Stat(path)
		switch {
		case err != nil:
		case st.Mode().Perm()&worldWrite != 0:
			found(CheckFileMode, path+" is writable by everybody", "chmod 600 "+path)
		case st.Mode().Perm()&worldRead != 0:
			found(CheckFileMode, path+": its tokens are readable by everybody", "chmod 600 "+path)
		}
	}
}

// examineLog looks at where the log shall go. The file itself may be absent, and it is not made here.
func examineLog(path string) func(*Machine, func(CheckID, string, string)) {
	return func(_ *Machine, found func(CheckID, string, string)) {
		if st, err := os.Stat(path); err == nil && st.IsDir() {
			found(CheckLogFile, path+" is a directory", "name a file")
		} else if what := folderFault(filepath.Dir(path)); what != "" {
			found(CheckLogFile, what, "make the folder")
		}
	}
}

// examineSocket looks at the folder of a socket, which is made if only that is missing.
func examineSocket(path string) func(*Machine, func(CheckID, string, string)) {
	return func(_ *Machine, found func(CheckID, string, string)) {
		folder := filepath.Dir(path)
		what := folderFault(folder)
		if what != "" && (!strings.HasSuffix(what, absent) || folderFault(filepath.Dir(folder)) != "") {
			found(CheckSocketFolder, what, "make the folder")
		}
	}
}

// examineFolder looks whether a folder is there in which state is to be kept.
func examineFolder(path string) func(*Machine, func(CheckID, string, string)) {
	return func(_ *Machine, found func(CheckID, string, string)) {
		if what := folderFault(path); what != "" {
			found(CheckStateFolder, what, "make the folder, and give it to the user that the program runs as")
		}
	}
}

// absent ends what folderFault says of a folder that could be made.
const absent = " is absent"

// folderFault is what keeps a file from being made in a folder; empty when this user cannot tell.
func folderFault(path string) string {
	st, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "the folder " + path + absent
	case err == nil && !st.IsDir():
		return path + " is not a folder"
	}
	return ""
}

// examineListen looks for the address among those of the interfaces.
func examineListen(a netip.AddrPort) func(*Machine, func(CheckID, string, string)) {
	return func(m *Machine, found func(CheckID, string, string)) {
		ip := a.Addr().WithZone("").Unmap()
		if m.Addresses == nil || ip.IsUnspecified() || ip.IsLoopback() || slices.Contains(m.Addresses, ip) {
			return
		}
		found(CheckListenAbsent, fmt.Sprintf("no interface has the address %v", a.Addr()), "write one that this machine has, or [::] for all")
	}
}
