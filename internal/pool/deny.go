package pool

import (
	"slices"

	"ntp-daemon/internal/nts/record"
)

// maxDenied is how many names of a user are looked at; the rest is ignored (docs/rules/pool.md#deny).
const maxDenied = record.MaxDeny

// maxAliases is how many Server names one backend is remembered by; the oldest makes room. A time
// source that invents names cannot fill our memory.
const maxAliases = 16

// Denied is the set of names a user does not want (NTP Server Deny records), canonical and capped.
type Denied struct{ names []string }

// NewDenied takes the names in the user's order: doubles, as sent by a client that writes both
// record numbers, count once; over-long names and those after the 64th are ignored.
func NewDenied(names []string) Denied {
	var d Denied
	for _, name := range names {
		if len(d.names) == maxDenied {
			break
		}
		if name == "" || len(name) > maxNameBytes {
			continue
		}
		if canonical := CanonicalName(name); !slices.Contains(d.names, canonical) {
			d.names = append(d.names, canonical)
		}
	}
	return d
}

// Len is the number of names that count.
func (d Denied) Len() int { return len(d.names) }

// has reports whether a name as written is denied.
func (d Denied) has(name string) bool {
	return len(d.names) > 0 && slices.Contains(d.names, CanonicalName(name))
}

// Aliases remembers by which Server names each backend was handed to users, so that a user who
// denies the name it was given denies the backend behind it (docs/rules/pool.md#deny). Its owner
// provides the locking.
type Aliases struct{ learned map[string][]string }

// Learn remembers a name for a backend.
func (a *Aliases) Learn(b *Backend, name string) {
	key, canonical := b.String(), CanonicalName(name)
	if canonical == CanonicalName(b.Domain) || slices.Contains(a.learned[key], canonical) {
		return
	}
	if a.learned == nil {
		a.learned = make(map[string][]string)
	}
	names := append(a.learned[key], canonical)
	if len(names) > maxAliases {
		names = names[len(names)-maxAliases:]
	}
	a.learned[key] = names
}

// of lists the canonical names learned for a backend; a nil Aliases knows none.
func (a *Aliases) of(b *Backend) []string {
	if a == nil {
		return nil
	}
	return a.learned[b.String()]
}

// denies reports whether the user denied the backend under any name it goes by.
func (d Denied) denies(b *Backend, aliases *Aliases) bool {
	if len(d.names) == 0 {
		return false
	}
	if d.has(b.Domain) || slices.ContainsFunc(b.Names, d.has) || slices.ContainsFunc(aliases.of(b), d.has) {
		return true
	}
	for _, addr := range b.Addresses {
		if d.has(addr.String()) {
			return true
		}
	}
	return false
}
