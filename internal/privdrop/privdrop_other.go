//go:build !linux

package privdrop

// Keep refuses.
func Keep(...Capability) error { return ErrUnsupported }
