package ctl

import (
	"fmt"
	"time"

	beevik "github.com/beevik/ntp"

	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/units"
)

// answer is what one query found out, in seconds; it is also the JSON of query.
type answer struct {
	Server         string  `json:"server"`
	Address        string  `json:"address"`
	NTS            bool    `json:"nts"`
	AEAD           uint16  `json:"aead,omitempty"`
	Version        int     `json:"version"`
	Offset         float64 `json:"offset"` // > 0: this machine's clock is behind
	Delay          float64 `json:"delay"`
	RootDistance   float64 `json:"root_distance"` // bound of the error of Offset, if server and path are honest
	RootDelay      float64 `json:"root_delay"`
	RootDispersion float64 `json:"root_dispersion"`
	Precision      float64 `json:"precision"`
	Stratum        uint8   `json:"stratum"`
	ReferenceID    string  `json:"reference_id"`
	Leap           string  `json:"leap"`
	Error          string  `json:"error,omitempty"` // why the answer is not usable
}

func newAnswer(c *candidate, r *beevik.Response, unusable error) answer {
	a := answer{
		Server: c.name, Address: c.addrs[0].String(), NTS: c.session != nil,
		Version: r.Version, Offset: r.ClockOffset.Seconds(), Delay: r.RTT.Seconds(),
		RootDistance: r.RootDistance.Seconds(), RootDelay: r.RootDelay.Seconds(), RootDispersion: r.RootDispersion.Seconds(),
		Precision: r.Precision.Seconds(), Stratum: r.Stratum, ReferenceID: refText(r), Leap: leapOf(r.Leap),
	}
	if a.NTS {
		a.AEAD = uint16(c.session.Algorithm())
	}
	if unusable != nil {
		a.Error = unusable.Error()
	}
	return a
}

// refText shows the identifier as the stratum means it, with nothing of it raw.
func refText(r *beevik.Response) string {
	if r.Stratum <= 1 {
		return ntp.RefID(r.ReferenceID).Text()
	}
	return clean(r.ReferenceString())
}

func leapOf(l beevik.LeapIndicator) string {
	switch l {
	case beevik.LeapNoWarning:
		return "none"
	case beevik.LeapAddSecond:
		return "insert"
	case beevik.LeapDelSecond:
		return "delete"
	}
	return "unsynchronised"
}

// describe is the answer for a person.
func (a *answer) describe(p painter) string {
	protected := left("no").in(notice)
	if a.NTS {
		protected = left(fmt.Sprintf("yes, AEAD %d", a.AEAD)).in(good)
	}
	label := func(s string) cell { return left(s).in(bold) }
	rows := [][]cell{
		{label("Server:"), left(fmt.Sprintf("%s at %s, NTP version %d", clean(a.Server), a.Address, a.Version))},
		{label("NTS:"), protected},
		{label("Offset:"), left(fmt.Sprintf("%s, error at most %s (%s)", units.Signed(a.Offset), units.Seconds(a.RootDistance), direction(a.Offset)))},
		{label("Delay:"), left(units.Seconds(a.Delay))},
		{label("Stratum:"), left(fmt.Sprint(a.Stratum))},
		{label("Reference:"), left(a.ReferenceID)},
		{label("Leap:"), left(a.Leap)},
		{label("Root:"), left(fmt.Sprintf("delay %s, dispersion %s", units.Seconds(a.RootDelay), units.Seconds(a.RootDispersion)))},
		{label("Precision:"), left(units.Seconds(a.Precision))},
	}
	if a.Error != "" {
		rows = append(rows, []cell{label("Usable:"), left("no, " + clean(a.Error)).in(bad)})
	}
	return table(rows, "", p)
}

// direction says in words what the sign of an offset means.
func direction(offset float64) string {
	switch s := time.Duration(offset * 1e9); {
	case s > 0:
		return "this clock is behind"
	case s < 0:
		return "this clock is ahead"
	}
	return "no difference"
}
