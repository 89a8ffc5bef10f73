package udp

import (
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// recvNow receives one datagram, or one message of the error queue with MSG_ERRQUEUE, if there is any: EAGAIN otherwise. It
// cannot block, so the runtime is not told (docs/rules/server.md#calls-that-cannot-block): telling it would wake its monitor for
// each reply. recvmmsg(2) because recvmsg(2) is not a call of its own on every architecture.
func recvNow(fd int, buf, oob []byte, flags int) (n, oobn, got int, from netip.AddrPort, err error) {
	var name unix.RawSockaddrInet6 // an IPv4 address fits too
	var vec unix.Iovec
	var msg unix.Mmsghdr
	msg.Hdr.Name, msg.Hdr.Namelen = (*byte)(unsafe.Pointer(&name)), unix.SizeofSockaddrInet6
	if len(buf) > 0 {
		vec.Base = &buf[0]
		vec.SetLen(len(buf))
		msg.Hdr.Iov = &vec
		msg.Hdr.SetIovlen(1)
	}
	if len(oob) > 0 {
		msg.Hdr.Control = &oob[0]
		msg.Hdr.SetControllen(len(oob))
	}
	_, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&msg)), 1, uintptr(flags|unix.MSG_DONTWAIT), 0, 0)
	if errno != 0 {
		return 0, 0, 0, from, errno
	}
	return int(msg.Len), int(msg.Hdr.Controllen), int(msg.Hdr.Flags), rawAddrPort(&name), nil
}
