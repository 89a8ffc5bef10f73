package interop_test

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"ntp-daemon/internal/ntp"
)

// cookieAlgorithms tells the algorithm by the length of the cookies that the servers of the matrix give for it:
// chronyd's have 96 bytes with AEAD 15, those of the others 40 bytes and the two keys.
var cookieAlgorithms = map[int]string{96: "15", 104: "15", 136: "16", 168: "17"}

// inside runs f on a thread that is in the host's network namespace; sockets stay where they were made.
func (h *host) inside(f func() error) error {
	errs := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with this goroutine
		ns, err := os.Open(filepath.Join("/run/netns", h.ns.Name))
		if err == nil {
			defer ns.Close()
			if err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err == nil {
				err = f()
			}
		}
		errs <- err
	}()
	return <-errs
}

// sniffer sees what leaves a host.
type sniffer struct{ fd int }

// sniff starts to collect packets; for clients that do not say which algorithm they have agreed on.
func (h *host) sniff() *sniffer {
	h.t.Helper()
	s := &sniffer{}
	err := h.inside(func() (err error) {
		everything := uint16(unix.ETH_P_ALL<<8 | unix.ETH_P_ALL>>8) // network order
		s.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, int(everything))
		return err
	})
	if err != nil {
		h.t.Fatalf("packet socket: %v", err)
	}
	h.t.Cleanup(func() { _ = unix.Close(s.fd) })
	_ = unix.SetsockoptTimeval(s.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 1})
	return s
}

// algorithm waits for a request with a cookie and tells the algorithm from its length; "" if there is none.
func (s *sniffer) algorithm(patience time.Duration) string {
	const ipHeader, udpHeader, udp, port = 20, 8, 17, 123
	b := make([]byte, 2048)
	for end := time.Now().Add(patience); time.Now().Before(end); {
		n, _, err := unix.Recvfrom(s.fd, b, 0)
		if err != nil || n < ipHeader+udpHeader+ntp.HeaderLen || b[0] != 0x45 || b[9] != udp ||
			binary.BigEndian.Uint16(b[ipHeader+2:]) != port {
			continue
		}
		for f := b[ipHeader+udpHeader+ntp.HeaderLen : n]; len(f) >= 4; {
			kind, length := binary.BigEndian.Uint16(f), int(binary.BigEndian.Uint16(f[2:]))
			if length < 4 || length > len(f) {
				break
			}
			if kind == uint16(ntp.FieldCookie) {
				return cookieAlgorithms[length-4]
			}
			f = f[length:]
		}
	}
	return ""
}
