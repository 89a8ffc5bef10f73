package daemon

import (
	"context"
	"math"
	"net"
	"time"

	"ntp-daemon/internal/assoc"
	"ntp-daemon/internal/config"
	"ntp-daemon/internal/fastpath"
	"ntp-daemon/internal/logging"
	"ntp-daemon/internal/logtarget"
	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/observe"
	"ntp-daemon/internal/program"
	"ntp-daemon/internal/server"
	"ntp-daemon/internal/source"
	"ntp-daemon/internal/system"
	"ntp-daemon/internal/version"
)

// observer is the snapshot behind the observation socket. It reads atomic pointers and counters only.
type observer struct{ d *Daemon }

// openObserver tries the socket. The daemon runs without one that cannot be had.
func (d *Daemon) openObserver() error {
	path := d.cfg.Observability.ObservationPath
	if path == "" {
		return nil
	}
	var ln net.Listener
	log := logging.Target(d.log, logtarget.Observer)
	d.observe = program.NewPart("the observation socket "+path, log, func() (err error) {
		d.paths.Lock()
		defer d.paths.Unlock()
		ln, err = observe.Listen("observation-path", path, d.cfg.Observability.ObservationPermissions)
		return err
	}, func(ctx context.Context) error {
		return observe.Serve(ctx, ln, (&observer{d}).snapshot, log)
	})
	_ = d.observe.Try()
	return nil
}

// snapshot composes what readers see.
func (o *observer) snapshot() *observe.Snapshot {
	d := o.d
	now, rep := d.tk.clock.Now(), system.Report{}
	if p := d.report.Load(); p != nil {
		rep = *p
	}
	view := d.view.Load()
	s := &observe.Snapshot{
		Program: observe.Program{
			Version: version.Version, BuildCommit: version.Commit, BuildCommitDate: version.CommitDate,
			UptimeSeconds: time.Since(d.started).Seconds(), Now: observe.At(now),
		},
		System:  systemSnapshot(view, &rep),
		Sources: make([]observe.Source, 0, len(rep.Sources)),
		Servers: make([]observe.Server, 0, len(d.servers)),
		Suite:   o.suite(view, &rep, now),
	}
	for i := range rep.Sources {
		// One whose association has just ended is on its way out of the report, too.
		if st, running := d.statuses.Get(rep.Sources[i].ID); running {
			s.Sources = append(s.Sources, sourceSnapshot(&rep.Sources[i], &st))
		}
	}
	for _, l := range d.servers {
		s.Servers = append(s.Servers, d.serverSnapshot(l, d.readClock()))
	}
	return s
}

func systemSnapshot(v *ntp.View, rep *system.Report) observe.System {
	s := observe.System{
		Stratum: uint8(v.Stratum), ReferenceID: uint32(v.RefID),
		Precision: ntp.PrecisionExp(v.Precision).Duration().Seconds(),
		RootDelay: v.RootDelay.Seconds(), RootVarianceBaseTime: observe.At(rep.VarianceAt),
		RootVarianceBase: rep.RootVariance[0], RootVarianceLinear: rep.RootVariance[1],
		RootVarianceQuadratic: rep.RootVariance[2], RootVarianceCubic: rep.RootVariance[3],
		LeapIndicator:    observe.LeapName(v.Leap, v.Synchronized),
		AccumulatedSteps: rep.AccumulatedSteps.Seconds(),
	}
	if rep.AccumulatedLimit > 0 && rep.AccumulatedLimit != system.Unlimited {
		limit := rep.AccumulatedLimit.Seconds()
		s.AccumulatedStepsThreshold = &limit
	}
	return s
}

// sourceSnapshot is the one place where what system process and association know of a source becomes what readers see.
func sourceSnapshot(r *system.SourceRow, st *source.Status) observe.Source {
	e, claims := &r.Estimate, &r.Last
	s := observe.Source{
		Offset: e.Offset.Seconds(), Uncertainty: e.Uncertainty.Seconds(), Delay: e.Delay.Seconds(),
		RemoteDelay: claims.RootDelay.Seconds(), RemoteUncertainty: claims.RootDispersion.Seconds(),
		LastUpdate: observe.At(r.Updated), UnansweredPolls: uint32(min(max(st.Unanswered, 0), 8)),
		PollInterval: int8(st.Poll), Name: r.Name, Address: r.Address.String(), ID: uint64(r.ID),
		Measured: e.Known, Role: r.Role.String(), Reason: r.Reason, Stratum: uint8(claims.Stratum),
		ReferenceID: refText(claims.Stratum, claims.RefID), Reach: st.Reach, Version: claims.Version,
		LastAnswer: st.LastVerdict.String(), Frequency: e.Frequency, Jitter: e.Jitter.Seconds(),
		Interleaved: st.Interleaved, InterleavedReplies: st.InterleavedReplies,
	}
	if st.NTS {
		s.NTSCookies = &st.Cookies
	}
	return s
}

// refText shows a reference identifier as its stratum means it: letters or an address.
func refText(st ntp.Stratum, id ntp.RefID) string {
	if st <= 1 {
		return id.Text()
	}
	return net.IPv4(byte(id>>24), byte(id>>16), byte(id>>8), byte(id)).String()
}

