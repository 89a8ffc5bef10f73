package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"ntp-daemon/internal/config"
	"ntp-daemon/internal/fastpath"
	"ntp-daemon/internal/logging"
	"ntp-daemon/internal/logtarget"
	"ntp-daemon/internal/observe"
	"ntp-daemon/internal/program"
	"ntp-daemon/internal/server"
)

const (
	// fastWriteTimeout is how long ntp-xdp may take to read an order.
	fastWriteTimeout = 2 * time.Second
	// fastAcceptGap is the pause after a connection that could not be had.
	fastAcceptGap = 100 * time.Millisecond
)

// notConnected is why nothing is answered in the driver when nobody is there to do it.
const notConnected = "ntp-xdp is not connected"

// errLongLists is why there is no policy. ntp-xdp hears it, ends with an error and is started again, so that shorter lists count.
var errLongLists = errors.New("the access lists of the servers with xdp are longer than a message to ntp-xdp; " +
	"write fewer or shorter prefixes in allowlist and denylist, or leave xdp out")

// fastPath tells ntp-xdp who may be answered in the network driver and with what, and keeps what it reports.
type fastPath struct {
	d       *Daemon
	log     zerolog.Logger
	quiet   *logging.Limiter // of strangers
	part    *program.Part
	ln      *net.UnixListener
	changed chan struct{} // there is a new view, or other access lists
}

// fastReport is what is known of ntp-xdp; immutable once published.
type fastReport struct {
	attached []fastpath.Attached
	problem  string            // why nothing is attached
	before   []fastpath.Counts // of those that have ended
}

// openFastPath tries the socket for ntp-xdp, if a server wants one. The daemon runs without it.
func (d *Daemon) openFastPath() error {
	if !slices.ContainsFunc(d.cfg.Servers, func(s config.Server) bool { return s.XDP != "" }) {
		return nil
	}
	path := d.cfg.Process.XDPPath
	f := &fastPath{d: d, log: logging.Target(d.log, logtarget.Server), quiet: logging.NewLimiter(repeatedInterval), changed: make(chan struct{}, 1)}
	d.fast.Store(&fastReport{problem: notConnected})
	f.part = program.NewPart("the socket for ntp-xdp "+path, f.log, func() (err error) {
		d.paths.Lock()
		defer d.paths.Unlock()
		f.ln, err = fastpath.Listen(path)
		return err
	}, f.serve)
	d.fastPath = f
	_ = f.part.Try()
	return nil
}

// serve owns the socket and attends one ntp-xdp after the other; it stops when ctx ends.
func (f *fastPath) serve(ctx context.Context) error {
	ln := f.ln
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer stop()
	defer ln.Close()
	for ctx.Err() == nil {
		c, err := fastpath.Accept(ln)
		switch {
		case err == nil:
			f.leave(f.attend(ctx, c))
			continue
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("accept ntp-xdp: %w", err)
		}
		f.quiet.Event(&f.log, zerolog.WarnLevel, time.Now(), "fast path").Err(err).Msg("whoever connected to the socket for ntp-xdp was not heard")
		select {
		case <-time.After(fastAcceptGap):
		case <-ctx.Done():
		}
	}
	return nil
}

// attend owns the connection: it sends the policy and the state, again whenever one has changed, and the state at every
// renewal. A reader hands it the reports. It stops with ctx, with the connection, and with what ntp-xdp says went wrong.
func (f *fastPath) attend(ctx context.Context, c *net.UnixConn) error {
	ctx, cancel := context.WithCancel(ctx)
	context.AfterFunc(ctx, func() { _ = c.Close() })
	reports := make(chan fastpath.Report)
	ended := make(chan error, 2)
	f.d.group.wg.Go(func() {
		f.d.group.guard(ctx, "reports of ntp-xdp", func(ctx context.Context) error {
			ended <- readReports(ctx, c, reports)
			return nil
		})
	})
	defer cancel()
	ticker := time.NewTicker(fastpath.Renewal)
	defer ticker.Stop()
	var sent *fastpath.Policy
	for {
		policy := f.policy()
		if sent == nil || !reflect.DeepEqual(sent, policy) {
			if err := sendPolicy(c, policy); err != nil {
				return err
			}
			sent = policy
		}
		if err := send(c, &fastpath.Order{State: f.state()}); err != nil {
			return err
		}
		select {
		case <-ticker.C:
		case <-f.changed:
		case r := <-reports:
			if r.Error != "" {
				return errors.New(r.Error)
			}
			f.note(r.Attached)
		case err := <-ended:
			return err
		}
	}
}

