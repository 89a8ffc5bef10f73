package ctl

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"ntp-daemon/internal/config"
	"ntp-daemon/internal/locate"
	"ntp-daemon/internal/resolve"
	"ntp-daemon/internal/source"
)

const (
	// answerTimeout bounds one key exchange and, again, one query.
	answerTimeout = 5 * time.Second
	// maxAtOnce is how many sources are asked at the same time.
	maxAtOnce = 16
	// maxSpare is how many servers of a pool are asked in place of silent ones.
	maxSpare = 4
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
	finder := e.Finder
	finder.Timeout = answerTimeout
	for i := range sources {
		all.wanted += sources[i].Count
		wg.Go(func() {
			permits <- struct{}{}
			defer func() { <-permits }()
			samples, failures := gatherSource(ctx, finder, &sources[i])
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

// gatherSource asks the servers of one [[source]] one after the other, until as many as it wants have answered. A pool may
// have spare ones, for those that are silent.
func gatherSource(ctx context.Context, f locate.Finder, src *config.Source) (samples []sample, failures []string) {
	candidates, err := findCandidates(ctx, f, src)
	if err != nil {
		failures = append(failures, fmt.Sprintf("%s: %v", src.Name(), err))
	}
	for _, c := range candidates {
		if len(samples) == src.Count {
			return samples, nil // spare ones made up for what failed
		}
		r, err := c.ask(ctx, int(src.Version), answerTimeout)
		if err != nil {
			failures = append(failures, fmt.Sprintf("%s at %v: %v", c.name, c.addrs[0], err))
			continue
		}
		samples = append(samples, sample{
			name: c.name, address: c.addrs[0].String(), nts: c.session != nil,
			offset: r.ClockOffset.Seconds(), bound: max(r.RootDistance.Seconds(), 0) + leastBound,
		})
	}
	return samples, failures
}

// findCandidates finds as many servers of one [[source]] as it wants, of a pool spare ones as well. With an error there may
// still be some.
func findCandidates(ctx context.Context, f locate.Finder, src *config.Source) ([]candidate, error) {
	if src.Mode == source.ModeNTSPool {
		return exchangeCandidates(ctx, f, src)
	}
	found, err := f.Find(ctx, src, locate.Hints{})
	switch {
	case err != nil:
		return nil, err
	case src.Mode != source.ModePool:
		return []candidate{{name: src.Name(), addrs: found.Addrs, session: found.Session}}, nil
	case len(found.Addrs) == 0:
		return nil, errors.New("every address is on the ignore list")
	}
	var candidates []candidate
	for _, addr := range locate.Alternate(found.Addrs)[:min(len(found.Addrs), src.Count+maxSpare)] {
		candidates = append(candidates, candidate{name: src.Name(), addrs: []netip.AddrPort{addr}})
	}
	return candidates, nil
}

// exchangeCandidates makes one key exchange for each server wanted; the pool is told which it has named already, and of SRV
// records each is used once.
func exchangeCandidates(ctx context.Context, f locate.Finder, src *config.Source) (candidates []candidate, err error) {
	if src.SRV && f.Services == nil {
		f.Services = resolve.NewServices(resolve.ServicesConfig{Trusted: src.SRVResolvers}) // one look-up for all
	}
	var denied, failed []string
	for range src.Count {
		found, err := f.Find(ctx, src, locate.Hints{Denied: slices.Concat(failed, denied), Held: denied})
		failed = append(failed, found.Barren...)
		if err != nil && !errors.Is(err, locate.ErrNoneLeft) {
			return candidates, err
		}
		if err != nil || slices.Contains(denied, found.Name) {
			return candidates, fmt.Errorf("the pool has no more than %d servers", len(candidates))
		}
		denied = append(denied, found.Name)
		candidates = append(candidates, candidate{name: src.Name(), addrs: found.Addrs, session: found.Session})
	}
	return candidates, nil
}
