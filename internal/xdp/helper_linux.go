package xdp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/cilium/ebpf"
	"github.com/rs/zerolog"

	"ntp-daemon/internal/fastpath"
	"ntp-daemon/internal/logging"
	"ntp-daemon/internal/logtarget"
	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/printable"
	"ntp-daemon/internal/privdrop"
	"ntp-daemon/internal/program"
)

const (
	// lookEvery is how often clocks and addresses are looked at. Until the next look a change of the clocks makes the program
	// rest, and an address that was taken away is still answered for.
	lookEvery = 250 * time.Millisecond
	// reportEvery is how many looks lie between two reports.
	reportEvery = 4
	// writeTimeout is how long the daemon may take to read a report.
	writeTimeout = 5 * time.Second
)

var (
	// errNoOrder says that the daemon wants nothing of us.
	errNoOrder = errors.New("ntp-daemon closed the connection before it said what to answer; its log says why")
	// errNoPolicy stands before what the daemon says of why it wants nothing any more.
	errNoPolicy = errors.New("ntp-daemon cannot say what to answer")
)

// Main connects to the daemon at path and answers, in that mode if one is named, for it until ctx or the daemon
// ends, which is no error once the daemon has said what to do.
func Main(ctx context.Context, path, mode string) error {
	switch fastpath.Mode(mode) {
	case "", fastpath.Driver, fastpath.Generic:
	default:
		return &program.UsageError{Text: "--mode is driver or generic; without it the driver decides"}
	}
	log := logging.Target(logging.New(logging.Options{Level: zerolog.InfoLevel}), logtarget.FastPath)
	c, err := fastpath.Dial(ctx, path)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := privdrop.Keep(nil, privdrop.NetAdmin, privdrop.BPF); err != nil && !errors.Is(err, privdrop.ErrCgo) {
		return fmt.Errorf("give up what is not needed: %w", err)
	}
	log.Info().Msgf("connected to ntp-daemon at %s", path)
	h := &helper{conn: c, log: log, mode: fastpath.Mode(mode)}
	defer h.close()
	err = h.run(ctx)
	switch {
	case ctx.Err() != nil:
		return nil
	case errors.Is(err, io.EOF) && !h.ordered:
		return errNoOrder
	case errors.Is(err, io.EOF):
		log.Info().Msg("ntp-daemon has ended, and so do the answers in the driver")
		return nil
	}
	return err
}

// ExitCode is our part of program.ExitCode; 0 for what is not ours alone.
func ExitCode(err error) int {
	switch {
	case errors.As(err, new(*ebpf.VerifierError)): // it looks like a permission, and is our mistake
		return program.ExitSoftware
	case errors.Is(err, errNoPower), errors.Is(err, fastpath.ErrStranger):
		return program.ExitPermission
	case errors.Is(err, errNoInterface), errors.Is(err, errChanged), errors.Is(err, errTaken), errors.Is(err, errOldKernel),
		errors.Is(err, errNoOrder), errors.Is(err, errNoPolicy), errors.As(err, new(*net.OpError)):
		return program.ExitUnavailable
	}
	return 0
}

// helper is the state of ntp-xdp.
type helper struct {
	conn     net.Conn
	log      zerolog.Logger
	mode     fastpath.Mode // that was asked for; empty: what the driver can do
	ordered  bool          // the daemon has said something
	attached []*attachment
	state    *fastpath.State
	until    time.Duration // how long state holds, on the monotonic clock
}

// run owns the helper, its programs and their maps. A reader of its own hands it what the daemon sends; it ends with ctx, with
// the daemon (io.EOF), and with the first thing that goes wrong, which the daemon hears.
func (h *helper) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	context.AfterFunc(ctx, func() { _ = h.conn.Close() })
	orders := make(chan fastpath.Order)
	ended := make(chan error, 1)
	var reader sync.WaitGroup
	reader.Go(func() { ended <- h.read(ctx, orders) })
	defer reader.Wait()
	defer cancel()
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for looks := 0; ; {
		var err error
		select {
		case err := <-ended:
			return err
		case o := <-orders:
			h.ordered = true
			err = h.obey(o)
		case <-ticker.C:
			if err = h.look(); err == nil {
				if looks++; looks%reportEvery == 0 {
					err = h.report()
				}
			}
		}
		if err != nil {
			_ = h.send(&fastpath.Report{Error: err.Error()})
			return err
		}
	}
}

