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

// Aliases remembers by which Server names each backend was handed to users, so that a user who
// denies the name it was given denies the backend behind it (docs/rules/pool.md#deny). Its owner
// provides the locking.
type Aliases struct {
	learned map[string][]string // canonical names by backend, the oldest first
	holders holders             // of those names
	stated  map[string][]string // canonical names by backend that it says it hands out (List Server Names)
	staters holders             // of those names
}

// holders are backends by the canonical name that they go by.
type holders map[string][]string

func (h holders) add(key, name string) { h[name] = append(h[name], key) }

// remove takes a backend from those that go by a name.
func (h holders) remove(key, name string) {
	left := slices.DeleteFunc(h[name], func(k string) bool { return k == key })
	if len(left) == 0 {
		delete(h, name)
	} else {
		h[name] = left
	}
}

// State remembers the names that a backend says it hands out, in place of what it said before.
func (a *Aliases) State(b *Backend, names []string) {
	if a.stated == nil {
		a.stated, a.staters = make(map[string][]string), make(holders)
	}
	key := b.String()
	for _, name := range a.stated[key] {
		a.staters.remove(key, name)
	}
	delete(a.stated, key)
	for _, name := range names {
		name = CanonicalName(name)
		a.stated[key] = append(a.stated[key], name)
		a.staters.add(key, name)
	}
}

// Learn remembers a name for a backend.
func (a *Aliases) Learn(b *Backend, name string) {
	key, canonical := b.String(), CanonicalName(name)
	if canonical == CanonicalName(b.Domain) || slices.Contains(a.learned[key], canonical) {
		return
	}
	if a.learned == nil {
		a.learned, a.holders = make(map[string][]string), make(holders)
	}
	names := a.learned[key]
	if len(names) == maxAliases {
		a.holders.remove(key, names[0])
		names = slices.Clone(names[1:])
	}
	a.learned[key] = append(names, canonical)
	a.holders.add(key, canonical)
}

// Keep forgets the names of all backends that are not in the directory, so that a list that changes every day does not
// fill the memory.
func (a *Aliases) Keep(d *Directory) {
	keep := func(named map[string][]string, h holders) {
		for key, names := range named {
			if len(d.shares.byTarget[key]) > 0 {
				continue
			}
			for _, name := range names {
				h.remove(key, name)
			}
			delete(named, key)
		}
	}
	keep(a.learned, a.holders)
	keep(a.stated, a.staters)
}

// Denial is what the names that a user denies mean in one directory: the user holds those time sources already, or had
// bad luck with them, and is to get others, of other operators if there are any (docs/rules/pool.md#diversity).
type Denial struct {
	members   []int32 // sorted
	operators []int32 // of those, sorted

	Known   int // names that stand for a time source
	Unknown int // names that stand for none
}

// Denial looks the names up; by every name a time source goes by: its domain, id, listed names and addresses, and what
// it called itself, in answers or lists (aliases; nil: nothing was learned).
func (d *Directory) Denial(denied Denied, aliases *Aliases) Denial {
	var n Denial
	for _, name := range denied.names {
		before := len(n.members)
		n.members = d.bearing(n.members, name, aliases)
		if len(n.members) > before {
			n.Known++
		} else {
			n.Unknown++
		}
	}
	for _, i := range n.members {
		n.operators = append(n.operators, d.shares.operators[i])
	}
	n.members, n.operators = sortedSet(n.members), sortedSet(n.operators)
	return n
}

// bearing appends the time sources that go by a canonical name.
func (d *Directory) bearing(list []int32, name string, aliases *Aliases) []int32 {
	list = append(list, d.shares.byName[name]...)
	if aliases != nil {
		for _, h := range []holders{aliases.holders, aliases.staters} {
			for _, key := range h[name] {
				list = append(list, d.shares.byTarget[key]...)
			}
		}
	}
	return list
}

// Bearing lists the time sources that go by a name as a user wrote it, by all names that Denial knows, for Ask.Again.
func (d *Directory) Bearing(name string, aliases *Aliases) []int32 {
	return d.bearing(nil, CanonicalName(name), aliases)
}

// has reports whether the user denied the i-th time source.
func (n *Denial) has(i int) bool {
	_, found := slices.BinarySearch(n.members, int32(i))
	return found
}

// holds reports whether the user denied a time source of the operator.
func (n *Denial) holds(operator int32) bool {
	_, found := slices.BinarySearch(n.operators, operator)
	return found
}

// sortedSet sorts a list and leaves each value once.
func sortedSet(list []int32) []int32 {
	slices.Sort(list)
	return slices.Compact(list)
}
