package poolview

import (
	"fmt"
	"time"

	"ntp-daemon/internal/observe"
	"ntp-daemon/internal/pki"
	"ntp-daemon/internal/pool"
	"ntp-daemon/internal/program"
)

// maxNamed is how many time sources are named in hints one by one.
const maxNamed = 5

// failing is the part of the recent exchanges that may fail by our fault before it is worth a hint.
const failing = 0.01

// Hint is something that the operator should look at.
type Hint struct {
	Tone Tone   `json:"tone"` // Bad or Notice
	Text string `json:"text"` // without full stop
}

// Hints are what an operator should look at, the most urgent first; empty if all is well.
func Hints(s *observe.Snapshot) (hints []Hint) {
	p := s.Pool
	add := func(tone Tone, format string, args ...any) {
		hints = append(hints, Hint{tone, fmt.Sprintf(format, args...)})
	}
	for _, why := range p.NotReady {
		add(Bad, "not ready: %s", why)
	}
	if text := program.ExpiryNotice(time.Unix(p.CertificateNotAfter, 0), Now(s)); text != "" && p.CertificateNotAfter != 0 {
		add(Notice, "%s; renew it and reload", text)
	}
	if why := p.Reload.Reason; why != "" {
		add(Notice, "the last reload was refused, the files are others than those in use: %s", why)
	}
	if n := p.Connections.Panics; n > 0 {
		add(Bad, "bugs met: %d; the log has them", n)
	}
	if part := failedByUs(p); part > failing {
		add(Bad, "%s of the last exchanges failed by our fault or that of time sources", Percent(part))
	}
	if p.Limits.Connections > 0 && 10*p.Connections.InUse > 8*p.Limits.Connections {
		add(Notice, "%d of %d places for users are taken", p.Connections.InUse, p.Limits.Connections)
	}
	if p.Selection == pool.Geographic.String() && p.CountriesBuilt == 0 {
		add(Notice, "there is no database of countries, so users are served from all of the list; the log says why")
	}
	hints = append(hints, monitorHints(p.Monitor)...)
	hints = append(hints, memberHints(p)...)
	return append(hints, certificateHints(s)...)
}

// certificateHints names time sources whose certificates end soon; one that has ended takes it out, which memberHints says.
func certificateHints(s *observe.Snapshot) (hints []Hint) {
	for i := range s.Pool.Servers {
		m := &s.Pool.Servers[i]
		left := time.Unix(m.CertificateNotAfter, 0).Sub(Now(s))
		if m.CertificateNotAfter != 0 && left > 0 && left < pki.Notice && len(hints) < maxNamed {
			hints = append(hints, Hint{Notice, "the certificate of " + m.Server + " " + Until(s, m.CertificateNotAfter)})
		}
	}
	return hints
}

// failedByUs is the part of the recent exchanges whose outcome is bad.
func failedByUs(p *observe.Pool) float64 {
	var bad, all uint64
	for name, n := range p.Recent.Outcomes {
		all += n
		if OutcomeTone(name) == Bad {
			bad += n
		}
	}
	if all == 0 {
		return 0
	}
	return float64(bad) / float64(all)
}

func monitorHints(m *observe.PoolMonitor) (hints []Hint) {
	if m == nil {
		return nil
	}
	if m.ClockOutOfRange {
		hints = append(hints, Hint{Bad, "most certificates are not valid by this host's clock, which is probably wrong"})
	}
	if m.Void != "" {
		hints = append(hints, Hint{Notice, "the latest round of probes was not held against anybody: " + m.Void})
	}
	if m.StoreErrors > 0 {
		hints = append(hints, Hint{Notice, fmt.Sprintf("scores could not be written to state-path %s; a restart would lose them", times(int(m.StoreErrors)))})
	}
	return hints
}

// memberHints names time sources that do not work as configured.
func memberHints(p *observe.Pool) (hints []Hint) {
	more := 0
	for i := range p.Servers {
		h := HealthOf(&p.Servers[i])
		if h.Tone != Bad {
			continue
		}
		if len(hints) == maxNamed {
			more++
			continue
		}
		text := p.Servers[i].Server + " is " + h.Word
		if h.Why != "" {
			text += ": " + h.Why
		}
		hints = append(hints, Hint{Notice, text})
	}
	if more > 0 {
		hints = append(hints, Hint{Notice, fmt.Sprintf("and %d more are not handed out", more)})
	}
	return hints
}
