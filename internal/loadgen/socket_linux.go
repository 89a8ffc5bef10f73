package loadgen

import (
	"fmt"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// batch is the most datagrams of one call.
	batch = 64
	// largest is more than any answer of a time server has.
	largest = 2048
	// queue is asked for in bytes in each direction, so that the generator's own socket loses nothing.
	queue = 4 << 20
)

// port is one client socket, connected to the server.
type port struct {
	fd       int
	underWay int // requests without an answer: only then it is read
}

// sockaddr is an address as system calls take it.
func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

// open makes a socket with a source port of its own and the address from, if that is valid.
func open(from netip.Addr, target netip.AddrPort) (port, error) {
	family := unix.AF_INET6
	if target.Addr().Is4() {
		family = unix.AF_INET
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return port{}, fmt.Errorf("open socket: %w", err)
	}
	for _, o := range [][2]int{{unix.SO_RCVBUFFORCE, unix.SO_RCVBUF}, {unix.SO_SNDBUFFORCE, unix.SO_SNDBUF}} {
		if unix.SetsockoptInt(fd, unix.SOL_SOCKET, o[0], queue) != nil {
			_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, o[1], queue) // as much as an ordinary user gets
		}
	}
	if from.IsValid() {
		if err := unix.Bind(fd, sockaddr(netip.AddrPortFrom(from, 0))); err != nil {
			_ = unix.Close(fd)
			return port{}, fmt.Errorf("send from %v: %w", from, err)
		}
	}
	if err := unix.Connect(fd, sockaddr(target)); err != nil {
		_ = unix.Close(fd)
		return port{}, fmt.Errorf("connect to %v: %w", target, err)
	}
	return port{fd: fd}, nil
}

// wire is the memory of the batch calls, in one object that the kernel's pointers may point into.
type wire struct {
	out    [batch]unix.Mmsghdr
	outVec [batch]unix.Iovec
	plain  [batch][headerSize]byte
	in     [batch]unix.Mmsghdr
	inVec  [batch]unix.Iovec
	data   [batch][largest]byte
}

func newWire() *wire {
	w := &wire{}
	for i := range w.in {
		w.inVec[i].Base = &w.data[i][0]
		w.inVec[i].SetLen(largest)
		w.in[i].Hdr.Iov = &w.inVec[i]
		w.in[i].Hdr.SetIovlen(1)
		w.plain[i][0] = requestFlags
		w.out[i].Hdr.Iov = &w.outVec[i]
		w.out[i].Hdr.SetIovlen(1)
	}
	return w
}

// put makes b, which must stay as it is until it is sent, the i-th datagram to send.
func (w *wire) put(i int, b []byte) {
	w.outVec[i].Base = &b[0]
	w.outVec[i].SetLen(len(b))
}

// send sends the first n datagrams and returns how many the kernel took. It cannot block.
func (w *wire) send(fd, n int) (sent int) {
	for sent < n {
		k, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&w.out[sent])), uintptr(n-sent), unix.MSG_DONTWAIT, 0, 0)
		if errno != 0 {
			return sent
		}
		sent += int(k)
	}
	return sent
}

// receive takes what has come, at most a batch. It cannot block.
func (w *wire) receive(fd int) int {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&w.in[0])), batch, unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return 0
	}
	return int(n)
}

// datagram is the i-th that was received.
func (w *wire) datagram(i int) []byte { return w.data[i][:min(int(w.in[i].Len), largest)] }
