package udp

import (
	"errors"
	"net"
)

// cause takes package net's wrapper off, whose text repeats both addresses.
func cause(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}
