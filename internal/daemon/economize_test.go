package daemon

import (
	"runtime"
	"testing"
)

// TestEconomize: who serves nobody keeps one processor of the scheduler's, unless somebody has decided that before; who serves
// keeps all.
func TestEconomize(t *testing.T) {
	before := runtime.GOMAXPROCS(3)
	defer runtime.GOMAXPROCS(before)
	for _, tt := range []struct {
		name string
		d    *Daemon
		set  string
		want int
	}{
		{"server", &Daemon{servers: []*listener{nil}}, "", 3},
		{"key exchange", &Daemon{ke: []*keListener{nil}}, "", 3},
		{"client whose user knows better", &Daemon{}, "3", 3},
		{"client", &Daemon{}, "", 1},
	} {
		t.Setenv("GOMAXPROCS", tt.set)
		tt.d.economize()
		if got := runtime.GOMAXPROCS(0); got != tt.want {
			t.Errorf("%s: %d", tt.name, got)
		}
	}
}

// TestProvision: brief waits never take all processors of the scheduler's, many addresses give it no more of them than one, and
// who has set their number keeps it.
func TestProvision(t *testing.T) {
	cpus := runtime.NumCPU()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for _, tt := range []struct {
		name                string
		workers, handshakes int
		have                int
		set                 string
		brief, want         int
	}{
		{"one address", cpus, 0, cpus, "", cpus, cpus + 1},
		{"many addresses", 4 * cpus, 0, cpus, "", cpus, cpus + 1},
		{"key exchange", 4 * cpus, 3, cpus, "", cpus, cpus + 4},
		{"no server", 0, 0, cpus, "", 0, cpus},
		{"more than enough", cpus, 0, cpus + 5, "", cpus, cpus + 5},
		{"whose user knows better", 4 * cpus, 1, cpus, "x", cpus - 1, cpus},
		{"whose user gives it one", cpus, 0, 1, "1", 0, 1},
	} {
		runtime.GOMAXPROCS(tt.have)
		t.Setenv("GOMAXPROCS", tt.set)
		brief := provision(tt.workers, tt.handshakes)
		if got := runtime.GOMAXPROCS(0); got != tt.want || brief != tt.brief {
			t.Errorf("%s: %d processors and %d brief waits, want %d and %d", tt.name, got, brief, tt.want, tt.brief)
		}
	}
}
