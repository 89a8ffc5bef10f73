package privdrop

import (
	"fmt"
	"os/user"
	"strconv"
)

// User is one that the process can change to.
type User struct {
	Name     string
	UID, GID int
	Groups   []int // supplementary ones; GID may be among them
}

// LookupUser finds a user and its groups by name.
func LookupUser(name string) (*User, error) {
	found, err := user.Lookup(name)
	if err != nil {
		return nil, fmt.Errorf("look up user %q: %w", name, err)
	}
	u := &User{Name: name}
	if u.UID, err = strconv.Atoi(found.Uid); err != nil {
		return nil, fmt.Errorf("user %q has no number: %w", name, err)
	}
	if u.GID, err = strconv.Atoi(found.Gid); err != nil {
		return nil, fmt.Errorf("the group of user %q has no number: %w", name, err)
	}
	ids, _ := found.GroupIds() // where groups cannot be listed, the user has fewer, never more
	for _, id := range ids {
		if n, err := strconv.Atoi(id); err == nil {
			u.Groups = append(u.Groups, n)
		}
	}
	return u, nil
}
