//go:build !linux

package privdrop

// Has reports false: there are no capabilities here. Whether an operation is allowed shows when it is tried.
func Has(Capability) (bool, error) { return false, ErrUnsupported }

// Keep refuses.
func Keep(...Capability) error { return ErrUnsupported }
