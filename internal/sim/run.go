package sim

import (
	"fmt"
	"math"
	"time"

	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/source"
	"ntp-daemon/internal/system"
)

// Options of a run. The zero value is an ordinary run.
type Options struct {
	TraceEvery int                  // seconds between the points of Result.Trace; 0: no trace
	Duration   float64              // s, shorter than the scenario's; 0: all of it
	Warmup     float64              // s, in place of the scenario's, if Duration is set
	System     func(*system.Params) // further settings of the client
	Oracle     bool                 // run a Kalman filter beside it that knows the noise; one server only
}

// startOfCases is the true date at which scenarios begin.
var startOfCases = time.Date(2010, 1, 1, 0, 0, 0, 0, time.UTC)

// clientPrecision is about what a client measures of the clocks in chrony's simulations, log2 s.
const clientPrecision = -23

// build makes the world of a scenario: the processor takes no time, and timestamps are exact unless the scenario says otherwise.
func (c *Case) build(p Policy, seed uint64, set func(*system.Params)) (*World, error) {
	origin := Origin{Seed: seed, Scenario: c.ID}
	parse := func(text, name string, delay bool) (*Expr, error) {
		if text == "" {
			return nil, nil
		}
		o := origin
		o.Name, o.Delay = name, delay
		return ParseExpr(text, o)
	}
	rate, err := parse(c.Client.Freq, "client/freq", false)
	if err != nil {
		return nil, err
	}
	params := system.Defaults()
	params.Precision, params.Serves = clientPrecision, true
	params.Algorithm.MinimumAgreeing = min(params.Algorithm.MinimumAgreeing, len(c.Servers))
	if set != nil {
		set(&params)
	}
	w := New(seed, startOfCases)
	w.work = 0
	client := w.AddClient(Machine{Offset: seconds(c.Client.Offset), Rate: rate, Grain: seconds(c.Client.Grain), System: params})
	for i := range c.Servers {
		s := &c.Servers[i]
		var exprs [5]*Expr
		for k, e := range []struct {
			text, name string
			delay      bool
		}{{s.Freq, "freq", false}, {s.Step, "step", false}, {s.ReadError, "read", false}, {s.Out, "out", true}, {s.Back, "back", true}} {
			if exprs[k], err = parse(e.text, fmt.Sprintf("server%d/%s", i+1, e.name), e.delay); err != nil {
				return nil, err
			}
		}
		if exprs[3] == nil || exprs[4] == nil {
			return nil, fmt.Errorf("server %d has no path", i+1)
		}
		r := w.AddReference(seconds(s.Offset))
		r.drive(exprs[0], exprs[1], exprs[2])
		r.View.Stratum, r.View.RootDelay, r.View.Dispersion = ntp.Stratum(max(s.Stratum, 1)), seconds(s.RootDelay), seconds(s.Dispersion)
		me, it := float64(len(c.Servers)+1), float64(i+1)
		path := Path{Out: Link{Expr: exprs[3], From: me, To: it}, Back: Link{Expr: exprs[4], From: it, To: me}}
		w.Connect(client, &r.node, path, source.Config{PollMin: p.Min, PollMax: p.Max, PollInitial: p.Initial, Burst: source.StartBurst})
	}
	return w, nil
}

// drive lets expressions decide about a reference's clock: rate and step at whole seconds, noise at each request. Each may be nil.
func (r *Reference) drive(rate, step, noise *Expr) {
	r.noise = noise
	if v, constant := Constant(rate); constant && v == 0 && step == nil {
		return
	}
	osc := newOscillator(0, 0, nil)
	osc.drive(rate, step)
	before := r.Error
	r.Error = func(t time.Duration) time.Duration { return before(t) + time.Duration(osc.read(int64(t))) - t }
}

// Run simulates the scenario under a policy.
func (c *Case) Run(policy string, seed uint64, o Options) (*Result, error) {
	p, err := NamedPolicy(policy)
	if err != nil {
		return nil, err
	}
	w, err := c.build(p, seed, o.System)
	if err != nil {
		return nil, fmt.Errorf("build %s: %w", c.ID, err)
	}
	duration, warmup := c.times(p)
	if o.Duration > 0 {
		duration, warmup = min(o.Duration, duration), o.Warmup
	}
	m := newMeter(c, warmup, o.TraceEvery)
	client := w.Clients[0]
	var kalman *oracle
	if o.Oracle {
		noise, _, err := c.PathNoise(0)
		if err != nil {
			return nil, err
		}
		kalman = newOracle(c.Client.Wander, noise)
	}
	w.sampled = func(s Sample) {
		m.delays.add(s.Delay.Seconds())
		if kalman != nil {
			kalman.sample(s)
		}
	}
	w.second = func() {
		at := float64(w.seconds)
		m.add(at, c.observe(w, client))
		if kalman != nil {
			local := client.osc.read(w.now)
			kalman.second(float64(local)*1e-9, float64(w.now-local)*1e-9, at-m.event, at >= m.warmup && at < m.event-1)
		}
	}
	m.add(0, c.observe(w, client))
	until := func(at float64) int {
		w.RunFor(seconds(min(at, duration)) - w.Elapsed())
		return client.sent()
	}
	m.r.Packets60, m.r.Packets400, m.r.Packets = until(60), until(400), until(duration)
	r := m.result()
	r.Scenario, r.Policy, r.Seed = c.ID, policy, seed
	if kalman != nil {
		n := float64(max(kalman.count, 1))
		r.OracleRMS, r.OracleTold = math.Sqrt(kalman.sum2/n), math.Sqrt(kalman.told2/n)
		if m.holdover {
			r.OracleHold = kalman.hold[:]
		}
	}
	r.Steps, r.Stopped = len(client.Steps), client.Refused
	return r, nil
}

// sent counts the requests of all associations.
func (c *Client) sent() (n int) {
	for _, a := range c.assocs {
		n += a.Sent
	}
	return n
}

// observation is what is seen of a client at one whole second.
type observation struct {
	offset float64 // s, clock minus what it should show
	freq   float64 // s/s
	bound  float64 // s, root distance served; 0: it serves nothing
	sigma  float64 // s, what the client itself gives as standard deviation; 0: nothing
	wrong  float64 // s, by how much its estimate is wrong, which sigma is of
}

func (c *Case) observe(w *World, client *Client) observation {
	now := client.clock.read(w.now)
	off := now.Sub(w.True())
	served := c.Event != nil && c.Event.Kind == "server_step" // its time is the truth
	if served {
		off -= w.References[0].Error(w.Elapsed())
	}
	o := observation{offset: float64(off) * 1e-9, freq: client.Frequency(), wrong: client.wrong()}
	if served {
		o.wrong += w.References[0].Error(w.Elapsed()).Seconds()
	}
	if v := client.published; v != nil && v.Synchronized {
		o.bound = float64(v.RootDelay/2+v.RootDispersion(now)) * 1e-9
	}
	if r := &client.report; !r.VarianceAt.IsZero() {
		t := float64(now.Sub(r.VarianceAt)) * 1e-9
		v := &r.RootVariance
		o.sigma = math.Sqrt(max(v[0]+t*(v[1]+t*(v[2]+t*v[3])), 0))
	}
	return o
}
