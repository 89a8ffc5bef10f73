package config

import (
	"cmp"
	"fmt"

	"ntp-daemon/internal/privdrop"
)

// Process is the table [process].
type Process struct {
	// User is who a program that root has started becomes once everything is open; "root" for nobody else. The default is
	// the user of the program's unit, and taken only where it exists and can go on with every file.
	User    string
	UserSet bool // written in the file: then it must exist

	XDPPath string // Unix socket on which ntp-xdp finds the daemon; empty: none
}

// The users of the units (configs/systemd/sysusers.conf).
const (
	daemonUser = "ntp-daemon"
	poolUser   = "nts-pool-ke"
)

// process reads what [process] has in both programs.
func (l *loader) process(t *table, standard string) Process {
	const key = "user"
	p := Process{User: standard}
	if n := t.typed(key, kindString, fmt.Sprintf("%s = %q", key, standard)); n != nil {
		p.User, p.UserSet = cmp.Or(n.text, "root"), true
		if l.files {
			if _, err := privdrop.LookupUser(p.User); err != nil {
				t.fail(key, n, "there is no user "+quote(p.User)+" on this machine", `make that user, or write "root" to stay who started the program`)
			}
		}
	}
	return p
}

// daemonProcess reads [process] of ntp-daemon. observation is the other Unix socket.
func (l *loader) daemonProcess(t *table, observation string) Process {
	p := l.process(t, daemonUser)
	if l.atDefaultPath {
		p.XDPPath = defaultXDP
	}
	t.socket("xdp-path", defaultXDP, &p.XDPPath)
	if n := t.node.children["xdp-path"]; n != nil && p.XDPPath != "" && p.XDPPath == observation {
		t.fail("xdp-path", n, "is that of observation-path", "choose another one")
	}
	t.finish()
	return p
}

// poolProcess reads [process] of nts-pool-ke.
func (l *loader) poolProcess(t *table) Process {
	p := l.process(t, poolUser)
	t.finish()
	return p
}
