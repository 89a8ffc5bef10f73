package udp

import (
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// TestC30_EveryICMPErrorIsNoise: each code of "unreachable" (RFC 792, RFC 1122, RFC 1812) comes as another errno, so a
// forger has a choice.
func TestC30_EveryICMPErrorIsNoise(t *testing.T) {
	for _, e := range []unix.Errno{
		unix.ENETUNREACH, unix.EHOSTUNREACH, unix.ENOPROTOOPT, unix.ECONNREFUSED, unix.EMSGSIZE, unix.EOPNOTSUPP, unix.EHOSTDOWN,
		unix.ENONET, unix.EPROTO, unix.EACCES,
	} {
		if !fromICMP(e) || !fromICMP(os.NewSyscallError("recvmsg", e)) {
			t.Errorf("%v ends a receive", e)
		}
	}
	for _, err := range []error{unix.EBADF, unix.ENOMEM, unix.EAGAIN, errors.New("other"), nil} {
		if fromICMP(err) {
			t.Errorf("%v is taken for noise", err)
		}
	}
}
