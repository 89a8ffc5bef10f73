//go:build !linux

package udp

import (
	"testing"

	"ntp-daemon/internal/ntp"
)

func needDestinations(t testing.TB) {
	t.Helper()
	t.Skip("this platform does not tell the destination address")
}

func checkStamps(t *testing.T, _ ntp.Stamp, ok bool, rx ntp.Stamp) {
	t.Helper()
	if ok || rx.Origin != ntp.OriginUser {
		t.Errorf("kernel stamps where there are none")
	}
}
