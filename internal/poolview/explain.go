package poolview

import (
	"fmt"
	"net"
	"strings"
	"time"

	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/nts/aead"
	"ntp-daemon/internal/observe"
	"ntp-daemon/internal/units"
	"ntp-daemon/internal/version"
)

// Explanation says why a time source is handed out, or is not.
type Explanation struct {
	Verdict string   `json:"verdict"` // one sentence
	Facts   []string `json:"facts"`   // sentences with the numbers behind it
	Try     []string `json:"try"`     // what to do about it, empty if nothing is to be done
}

// Explain looks at everything that has a say about a time source, in the order in which it is asked for a user.
func Explain(s *observe.Snapshot, m *observe.PoolServer) Explanation {
	h := HealthOf(m)
	e := Explanation{Verdict: m.Server + " is handed out", Facts: []string{}, Try: []string{}}
	if !h.HandedOut {
		e.Verdict = m.Server + " is NOT handed out"
	}
	e.Verdict += ": " + h.Word
	if h.Why != "" {
		e.Verdict += ", " + h.Why
	}
	e.Verdict += "."
	if m.ID != "" && m.ID != m.Server {
		e.add("Name: %s in the configuration.", m.ID)
	}
	e.breaker(m)
	e.monitor(s.Pool, m)
	e.share(s.Pool, m)
	e.abilities(m)
	e.certificate(s, m)
	e.exchanges(m)
	if !h.HandedOut || h.Tone == Notice {
		e.remedy(m)
	}
	return e
}

func (e *Explanation) add(format string, args ...any) {
	e.Facts = append(e.Facts, fmt.Sprintf(format, args...))
}

func (e *Explanation) breaker(m *observe.PoolServer) {
	last := ""
	if m.LastError != "" {
		last = fmt.Sprintf(" Its latest failure was %s, %s ago.", FaultMeaning(m.LastError), span(m.ErrorAge))
	}
	switch {
	case m.Breaker == observe.BreakerOpen:
		e.add("Breaker: open. Key exchange failed %s; it is tried again %s, and before that only for users for whom nobody else is left.%s",
			row(m.Failures), soon(m.OpenFor), last)
	case m.Breaker == observe.BreakerTrial:
		e.add("Breaker: on trial. Its pause is over; a success closes the breaker, a failure opens it for twice as long.%s", last)
	case m.Failures > 0:
		e.add("Breaker: closed. Key exchange failed %s; three times in a row open it.%s", row(m.Failures), last)
	default:
		e.add("Breaker: closed.%s", last)
	}
}

func (e *Explanation) monitor(p *observe.Pool, m *observe.PoolServer) {
	switch {
	case p.Monitor == nil:
		e.add("Monitor: none. Time sources are not probed, so only failing key exchanges take one out.")
		return
	case m.Monitored == nil:
		e.add("Monitor: has not probed it yet.")
		return
	}
	for _, v := range Views(m) {
		e.view(p, v)
	}
	for _, a := range m.Monitored.Algorithms {
		if !a.Usable {
			e.add("Monitor: %v is withheld from users, %s.", aead.Algorithm(a.Algorithm), orElse(a.Reason, "its cookies were not proven yet"))
		}
	}
}

// view says what the monitor thinks of one address family.
func (e *Explanation) view(p *observe.Pool, v *observe.MonitorView) {
	text := fmt.Sprintf("Monitor, %s: %s", FamilyName(v.Family), v.Verdict)
	if v.Since >= 0 {
		text += " for " + span(float64(v.Since))
	}
	if v.Reason != "" {
		text += ", " + v.Reason
	}
	text += fmt.Sprintf(". Score %.1f of 20, above 10 enters.", v.Score)
	if v.ProbeAge >= 0 {
		text += fmt.Sprintf(" Latest probe %s ago: %s.", span(float64(v.ProbeAge)), v.Outcome)
	}
	if v.Failures > 0 {
		text += " Failed " + row(v.Failures) + "."
	}
	if v.Wrong > 0 {
		text += fmt.Sprintf(" Wrong in %d rounds in a row.", v.Wrong)
	}
	if v.Answered >= 0 {
		when := "Its clock is"
		if v.Answered > v.ProbeAge {
			when = "When it last answered, " + span(float64(v.Answered)) + " ago, its clock was"
		}
		text += fmt.Sprintf(" %s %s, possible error %s, round trip %s.", when, aheadOf(v.Offset, reference(p)), units.Seconds(v.Distance), units.Seconds(v.Delay))
	}
	e.Facts = append(e.Facts, text)
}

// reference is what the offsets of the monitor are measured from.
func reference(p *observe.Pool) string {
	if p.Monitor != nil && p.Monitor.Reference != observe.ReferenceNone {
		return "the reference"
	}
	return "this host's clock"
}

// aheadOf says which of two clocks is ahead.
func aheadOf(offset float64, of string) string {
	switch {
	case offset > 0:
		return units.Seconds(offset) + " ahead of " + of
	case offset < 0:
		return units.Seconds(-offset) + " behind " + of
	}
	return "equal to " + of
}

func (e *Explanation) share(p *observe.Pool, m *observe.PoolServer) {
	text := fmt.Sprintf("Choice: %s, weight %d", orElse(p.Selection, "in turn"), m.Weight)
	if m.Expected != nil {
		text += fmt.Sprintf(", which aims at %s of the users", Percent(*m.Expected))
	}
	if m.Share != nil {
		text += fmt.Sprintf("; it served %s of those of the last five minutes", Percent(*m.Share))
	}
	e.Facts = append(e.Facts, text+".")
	if drawn := Counts(m.Selected); drawn != "" {
		e.add("Drawn: first for users, by the region that it was drawn from (@ is the whole list): %s.", drawn)
	}
	if len(m.Regions) > 0 {
		e.add("Regions: %s.", strings.Join(m.Regions, ", "))
	}
	if m.Operator != "" {
		e.add("Operator: %s; one user gets as few as possible of the same.", m.Operator)
	}
	if len(m.Families) == 1 {
		e.add("Families: only users of %s are sent there, as configured.", FamilyName(m.Families[0]))
	}
}

