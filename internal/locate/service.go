package locate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"ntp-daemon/internal/config"
	"ntp-daemon/internal/resolve"
)

// maxTargets bounds how many SRV targets one search asks for keys, one after the other.
const maxTargets = 3

// ErrNoneLeft says that no SRV target is left beside those that the caller holds.
var ErrNoneLeft = errors.New("every server of the SRV records is in use or failed of late")

// byService finds a source of src by the SRV records of its host: the members of the pool stand in the DNS. Each target is a key
// exchange server of its own at the port of its record, and its certificate must be for the target; that the domain names it
// is what DNSSEC vouches for. Where there are no such records nothing else is tried: an operator who asks for them
// would otherwise be sent anywhere by whoever suppresses them.
func (f Finder) byService(ctx context.Context, src *config.Source, h Hints) (Found, error) {
	services := f.Services
	if services == nil {
		services = resolve.NewServices(resolve.ServicesConfig{Trusted: src.SRVResolvers})
	}
	list, err := services.Lookup(ctx, src.Host)
	if err != nil {
		return Found{}, err
	}
	if list = candidates(list, h); len(list) == 0 {
		return Found{}, ErrNoneLeft
	}
	var failed []Attempt
	var barren []string
	for _, s := range list[:min(len(list), maxTargets)] {
		at := *src
		at.SRV = false
		at.Host, at.Port = s.Target, s.Port
		found, attempt := f.secure(ctx, &at, Hints{Avoid: h.Avoid, target: true})
		found.Failed, found.Barren = append(failed, found.Failed...), barren
		found.Name = s.Target
		if found.Session != nil {
			return found, attempt
		}
		if err == nil {
			err = attempt
		} else {
			err = fmt.Errorf("%w; %v", err, attempt)
		}
		failed, barren = found.Failed, append(barren, s.Target)
		if ctx.Err() != nil {
			break
		}
	}
	return Found{Failed: failed, Barren: barren}, err
}

// candidates puts the targets in the order in which they are asked: first the one that is preferred, then as they come those
// that are not denied, then those that are.
func candidates(list []resolve.Service, h Hints) []resolve.Service {
	in := func(names []string, s resolve.Service) bool {
		return slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(strings.TrimSuffix(n, "."), s.Target) })
	}
	rank := func(s resolve.Service) int {
		switch {
		case in([]string{h.Prefer}, s):
			return 0
		case in(h.Denied, s):
			return 2
		}
		return 1
	}
	list = slices.DeleteFunc(slices.Clone(list), func(s resolve.Service) bool { return in(h.Held, s) })
	slices.SortStableFunc(list, func(a, b resolve.Service) int { return rank(a) - rank(b) })
	return list
}
