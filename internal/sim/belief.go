package sim

import "time"

// belief is what a client holds true time to be between two of its estimates: the oscillator at the rate that it wants to run at. A
// slew that is under way takes out what is known, and is no error of the estimate.
type belief struct {
	offset time.Duration // of the estimate, and the frequency: another of them is another estimate
	rate   float64       // s/s
	wrong  int64         // ns, true time less what was believed, when the estimate was made
	at     int64         // true ns then
	local  int64         // the oscillator's ns then
}

// believe takes in what the client reports, if it is another estimate than before.
func (c *Client) believe() {
	r := &c.report
	if !r.EstimateKnown || r.Offset == c.belief.offset && r.Frequency == c.belief.rate {
		return
	}
	c.belief = belief{
		offset: r.Offset, rate: r.Frequency, at: c.w.now, local: c.osc.read(c.w.now),
		wrong: int64(-c.Offset() - r.Offset),
	}
}

// wrong is by how much the client's estimate is wrong now, s: true time less what it believes.
func (c *Client) wrong() float64 {
	b := &c.belief
	local := c.osc.read(c.w.now) - b.local
	return float64(b.wrong+(c.w.now-b.at)-local)*1e-9 - float64(b.rate*float64(local)*1e-9)
}
