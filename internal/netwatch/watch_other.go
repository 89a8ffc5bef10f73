//go:build !linux

package netwatch

import (
	"context"
	"errors"
	"fmt"
)

// Watch returns at once: changes of the network are watched on Linux only.
func Watch(context.Context, func()) error {
	return fmt.Errorf("watch network: %w", errors.ErrUnsupported)
}
