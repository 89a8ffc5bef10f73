package program

import (
	"runtime"
	"runtime/metrics"
	"testing"
)

// TestBallast: who gives out keys collects no sooner than twice the ballast has come together, unless the operator has tuned the
// collector; who does not is left alone.
func TestBallast(t *testing.T) {
	goal := func() uint64 {
		runtime.GC()
		s := []metrics.Sample{{Name: "/gc/heap/goal:bytes"}}
		metrics.Read(s)
		return s[0].Value.Uint64()
	}
	for _, tt := range []struct {
		name string
		keys bool
		env  string
		want bool
	}{
		{"key exchange", true, "", true},
		{"no key exchange", false, "", false},
		{"percentage of the operator's", true, "GOGC", false},
		{"limit of the operator's", true, "GOMEMLIMIT", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("GOGC", "")
			t.Setenv("GOMEMLIMIT", "")
			if tt.env != "" {
				t.Setenv(tt.env, "100")
			}
			ballast := Ballast(tt.keys)
			if got := ballast != nil; got != tt.want {
				t.Fatalf("ballast: %v", got)
			}
			if tt.want && goal() < 2*ballastSize {
				t.Errorf("the next collection comes at %d bytes", goal())
			}
			runtime.KeepAlive(ballast)
		})
	}
}
