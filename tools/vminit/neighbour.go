//go:build linux && amd64

package main

import (
	"fmt"
	"net"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The flags of an entry, arp(7).
const (
	complete  = 0x02
	permanent = 0x04
)

// knowNeighbour enters the server's hardware address for good. The kernel forgets what it has found out when the cable is out, and the
// first packet after that would wait for an answer that a second at the earliest brings, if the question is lost.
func knowNeighbour(mac string) error {
	if mac == "" {
		return nil
	}
	hw, err := net.ParseMAC(mac)
	if err != nil {
		return fmt.Errorf("neighbour: %w", err)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("neighbour: %w", err)
	}
	defer unix.Close(fd)
	var r struct { // struct arpreq, arp(7)
		Protocol, Hardware [16]byte
		Flags              int32
		Netmask            [16]byte
		Device             [16]byte
	}
	ip := netip.MustParseAddr(serverAddress).As4()
	r.Protocol[0], r.Hardware[0] = unix.AF_INET, unix.ARPHRD_ETHER
	copy(r.Protocol[4:], ip[:])
	copy(r.Hardware[2:], hw)
	r.Flags = permanent | complete
	copy(r.Device[:], interfaceName)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCSARP, uintptr(unsafe.Pointer(&r))); errno != 0 {
		return fmt.Errorf("neighbour %s: %w", mac, errno)
	}
	return nil
}