// read owns the receiving side of the connection; it stops with the connection and with ctx.
func (h *helper) read(ctx context.Context, orders chan<- fastpath.Order) error {
	for {
		var o fastpath.Order
		if err := fastpath.Read(h.conn, &o); err != nil {
			return err
		}
		select {
		case orders <- o:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// obey does what the daemon asks for.
func (h *helper) obey(o fastpath.Order) error {
	switch {
	case o.Error != "":
		return fmt.Errorf("%w: %s", errNoPolicy, printable.Line(o.Error))
	case o.Policy != nil:
		if err := h.take(o.Policy); err != nil {
			return err
		}
		if err := h.look(); err != nil {
			return err
		}
		return h.report()
	case o.State != nil:
		if len(o.State.Header) != ntp.HeaderLen {
			return fmt.Errorf("the daemon sent a header of %d bytes", len(o.State.Header))
		}
		now, err := monotonic()
		if err != nil {
			return err
		}
		h.state, h.until = o.State, now+fastpath.Validity
		return h.publish()
	}
	return errors.New("the daemon sent an order without content")
}

// take puts a policy in force: on interfaces that are new, in place of another, or not any more.
func (h *helper) take(p *fastpath.Policy) error {
	var next []*attachment
	for _, want := range p.Interfaces {
		i := slices.IndexFunc(h.attached, func(a *attachment) bool { return a.policy.Name == want.Name })
		if i < 0 {
			a, err := attach(want, h.mode)
			if err != nil {
				h.attached = append(h.attached, next...)
				return fmt.Errorf("interface %s: %w", want.Name, err)
			}
			h.log.Info().Str("interface", want.Name).Str("mode", string(a.mode)).Str("detail", a.detail).Msg("plain requests are answered in front of ntp-daemon's sockets")
			next = append(next, a)
			continue
		}
		a := h.attached[i]
		h.attached = slices.Delete(h.attached, i, i+1)
		next = append(next, a)
		if err := a.replace(want); err != nil {
			h.attached = append(h.attached, next...)
			return fmt.Errorf("interface %s: %w", want.Name, err)
		}
	}
	for _, a := range h.attached {
		h.log.Info().Str("interface", a.policy.Name).Msg("requests are no longer answered in the driver")
		a.Close()
	}
	h.attached = next
	return nil
}

// look compares addresses and clocks with what the programs were told.
func (h *helper) look() error {
	for _, a := range h.attached {
		err := a.stands()
		if err == nil {
			err = a.followAddresses()
		}
		if err != nil {
			return fmt.Errorf("interface %s: %w", a.policy.Name, err)
		}
	}
	return h.publish()
}

// publish gives all programs the state, with how the clocks stand now, or a reason to rest.
func (h *helper) publish() error {
	if h.state == nil {
		return nil
	}
	rests := h.state.Rests
	c, err := readClocks()
	if errors.Is(err, errClocks) {
		rests = err.Error()
	} else if err != nil {
		return err
	}
	for _, a := range h.attached {
		if err := a.publish(h.state, c, h.until, rests); err != nil {
			return fmt.Errorf("interface %s: %w", a.policy.Name, err)
		}
	}
	return nil
}

// report tells the daemon what was counted.
func (h *helper) report() error {
	var r fastpath.Report
	for _, a := range h.attached {
		row, err := a.report()
		if err != nil {
			return fmt.Errorf("interface %s: %w", a.policy.Name, err)
		}
		r.Attached = append(r.Attached, row)
	}
	return h.send(&r)
}

func (h *helper) send(r *fastpath.Report) error {
	_ = h.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	return fastpath.Write(h.conn, r)
}

// close takes every program off its interface.
func (h *helper) close() {
	for _, a := range h.attached {
		a.Close()
	}
	h.attached = nil
}
