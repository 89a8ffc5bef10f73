package ctl

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"ntp-daemon/internal/config"
	"ntp-daemon/internal/nts/ke"
)

const (
	// answerTimeout bounds one key exchange and, again, one query.
	answerTimeout = 5 * time.Second
	// maxAtOnce is how many sources are asked at the same time.
	maxAtOnce = 16
	// leastBound is added to a sample's error bound, s: the round trip covers the path but not a kernel that took
	// its time, and it must never be zero.
	leastBound = 0.005
)

// collected is what the sources of a configuration say.
type collected struct {
	wanted   int // sources that the configuration wants
	samples  []sample
	failures []string // one line for each source that gave none
}

// gather asks every source of the configuration once, as the daemon finds them: by name, pool name, key exchange
// or NTS pool.
func gather(ctx context.Context, e *Env, sources []config.Source) collected {
	var (
		all     collected
		mu      sync.Mutex
		wg      sync.WaitGroup
		permits = make(chan struct{}, maxAtOnce)
	)
	for i := range sources {
		all.wanted += sources[i].Count
		wg.Go(func() {
			permits <- struct{}{}
			defer func() { <-permits }()
			samples, failures := gatherSource(ctx, e, &sources[i])
			mu.Lock()
			defer mu.Unlock()
			all.samples = append(all.samples, samples...)
			all.failures = append(all.failures, failures...)
		})
	}
	wg.Wait()
	all.samples = distinct(all.samples)
	slices.Sort(all.failures)
	return all
}

// distinct keeps one sample of each address, so that nobody votes twice, in the order of address.
func distinct(samples []sample) []sample {
	slices.SortStableFunc(samples, func(a, b sample) int {
		switch {
		case a.address != b.address && a.address < b.address:
			return -1
		case a.address != b.address:
			return 1
		case a.nts != b.nts && a.nts:
			return -1
		}
		return 0
	})
	return slices.CompactFunc(samples, func(a, b sample) bool { return a.address == b.address })
}

// gatherSource asks the members of one [[source]] one after the other.
func gatherSource(ctx context.Context, e *Env, src *config.Source) (samples []sample, failures []string) {
	name := net.JoinHostPort(src.Host, strconv.Itoa(int(src.Port)))
	peers, err := findMembers(ctx, e, src, name)
	if err != nil {
		failures = append(failures, fmt.Sprintf("%s: %v", name, err))
	}
	for _, p := range peers {
		r, err := ask(ctx, question{to: p.address, version: int(src.Version), timeout: answerTimeout, session: p.session})
		if err != nil {
			failures = append(failures, fmt.Sprintf("%s at %v: %v", p.name, p.address, err))
			continue
		}
		samples = append(samples, sample{
			name: p.name, address: p.address.String(), nts: p.session != nil,
			offset: r.ClockOffset.Seconds(), bound: max(r.RootDistance.Seconds(), 0) + leastBound,
		})
	}
	return samples, failures
}

// findMembers finds the servers of one [[source]]. With an error there may still be some.
func findMembers(ctx context.Context, e *Env, src *config.Source, name string) ([]peer, error) {
	if src.Mode.NTS() {
		return exchangeMembers(ctx, e, src, name)
	}
	a, err := e.Resolve(ctx, src.Host, src.Port)
	if err != nil {
		return nil, err
	}
	var peers []peer
	for _, addr := range a.Addrs {
		if len(peers) < src.Count && !slices.Contains(src.Ignore, addr.Addr()) {
			peers = append(peers, peer{name: name, address: addr})
		}
	}
	if len(peers) == 0 {
		return nil, errors.New("every address is on the ignore list")
	}
	return peers, nil
}

// exchangeMembers makes one key exchange for each server wanted; a pool is told which it has named already.
func exchangeMembers(ctx context.Context, e *Env, src *config.Source, name string) ([]peer, error) {
	var peers []peer
	var denied []string
	for range src.Count {
		r, err := e.Exchange(ctx, ke.ClientConfig{
			Address: src.Host, Port: src.Port, Roots: src.Roots, Denied: denied, Timeout: answerTimeout,
		})
		if err != nil {
			return peers, fmt.Errorf("key exchange: %w", err)
		}
		if slices.Contains(denied, r.Server) {
			return peers, fmt.Errorf("the pool has no more than %d servers", len(peers))
		}
		denied = append(denied, r.Server)
		p := peer{name: name, session: r.Session}
		if !r.ServerGiven && r.Remote.IsValid() {
			p.address = netip.AddrPortFrom(r.Remote, r.Port)
		} else {
			a, err := e.Resolve(ctx, absoluteName(r), r.Port)
			if err != nil {
				return peers, err
			}
			p.address = a.Addrs[0]
		}
		peers = append(peers, p)
	}
	return peers, nil
}
