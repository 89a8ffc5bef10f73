package daemon

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/rs/zerolog"

	"ntp-daemon/internal/assoc"
	"ntp-daemon/internal/clock"
	"ntp-daemon/internal/config"
	"ntp-daemon/internal/handover"
	"ntp-daemon/internal/locate"
	"ntp-daemon/internal/logtarget"
	"ntp-daemon/internal/ntp"
)

// Deps is the outside world: the only seam between the daemon and a test.
type Deps struct {
	Log       zerolog.Logger
	Rand      io.Reader
	OpenClock func(*config.Config, zerolog.Logger) (c clock.Clock, steers bool, err error)
	Resolve   locate.Resolver                          // nil: the system's
	Exchange  locate.Exchange                          // nil: over TCP
	Dial      func(netip.AddrPort) (assoc.Conn, error) // nil: UDP
	Notify    func(state string)                       // a message to the service manager; nil: there is none
	Watchdog  time.Duration                            // silence that the service manager bears; 0: any
}

// RealDeps is the outside world of a process.
func RealDeps(log zerolog.Logger) Deps {
	return Deps{
		Log: log, Rand: rand.Reader, OpenClock: openClock,
		Notify:   func(state string) { handover.TheManager().Tell(state) },
		Watchdog: watchdogInterval(log),
	}
}

// openClock opens the clock that the configuration names. Only a daemon with sources and clock control needs the
// right to set it.
func openClock(cfg *config.Config, log zerolog.Logger) (clock.Clock, bool, error) {
	s := cfg.Synchronization
	switch {
	case s.Clock == config.ClockVirtual:
		return clock.NewVirtual(s.VirtualOffset, s.VirtualFrequency), true, nil
	case !s.ClockControl || len(cfg.Sources) == 0:
		return clock.OpenReadOnly(), false, nil
	}
	k, left, err := clock.OpenKernel()
	if errors.Is(err, ntp.ErrClockPermission) {
		return nil, false, fmt.Errorf("take the clock: %w; run as root or with AmbientCapabilities=CAP_SYS_TIME, "+
			"or observe only with --no-clock-control", err)
	}
	if err != nil {
		return nil, false, fmt.Errorf("take the clock: %w", err)
	}
	if len(left.Fixed) > 0 {
		target(log, logtarget.System).Warn().Strs("fixed", left.Fixed).
			Msg("another time program left the kernel clock in this state; put right")
	}
	return k, true, nil
}
