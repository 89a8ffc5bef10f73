package privdrop

import "errors"

// Capability is a Linux capability by its number in capabilities(7).
type Capability int

// The capabilities that the suite knows.
const (
	NetBindService Capability = 10 // bind ports below 1024
	NetAdmin       Capability = 12 // attach programs to network interfaces
	SysTime        Capability = 25 // set the clock
	BPF            Capability = 39 // load programs into the kernel
)

// Sentinels that callers match.
var (
	// ErrCgo: capabilities belong to threads, and only a binary without cgo can reach all of them.
	ErrCgo = errors.New("privileges cannot be dropped in a binary built with cgo; build with CGO_ENABLED=0")
	// ErrUnsupported: capabilities are Linux's.
	ErrUnsupported = errors.New("dropping capabilities is not supported on this system")
)