func (o *observer) suite(v *ntp.View, rep *system.Report, now ntp.Timestamp) observe.Suite {
	d := o.d
	s := observe.Suite{
		Synchronized: v.Synchronized, State: rep.State.String(), Clock: d.clockName(), Frequency: rep.Applied,
		Offset: rep.Offset.Seconds(), Uncertainty: rep.OffsetSigma.Seconds(),
		RootDispersion: v.RootDispersion(now).Seconds(), Reference: refText(v.Stratum, v.RefID),
		Parts: d.shownParts(time.Now()), KeyExchange: map[string]uint64{}, KeyExchangeServers: []observe.KeyExchangeServer{}, Verdicts: map[string]uint64{},
		EstimateKnown: rep.EstimateKnown, FrequencyError: rep.Applied - rep.Frequency, FrequencyUncertainty: rep.FreqSigma,
		Selected: rep.Selected, Candidates: rep.Candidates,
		ConsensusLost: rep.ConsensusLost, LoopsDetected: rep.LoopsDetected, WrongEpoch: rep.WrongEpoch, InLeap: rep.InLeap,
		Steps: uint64(max(rep.Steps, 0)), LastStep: rep.LastStep.Seconds(), Unserved: rep.Unserved,
		Refusal: rep.Refusal.Text, RefusedBy: rep.Refusal.Limit.String(),
		RefusedSteps: map[string]uint64{}, ClockUnset: rep.Unset, UnauthenticatedSteps: rep.Spent.Sum.Seconds(),
	}
	for _, l := range system.Limits() {
		s.RefusedSteps[l.String()] = rep.Refusals[l]
	}
	for _, k := range d.ke {
		k.addCounters(s.KeyExchange)
		s.KeyExchangeServers = append(s.KeyExchangeServers, k.connections())
	}
	for _, l := range d.servers {
		t := d.totals(l)
		for _, verdict := range server.Verdicts() {
			s.Verdicts[verdict.String()] += t.ByVerdict[verdict]
		}
	}
	if at := d.rotated.Load(); at != 0 && d.keys != nil {
		s.KeySetStored, s.KeySetProblem = d.keys.state()
		s.KeySetAge = math.Max(0, time.Since(time.Unix(at, 0)).Seconds())
	}
	s.Missing = []observe.MissingSource{}
	for _, m := range d.statuses.Missing() {
		s.Missing = append(s.Missing, observe.MissingSource{
			Name: m.Name, NTS: m.NTS, Count: m.Count, Reason: m.Reason, Seconds: time.Since(m.Since).Seconds(),
		})
	}
	s.Pools = poolSnapshot(d.statuses.Pools(), time.Now())
	if d.truth != nil {
		s.VirtualTruth = d.truth()
	}
	return s
}

// poolSnapshot is what readers see of the NTS pools that sources come from.
func poolSnapshot(pools []assoc.PoolState, now time.Time) []observe.NTSPool {
	list := make([]observe.NTSPool, 0, len(pools))
	for _, p := range pools {
		o := observe.NTSPool{
			Name: p.Name, FoundBy: observe.FoundByKeyExchange, Want: p.Want, Reason: p.Reason, Wait: -1,
			Members: make([]observe.NTSPoolMember, 0, len(p.Members)), Failed: make([]observe.FailedServer, 0, len(p.Failed)),
		}
		if p.SRV {
			o.FoundBy = observe.FoundBySRV
		}
		if p.Reason != "" {
			o.Wait = max(p.Search.Sub(now).Seconds(), 0)
		}
		for _, m := range p.Members {
			o.Members = append(o.Members, observe.NTSPoolMember{Server: m.Server, Address: m.Addr.String()})
		}
		for _, f := range p.Failed {
			if left := f.Until.Sub(now).Seconds(); left > 0 {
				o.Failed = append(o.Failed, observe.FailedServer{Server: f.Name, Seconds: left})
			}
		}
		list = append(list, o)
	}
	return list
}

// clockName says what is steered.
func (d *Daemon) clockName() string {
	c := d.cfg.Synchronization.Clock
	if c == config.ClockSystem && !d.steers {
		return "observed"
	}
	return c.String()
}

// totals are what became of all packets to a server: those that its sockets got, and those that were answered before.
func (d *Daemon) totals(l *listener) (t server.Totals) {
	for _, c := range l.counters {
		c.AddTo(&t)
	}
	if r := d.fast.Load(); r != nil {
		t.AddAnswered(r.packets(l.address)[fastpath.Answered])
	}
	return t
}

// dropped is what the kernel dropped before the workers saw it.
func (l *listener) dropped() (n uint64) {
	if workers := l.workers.Load(); workers != nil {
		for _, w := range *workers {
			n += w.socket.Dropped()
		}
	}
	return n
}

// serverSnapshot is what is shown of the listener at clock reading now.
func (d *Daemon) serverSnapshot(l *listener, now ntp.Timestamp) observe.Server {
	t := d.totals(l)
	s := observe.Server{Address: l.address.String(), Stats: stats(&t), Dropped: l.dropped(), TransmitStamps: t.Misses.Measured, Interleaved: t.Interleaved, FastPath: d.fastSnapshot(l)}
	for _, c := range l.counters {
		s.AnswersPerSecond += c.AnsweredLately(now)
	}
	if half, known := t.Misses.Quantile(0.5); known {
		most, _ := t.Misses.Quantile(0.99)
		s.TransmitError = &observe.TransmitError{Half: half.Seconds(), Most: most.Seconds()}
	}
	return s
}

func stats(t *server.Totals) observe.ServerStats {
	return observe.ServerStats{
		Received: t.Received, Accepted: t.Accepted, Denied: t.Denied, Ignored: t.Ignored, RateLimited: t.RateLimited,
		SendErrors: t.ResponseSendErrors, NTSReceived: t.NTSReceived, NTSAccepted: t.NTSAccepted,
		NTSDenied: t.NTSDenied, NTSNAK: t.NTSNAK,
	}
}