// readReports owns the receiving side; it stops with the connection and with ctx.
func readReports(ctx context.Context, r io.Reader, reports chan<- fastpath.Report) error {
	for {
		var report fastpath.Report
		if err := fastpath.Read(r, &report); err != nil {
			return err
		}
		select {
		case reports <- report:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// sendPolicy sends a policy, or why there is none.
func sendPolicy(c *net.UnixConn, p *fastpath.Policy) error {
	err := send(c, &fastpath.Order{Policy: p})
	if !errors.Is(err, fastpath.ErrTooLong) {
		return err
	}
	return errors.Join(errLongLists, send(c, &fastpath.Order{Error: errLongLists.Error()}))
}

func send(c *net.UnixConn, o *fastpath.Order) error {
	_ = c.SetWriteDeadline(time.Now().Add(fastWriteTimeout))
	return fastpath.Write(c, o)
}

// state is what is answered now.
func (f *fastPath) state() *fastpath.State {
	v := f.d.view.Load()
	s := fastpath.NewState(server.Template(v), v)
	return &s
}

// policy names, for every interface with a fast path, all servers that listen now: what goes to the one is not the other's.
func (f *fastPath) policy() *fastpath.Policy {
	p := &fastpath.Policy{Interfaces: []fastpath.Interface{}}
	for _, l := range f.d.servers {
		name := l.rules.Load().XDP
		if name == "" || slices.ContainsFunc(p.Interfaces, func(i fastpath.Interface) bool { return i.Name == name }) {
			continue
		}
		i := fastpath.Interface{Name: name}
		for _, o := range f.d.servers {
			if o.part.Down() == nil {
				i.Listeners = append(i.Listeners, o.fastListener(name))
			}
		}
		p.Interfaces = append(p.Interfaces, i)
	}
	return p
}

// fastListener is the server as one interface sees it. Where nothing is answered, nobody needs the lists, which may be long: a
// message has a cap.
func (l *listener) fastListener(name string) fastpath.Listener {
	s := l.rules.Load()
	f := fastpath.Listener{Address: s.Listen, Fast: s.XDP == name, Versions: uint8(s.Responder.Versions), Limited: true}
	if f.Fast {
		f.Deny, f.Allow = s.Deny.Prefixes, s.Allow.Prefixes
	}
	return f
}

// note keeps a report, and says what is new in it.
func (f *fastPath) note(attached []fastpath.Attached) {
	was := f.d.fast.Load()
	for _, a := range attached {
		i := slices.IndexFunc(was.attached, func(o fastpath.Attached) bool { return o.Interface == a.Interface })
		if i < 0 {
			f.log.Info().Str("interface", a.Interface).Str("mode", string(a.Mode)).Str("detail", a.Detail).Msg("ntp-xdp answers plain requests in front of the sockets")
		}
		if rested := i >= 0 && was.attached[i].Rests != ""; a.Rests != "" && !rested {
			f.log.Info().Str("interface", a.Interface).Msg("ntp-xdp rests, the sockets answer: " + a.Rests)
		} else if a.Rests == "" && rested {
			f.log.Info().Str("interface", a.Interface).Msg("ntp-xdp answers again")
		}
	}
	f.d.fast.Store(&fastReport{attached: attached, before: was.before})
}

// leave keeps the counts of an ntp-xdp that has ended, and says why it did.
func (f *fastPath) leave(err error) {
	was := f.d.fast.Load()
	next := &fastReport{problem: notConnected, before: slices.Clone(was.before)}
	for _, a := range was.attached {
		next.before = append(next.before, a.Counts...)
	}
	next.before = merged(next.before)
	switch {
	case errors.Is(err, errLongLists):
		next.problem = errLongLists.Error()
	case !errors.Is(err, io.EOF) && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET):
		next.problem = "ntp-xdp has ended: " + err.Error()
	}
	f.d.fast.Store(next)
	if f.d.group.ctx.Err() != nil {
		return
	}
	line := f.log.Warn()
	if was.attached == nil { // one that comes again and again and cannot begin
		line = f.quiet.Event(&f.log, zerolog.WarnLevel, time.Now(), next.problem)
	}
	line.Str("error", next.problem).Msg("no requests are answered in the driver; the sockets answer all")
}

// merged adds up what belongs to one address.
func merged(list []fastpath.Counts) (sums []fastpath.Counts) {
	for _, c := range list {
		i := slices.IndexFunc(sums, func(s fastpath.Counts) bool { return s.Address == c.Address })
		if i < 0 {
			sums = append(sums, c)
			continue
		}
		for o, n := range c.Packets {
			sums[i].Packets[o] += n
		}
	}
	return sums
}

// packets are the counts of one listen address.
func (r *fastReport) packets(address netip.AddrPort) (sum [fastpath.Outcomes]uint64) {
	add := func(list []fastpath.Counts) {
		for _, c := range list {
			if c.Address != address {
				continue
			}
			for o, n := range c.Packets {
				sum[o] += n
			}
		}
	}
	add(r.before)
	for _, a := range r.attached {
		add(a.Counts)
	}
	return sum
}

// fastSnapshot is what readers see of the fast path of one server; nil without one.
func (d *Daemon) fastSnapshot(l *listener) *observe.FastPath {
	r, name := d.fast.Load(), l.rules.Load().XDP
	if r == nil || name == "" {
		return nil
	}
	n := r.packets(l.address)
	s := &observe.FastPath{
		Interface: name, Reason: r.problem,
		Answered: n[fastpath.Answered], Resting: n[fastpath.Resting], Listed: n[fastpath.Listed], Other: n[fastpath.Other],
	}
	for _, a := range r.attached {
		if a.Interface == name {
			s.Mode, s.Reason = string(a.Mode), a.Rests
		}
	}
	return s
}

// followLists tells of other access lists.
func (d *Daemon) followLists(l *listener, s config.Server) {
	l.rules.Store(&s)
	if d.fastPath != nil {
		offer(d.fastPath.changed, struct{}{})
	}
}
