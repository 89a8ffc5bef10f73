//go:build !linux

package privdrop

// Keep refuses.
func Keep(*User, ...Capability) error { return ErrUnsupported }

// As refuses.
func As(*User, func() error) error { return ErrUnsupported }
