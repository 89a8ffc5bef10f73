package daemon

import (
	"context"
	"reflect"
	"slices"
	"time"

	"ntp-daemon/internal/assoc"
	"ntp-daemon/internal/config"
	"ntp-daemon/internal/system"
)

// sources runs one supervisor for each [[source]] table. It belongs to Run and then to the reloader.
type sources struct {
	d       *Daemon
	running []*runningSource // in the order of the configuration
	started int              // supervisors so far, which numbers them in the log
}

// runningSource is one table that a supervisor works for.
type runningSource struct {
	table config.Source
	stop  context.CancelFunc
	ended chan struct{}
}

// set makes list the tables that are worked for: a table that is running and stands in list goes on undisturbed, with all that
// it knows; what is no more in list ends first, so that its addresses are free for others; what is new starts. It returns the
// names of both.
func (s *sources) set(list []config.Source) (added, removed []string) {
	now := time.Now() // as of which their roots are compared
	for _, r := range s.running {
		r.table.Roots.Forget() // so that a file that has changed is believed anew, and is no reason to begin anew
	}
	kept := make([]*runningSource, len(list))
	for i := range list {
		at := slices.IndexFunc(s.running, func(r *runningSource) bool { return r != nil && sameSource(&r.table, &list[i], now) })
		if at >= 0 {
			kept[i], s.running[at] = s.running[at], nil
		}
	}
	for _, r := range s.running {
		if r != nil {
			r.stop()
			<-r.ended
			removed = append(removed, r.table.Name())
		}
	}
	s.running = kept
	for i := range list {
		if kept[i] == nil {
			kept[i] = s.start(list[i])
			added = append(added, list[i].Name())
		}
	}
	return added, removed
}

// start runs a supervisor in the daemon's group: its error is the daemon's end, its stop is not.
func (s *sources) start(table config.Source) *runningSource {
	ctx, stop := context.WithCancel(s.d.group.ctx)
	r := &runningSource{table: table, stop: stop, ended: make(chan struct{})}
	s.started++
	number := s.started
	s.d.group.start("source "+table.Host, func(context.Context) error {
		defer close(r.ended)
		defer stop()
		return assoc.Supervise(ctx, table, number, s.d.assocDeps())
	})
	return r
}

// expect tells the system process how many sources there are to be.
func (s *sources) expect(ctx context.Context, n int) {
	select {
	case s.d.tk.inbox <- message(system.Expected{Sources: n}):
	case <-ctx.Done():
	}
}

// sameSource reports whether two tables ask for the same in every respect and believe the same authorities.
func sameSource(a, b *config.Source, now time.Time) bool {
	x, y := *a, *b
	x.Roots, y.Roots = nil, nil
	return reflect.DeepEqual(x, y) && a.Roots.Equal(b.Roots, now)
}
