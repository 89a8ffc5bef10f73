package program

import (
	"errors"
	"fmt"
	"syscall"
)

// Bound adds to an error of listening what helps; key is the one of the configuration that holds the address.
func Bound(err error, key string) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%w; end who has it (ss -tulpn shows that), or change %s", err, key)
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return fmt.Errorf("%w; a port below 1024 needs CAP_NET_BIND_SERVICE, or change %s", err, key)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("%w; write an address that this machine has in %s, or [::] for all", err, key)
	}
	return err
}
