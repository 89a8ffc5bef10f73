package source

import "fmt"

// Mode is the kind of a [[source]] block: how the addresses, and the keys, of its associations are found
// (docs/rules/configuration.md#sources). An association itself knows only whether it has a session.
type Mode uint8

// The modes.
const (
	ModeServer  Mode = iota // one server by name
	ModePool                // several servers behind one name
	ModeNTS                 // one server by NTS key exchange
	ModeNTSPool             // several servers by key exchange with a pool
)

// Modes are all of them, in order.
func Modes() []Mode { return []Mode{ModeServer, ModePool, ModeNTS, ModeNTSPool} }

// String is the spelling of the configuration.
func (m Mode) String() string {
	switch m {
	case ModeServer:
		return "server"
	case ModePool:
		return "pool"
	case ModeNTS:
		return "nts"
	case ModeNTSPool:
		return "nts-pool"
	}
	return fmt.Sprintf("mode(%d)", uint8(m))
}

// NTS reports whether sources of this mode exist only through a key exchange.
func (m Mode) NTS() bool { return m == ModeNTS || m == ModeNTSPool }

// Plural reports whether the mode wants more than one source.
func (m Mode) Plural() bool { return m == ModePool || m == ModeNTSPool }
