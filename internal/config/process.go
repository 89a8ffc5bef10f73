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
}

// The users of the units (configs/systemd/sysusers.conf).
const (
	daemonUser = "ntp-daemon"
	poolUser   = "nts-pool-ke"
)

// process reads [process].
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
	t.finish()
	return p
}