func (e *Explanation) abilities(m *observe.PoolServer) {
	if m.Dialect == "" {
		e.add("Abilities: not known yet; it is asked before the first user's keys are sent.")
		return
	}
	var names []string
	for _, id := range m.Algorithms {
		names = append(names, fmt.Sprintf("%v (%d)", aead.Algorithm(id), id))
	}
	text := fmt.Sprintf("Abilities: dialect %s, %s", m.Dialect, orElse(strings.Join(names, ", "), "no algorithm"))
	if m.ListsAge > 0 {
		text += ", told " + span(m.ListsAge) + " ago"
	}
	if !m.Known {
		text += "; it is asked anew"
	}
	e.Facts = append(e.Facts, text+".")
	if len(m.Names) > 0 {
		e.add("Names: it hands out %s.", strings.Join(m.Names, ", "))
	}
	if m.OddCookies > 0 {
		e.add("Cookies: %d of its answers had too many, of several lengths, or of one that some users cannot use.", m.OddCookies)
	}
	e.connections(m)
}

// connections is what the way to it costs.
func (e *Explanation) connections(m *observe.PoolServer) {
	if m.RTT > 0 {
		e.add("Answers: within %s, smoothed; %d under way now.", units.Seconds(m.RTT), m.InFlight)
	}
	if m.Opened+m.Resumed+m.Reused == 0 {
		return
	}
	kept := fmt.Sprintf("%d kept for the next request", m.Idle)
	if m.OneShot {
		kept = "it keeps none, so TLS sessions are resumed"
	}
	e.add("Connections: %s; %d requests on kept ones, %d handshakes in full and %d resumed.", kept, m.Reused, m.Opened, m.Resumed)
}

// certificate is about the one that the time source shows, and for the oldest dialect about the pool's own.
func (e *Explanation) certificate(s *observe.Snapshot, m *observe.PoolServer) {
	if m.CertificateNotAfter != 0 {
		e.add("Certificate: %s.", Until(s, m.CertificateNotAfter))
	}
	if m.Dialect == "cert" {
		e.add("Ours: it knows this pool by its certificate, which %s.", Until(s, s.Pool.CertificateNotAfter))
	}
}

func (e *Explanation) exchanges(m *observe.PoolServer) {
	e.add("Exchanges: %s.", orElse(Counts(m.Exchanges), "none yet"))
}

// remedy is what helps against the latest failure.
func (e *Explanation) remedy(m *observe.PoolServer) {
	host, port, err := net.SplitHostPort(m.Server)
	if err != nil || port != "4460" { // the one that ntp-ctl asks when none is written
		host = m.Server
	}
	switch m.LastError {
	case "timeout", "connection":
		e.Try = append(e.Try, "see whether its port can be reached from here: ntp-ctl query --nts "+host, "ask its operator whether it is up")
	case "name":
		e.Try = append(e.Try, "check the name in DNS, or write its addresses into the list")
	case "certificate":
		e.Try = append(e.Try, "ask its operator to renew the certificate; for a private authority set certificate-authority-path")
	case "refused":
		e.Try = append(e.Try, "compare its token with ours, or give its operator the pool's present certificate")
	case "dialect":
		e.Try = append(e.Try, "check that this port belongs to a time source of a pool")
	case "tls":
		e.Try = append(e.Try, "check that it speaks TLS 1.3 to this host")
	case "answer":
		e.Try = append(e.Try, "set log-level = \"debug\" and read what it answered")
	}
}

// FaultMeaning explains a class of failures.
func FaultMeaning(class string) string {
	switch class {
	case "timeout":
		return "that it did not answer in time"
	case "name":
		return "that its name could not be looked up"
	case "connection":
		return "that no connection could be made"
	case "certificate":
		return "that its certificate is not valid"
	case "tls":
		return "in TLS"
	case "dialect":
		return "that it understands no request of a pool"
	case "refused":
		return "that it does not take our token or certificate"
	case "answer":
		return "an answer that is against the rules"
	}
	return class
}

// Percent shows a part of one, with more digits near both ends, where they matter.
func Percent(v float64) string {
	switch {
	case v <= 0 || v >= 1:
		return fmt.Sprintf("%.0f %%", 100*v)
	case v < 0.0005:
		return "< 0.1 %"
	case v > 0.995:
		return fmt.Sprintf("%.2f %%", min(100*v, 99.99))
	}
	return fmt.Sprintf("%.1f %%", 100*v)
}

// Now is the time of the snapshot.
func Now(s *observe.Snapshot) time.Time {
	return ntp.Timestamp(s.Program.Now.Timestamp).Time(version.Built())
}

// distant is from where on days are not counted.
const distant = 10 * 365

// Until says when something ends: ends on 2027-01-29, in 61 days.
func Until(s *observe.Snapshot, unix int64) string {
	on := time.Unix(unix, 0).UTC().Format(time.DateOnly)
	left := unix - Now(s).Unix()
	switch days := left / (24 * 60 * 60); {
	case left < 0:
		return "ended on " + on
	case days > distant:
		return "ends on " + on
	default:
		return fmt.Sprintf("ends on %s, in %d days", on, days)
	}
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
