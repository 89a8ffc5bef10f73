package source

import "testing"

func TestMode_Names(t *testing.T) {
	for m, want := range map[Mode]string{
		ModeServer: "server", ModePool: "pool", ModeNTS: "nts", ModeNTSPool: "nts-pool", 7: "mode(7)",
	} {
		if m.String() != want {
			t.Errorf("%d: %s", m, m)
		}
	}
}
