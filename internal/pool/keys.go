package pool

import (
	"errors"
	"fmt"

	"ntp-daemon/internal/nts"
)

// ErrKeysWiped: the keys were asked for after their exchange was over.
var ErrKeysWiped = errors.New("user keys are wiped")

// UserKeys are the keys of one user's TLS session on their way to a time source. They can be taken
// for one backend only: from then on any other backend is refused, whatever goes wrong, because two
// holders of the same keys could impersonate each other to the user (draft-venhoek-nts-pool;
// docs/rules/pool.md#keys-once). Not safe for concurrent use.
type UserKeys struct {
	keys  nts.Keys
	bound string // backend that has them or may have them; empty before the first send
	wiped bool
}

// NewUserKeys takes charge of the keys, wiping included.
func NewUserKeys(k nts.Keys) *UserKeys { return &UserKeys{keys: k} }

// Format hides the keys from every verb and says where they went.
func (u UserKeys) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "user keys, bound to %q", u.bound)
}

// For returns the keys for sending them to the named backend and binds them to it. Asking again for
// the same backend is the one permitted resend on a fresh connection. Another name is an error of
// the program, never of a peer.
func (u *UserKeys) For(backend string) (nts.Keys, error) {
	switch {
	case u.wiped:
		return nts.Keys{}, ErrKeysWiped
	case u.bound != "" && u.bound != backend:
		return nts.Keys{}, fmt.Errorf("user keys were sent to %q and must not go to %q", u.bound, backend)
	}
	u.bound = backend
	return u.keys, nil
}

// Bound reports whether a time source may have seen the keys: after that no other one may be tried.
func (u *UserKeys) Bound() bool { return u.bound != "" }

// Wipe overwrites the keys. For fails from then on.
func (u *UserKeys) Wipe() {
	u.keys.Wipe()
	u.wiped = true
}
