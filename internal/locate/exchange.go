package locate

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"ntp-daemon/internal/config"
	"ntp-daemon/internal/nts/ke"
	"ntp-daemon/internal/resolve"
)

const (
	// maxTried bounds how many addresses of a key exchange server one search asks.
	maxTried = 4
	// stagger is the share of the timeout after which the next address is asked, too: as in RFC 8305 §5, but with a wait
	// that lets a server that is only busy answer before another one has to work for the same client.
	stagger = 3
)

// errSlow says that an address had not answered when another one had given keys.
var errSlow = errors.New("no answer yet when another address had given keys")

// Attempt is a key exchange with one address that brought no keys.
type Attempt struct {
	Addr netip.AddrPort
	Err  error
}

// exchange is one attempt that runs or has ended.
type exchange struct {
	addr  netip.AddrPort
	since time.Time
	ended bool
	res   ke.Result
	err   error
}

// keys gets keys from one of the addresses of src.Host. They are asked in turn, the next one as soon as one has failed or
// let a third of the timeout pass; the first that gives keys ends the others. All that takes no longer than the timeout.
// failed are those that gave none.
func (f Finder) keys(ctx context.Context, src *config.Source, h Hints) (res ke.Result, failed []Attempt, err error) {
	addrs, err := f.keyServers(ctx, src, h)
	if err != nil {
		return res, nil, fmt.Errorf("key exchange with %s: %w", src.Name(), err)
	}
	timeout := f.timeout()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	ends := make(chan exchange, len(addrs)) // who ends after the first success finds room
	var all []exchange
	start := func() {
		x := exchange{addr: addrs[len(all)], since: time.Now()}
		all = append(all, x)
		running.Go(func() {
			x.res, x.err = f.exchange(ctx, src, h, x.addr)
			ends <- x
		})
	}
	next := time.NewTicker(timeout / stagger)
	defer next.Stop()
	for start(); ; {
		select {
		case x := <-ends:
			x.ended = true
			all[slices.Index(addrs, x.addr)] = x
			if x.err == nil {
				return x.res, fruitless(all, timeout/stagger), nil
			}
		case <-next.C:
		}
		if len(all) < len(addrs) {
			start()
		} else if !slices.ContainsFunc(all, func(x exchange) bool { return !x.ended }) {
			failed = fruitless(all, 0)
			return res, failed, together(src, failed)
		}
	}
}

// fruitless lists the exchanges that failed, and those that have run for at least that long without an end.
func fruitless(all []exchange, slow time.Duration) (failed []Attempt) {
	for _, x := range all {
		switch {
		case x.err != nil:
			failed = append(failed, Attempt{x.addr, x.err})
		case !x.ended && time.Since(x.since) >= slow:
			failed = append(failed, Attempt{x.addr, errSlow})
		}
	}
	return failed
}

// together is the error of a search in which every address failed: all of them in words, and wrapped the one that says
// most, which is the first that got as far as the other host.
func together(src *config.Source, failed []Attempt) error {
	telling := slices.IndexFunc(failed, func(a Attempt) bool {
		return !errors.Is(a.Err, syscall.ENETUNREACH) && !errors.Is(a.Err, syscall.EHOSTUNREACH) && !errors.Is(a.Err, syscall.ENETDOWN)
	})
	telling = max(telling, 0)
	var before, after strings.Builder
	for i, a := range failed {
		switch {
		case i < telling:
			fmt.Fprintf(&before, "at %v: %v; ", a.Addr, a.Err)
		case i > telling:
			fmt.Fprintf(&after, "; at %v: %v", a.Addr, a.Err)
		}
	}
	return fmt.Errorf("key exchange with %s: %sat %v: %w%s", src.Name(), before.String(), failed[telling].Addr, failed[telling].Err, after.String())
}

// keyServers looks up where src.Host may be asked for keys, most promising first: the families in turn, so that one that
// leads nowhere costs one attempt, then the addresses to avoid. An address of this host is as good as any, since the
// certificate says whose it is.
func (f Finder) keyServers(ctx context.Context, src *config.Source, h Hints) ([]netip.AddrPort, error) {
	host := src.Host
	if h.target {
		host += "."
	}
	a, err := f.Resolve.Lookup(ctx, host, src.Port)
	addrs := a.Addrs
	for _, r := range a.Refused {
		if r.Reason == resolve.Loopback || r.Reason == resolve.Own {
			addrs = append(addrs, netip.AddrPortFrom(r.Addr, src.Port))
		}
	}
	if len(addrs) == 0 {
		if err == nil {
			err = resolve.ErrNoUsable
		}
		return nil, err
	}
	addrs = Alternate(addrs)
	slices.SortStableFunc(addrs, func(a, b netip.AddrPort) int { return listed(h.Avoid, a) - listed(h.Avoid, b) })
	return addrs[:min(len(addrs), maxTried)], nil
}

// listed is 1 for an address of the list.
func listed(list []netip.AddrPort, a netip.AddrPort) int {
	if slices.Contains(list, a) {
		return 1
	}
	return 0
}

// Alternate returns the addresses with the two families in turn, beginning with that of the first (RFC 8305 §4): of two
// families that this host has routes for one may lead nowhere.
func Alternate(addrs []netip.AddrPort) []netip.AddrPort {
	var mixed []netip.AddrPort
	var first, second []netip.AddrPort
	for _, a := range addrs {
		if a.Addr().Is4() == addrs[0].Addr().Is4() {
			first = append(first, a)
		} else {
			second = append(second, a)
		}
	}
	for i := range first {
		mixed = append(mixed, first[i])
		if i < len(second) {
			mixed = append(mixed, second[i])
		}
	}
	if len(second) > len(first) {
		mixed = append(mixed, second[len(first):]...)
	}
	return mixed
}
