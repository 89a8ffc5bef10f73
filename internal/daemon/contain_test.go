package daemon

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"ntp-daemon/internal/assoc"
	"ntp-daemon/internal/config"
	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/program"
	"ntp-daemon/internal/source"
)

// stillClock is a clock for sources that never measure.
type stillClock struct{}

func (stillClock) Now() ntp.Timestamp { return ntp.FromTime(time.Now()) }
func (stillClock) Epoch() uint64      { return 0 }

// Row L09: a panic in the task of a source or in its supervisor is no crash. The daemon ends in order, with an error
// that names the source and the exit code of our own mistakes.
func TestL09_PanicInASource(t *testing.T) {
	for _, tt := range []struct {
		story string
		edit  func(*assoc.Deps)
		want  string
	}{
		{"task", func(d *assoc.Deps) { d.Dial = func(netip.AddrPort) (assoc.Conn, error) { panic("injected") } },
			"source 192.0.2.1: source task: bug: panic with a string"},
		{"supervisor", func(d *assoc.Deps) { d.NextID = func() ntp.SourceID { panic("injected") } },
			"source 192.0.2.1: bug: panic: injected"},
	} {
		var log strings.Builder
		inbox := make(chan assoc.Message, inboxDepth) // room for all that is said
		d := assoc.Deps{
			Clock: stillClock{}, Rand: zeros{}, Inbox: inbox, NextID: func() ntp.SourceID { return 1 },
			Dial: func(netip.AddrPort) (assoc.Conn, error) { return nil, context.Canceled },
			Log:  zerolog.Nop(),
		}
		tt.edit(&d)
		src := config.Source{Mode: source.ModeServer, Host: "192.0.2.1", Port: 123, PollMin: 4, PollMax: 10, PollInitial: 4}
		g := newGroup(t.Context(), zerolog.New(&log))
		others := false
		g.start("other", func(ctx context.Context) error { <-ctx.Done(); others = true; return nil })
		g.start("source "+src.Host, func(ctx context.Context) error { return assoc.Supervise(ctx, src, 1, d) })
		err := g.wait()
		if err == nil || err.Error() != tt.want || program.ExitCode(err, ExitCode) != 70 || !others {
			t.Errorf("%s: exit code %d, %v", tt.story, program.ExitCode(err, ExitCode), err)
		}
	}
}

// zeros is randomness for tests in which it does not matter.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// Row L09: the goroutine that outlives the group, because it has the last word on the disk, ends the others as well.
func TestL09_PanicOfTheStateKeeper(t *testing.T) {
	g := newGroup(t.Context(), zerolog.Nop())
	g.start("other", func(ctx context.Context) error { <-ctx.Done(); return nil })
	go g.guard(context.WithoutCancel(t.Context()), "state keeper", func(context.Context) error { panic("injected") })
	if err := g.wait(); program.ExitCode(err, ExitCode) != 70 || !strings.Contains(err.Error(), "state keeper") {
		t.Errorf("%v", err)
	}
}
