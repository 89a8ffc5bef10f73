package daemon

import (
	"context"
	"time"

	"ntp-daemon/internal/logging"
	"ntp-daemon/internal/logtarget"
	"ntp-daemon/internal/observe"
	"ntp-daemon/internal/program"
	"ntp-daemon/internal/version"
)

// parts is everything that the daemon can do without for a while, in the order of the configuration.
func (d *Daemon) parts() (list []*program.Part) {
	for _, s := range d.servers {
		list = append(list, s.part)
	}
	for _, k := range d.ke {
		list = append(list, k.part)
	}
	if d.observe != nil {
		list = append(list, d.observe)
	}
	if d.fastPath != nil {
		list = append(list, d.fastPath.part)
	}
	if d.logPart != nil {
		list = append(list, d.logPart)
	}
	return list
}

// shownParts is what readers see of them.
func (d *Daemon) shownParts(now time.Time) []observe.Part {
	list := []observe.Part{}
	for _, p := range d.parts() {
		row := observe.Part{Name: p.Name, Up: true}
		if down := p.Down(); down != nil {
			row = observe.Part{Name: p.Name, Reason: down.Reason, Down: now.Sub(down.Since).Seconds()}
		}
		list = append(list, row)
	}
	for i, s := range d.servers { // they are the first
		if list[i].Up && s.absent.Load() {
			list[i].Up, list[i].Reason = false, noInterface
		}
	}
	return list
}

// watchCertificates owns nothing but its ticker and what it has said: it warns of certificates of the key exchange that
// expire. It stops when ctx ends.
func (d *Daemon) watchCertificates(ctx context.Context) error {
	watch := program.NewExpiryWatch(logging.Target(d.log, logtarget.KeyExchange))
	ticker := time.NewTicker(program.ExpiryInterval)
	defer ticker.Stop()
	for {
		for _, k := range d.ke {
			if cert := k.cert.Load(); cert != nil {
				watch.Look(k.cfg.Load().CertificateChainPath, cert.Leaf, time.Now(), d.believed())
			}
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// believed is what the daemon takes for the time when it judges its own certificates: the clock, put right by what is
// estimated of its error, which may be large while a step is refused or the clock is only observed; and never a time
// before this program was built, which a clock that nobody has set shows.
func (d *Daemon) believed() time.Time {
	now := time.Now()
	if d.tk != nil {
		now = d.wall()
	}
	if rep := d.report.Load(); rep != nil && rep.EstimateKnown {
		now = now.Add(rep.Offset)
	}
	if built := version.Built(); now.Before(built) {
		return built
	}
	return now
}
