package ctl

import (
	"cmp"
	"fmt"
	"math/bits"
	"slices"
	"strings"
	"time"

	"ntp-daemon/internal/metrics"
	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/observe"
	"ntp-daemon/internal/units"
)

// plainStatus is the status for a person.
func plainStatus(s *observe.Snapshot, p painter) string {
	var b strings.Builder
	b.WriteString(systemBlock(s, p))
	b.WriteString(downBlock(s, p))
	b.WriteString(sourceBlock(s, p))
	b.WriteString(ntsPoolBlock(s, p))
	b.WriteString(serverBlock(s, p))
	b.WriteString(keyExchangeBlock(s, p))
	return b.String()
}

// systemBlock says whether the clock is right, which clock, and how far off it may be.
func systemBlock(s *observe.Snapshot, p painter) string {
	u := &s.Suite
	rows := [][]cell{
		{left("Synchronised:").in(bold), synchronised(u)},
		{left("Reference:").in(bold), left(reference(s))},
		{left("Clock:").in(bold), left(clockLine(u))},
	}
	if u.Refusal != "" {
		rows = append(rows, []cell{left("Refused:").in(bold), left(clean(u.Refusal)).in(bad)})
	}
	if u.KeySetProblem != "" {
		rows = append(rows, []cell{left("Cookie keys:").in(bold), left("in memory only: " + clean(u.KeySetProblem)).in(bad)})
	}
	if u.EstimateKnown {
		rows = append(rows, []cell{left("Offset:").in(bold), left(fmt.Sprintf("%s ± %s estimated, frequency error %s ± %s",
			units.Signed(u.Offset), units.Seconds(u.Uncertainty), ppm(u.FrequencyError), bare(u.FrequencyUncertainty)))})
	}
	if v := u.VirtualTruth; v != nil {
		rows = append(rows, []cell{left("True offset:").in(bold), left(fmt.Sprintf("%s, frequency error %s (virtual clock against the machine's)",
			units.Signed(v.Offset), ppm(v.Frequency)))})
	}
	rows = append(rows,
		[]cell{left("Root:").in(bold), left(fmt.Sprintf("delay %s, dispersion %s", units.Seconds(s.System.RootDelay), units.Seconds(u.RootDispersion)))},
		[]cell{left("Daemon:").in(bold), left(daemonLine(s))})
	return table(rows, "", p)
}

// downBlock names the listeners and sockets that are down, and certificates about to end; empty where all is well.
func downBlock(s *observe.Snapshot, p painter) (text string) {
	for i := range s.Suite.Parts {
		d := &s.Suite.Parts[i]
		if d.Up {
			continue
		}
		text += p.paint("Down:", bad) + " " + clean(d.Name)
		if d.Down > 0 {
			text += " for " + units.Span(time.Duration(d.Down*1e9))
		}
		text += ": " + clean(d.Reason) + "\n"
	}
	for i := range s.Suite.KeyExchangeServers {
		k := &s.Suite.KeyExchangeServers[i]
		if notice := expiry(s, k.CertificateNotAfter); notice != "" {
			text += p.paint("Certificate:", bad) + " of " + clean(k.Address) + ": " + notice + "\n"
		}
	}
	if text != "" {
		text = "\n" + text
	}
	return text
}

func synchronised(u *observe.Suite) cell {
	state := clean(u.State)
	switch {
	case u.Synchronized && u.State == "synchronised":
		return left("yes").in(good)
	case u.Synchronized:
		return left("yes, " + state).in(notice)
	case u.Refusal != "":
		return left("no, steering refused").in(bad)
	case u.ClockUnset:
		return left("no, the clock is unset: it shows a time that is past").in(bad)
	case u.Unserved != "":
		return left("no: " + clean(u.Unserved)).in(bad)
	}
	return left("no, " + state).in(bad)
}

func reference(s *observe.Snapshot) string {
	if !s.Suite.Synchronized {
		return fmt.Sprintf("none, stratum %d", s.System.Stratum)
	}
	return fmt.Sprintf("%s, stratum %d, %s", clean(s.Suite.Reference), s.System.Stratum, leapText(s.System.LeapIndicator))
}

func leapText(name string) string {
	switch name {
	case "NoWarning":
		return "no leap second announced"
	case "Leap61":
		return "a second will be inserted at the end of the month"
	case "Leap59":
		return "a second will be left out at the end of the month"
	}
	return "leap seconds unknown"
}

func clockLine(u *observe.Suite) string {
	switch u.Clock {
	case "observed":
		return "the machine's, measured but not steered"
	case "virtual":
		return "virtual, correction in force " + ppm(u.Frequency)
	}
	return "the machine's, correction in force " + ppm(u.Frequency)
}

func daemonLine(s *observe.Snapshot) string {
	text := fmt.Sprintf("version %s, up %s", clean(s.Program.Version), units.Span(time.Duration(s.Program.UptimeSeconds*1e9)))
	switch s.Suite.Steps {
	case 0:
	case 1:
		text += ", stepped the clock once"
	default:
		text += fmt.Sprintf(", stepped the clock %d times", s.Suite.Steps)
	}
	if n := s.Suite.ConsensusLost; n > 0 {
		text += fmt.Sprintf(", agreement of the sources lost: %d", n)
	}
	if n := s.Suite.LoopsDetected; n > 0 {
		text += fmt.Sprintf(", loops found: %d", n)
	}
	return text
}

// marks show a source's role at the start of its line; the legend explains those in use.
var marks = []struct {
	role, mark, meaning string
	style               style
}{
	{observe.RolePeer, "*", "system peer", good},
	{observe.RoleSelected, "+", "selected", good},
	{observe.RoleCandidate, "-", "candidate without consensus", notice},
	{observe.RoleFalseticker, "x", "falseticker", bad},
	{observe.RoleExcluded, "?", "not a candidate", notice},
}

func markOf(role string) int {
	for i, m := range marks {
		if m.role == role {
			return i
		}
	}
	return len(marks) - 1
}

func sourceBlock(s *observe.Snapshot, p painter) string {
	if len(s.Sources) == 0 && len(s.Suite.Missing) == 0 {
		return "\n" + p.paint("Sources:", bold) + " none\n"
	}
	now := ntp.Timestamp(s.Program.Now.Timestamp)
	rows := [][]cell{headerOf([]string{"", "NAME", "ADDRESS", "NTS", "COOKIES", "STRATUM", "REACH", "POLL", "LAST", "OFFSET", "ERROR", "DELAY", "STATUS"},
		map[int]bool{4: true, 5: true, 6: true, 7: true, 8: true, 9: true, 10: true, 11: true})}
	var used [8]bool
	sorted := slices.Clone(s.Sources)
	slices.SortStableFunc(sorted, func(a, b observe.Source) int {
		if c := strings.Compare(a.Name, b.Name); c != 0 {
			return c
		}
		return cmp.Compare(a.ID, b.ID)
	})
	for i := range sorted {
		used[markOf(sorted[i].Role)] = true
		rows = append(rows, sourceRow(&sorted[i], now))
	}
	for i := range s.Suite.Missing {
		used[markOf(observe.RoleExcluded)] = true
		rows = append(rows, missingRow(&s.Suite.Missing[i]))
	}
	text := "\n" + p.paint("Sources:", bold) + "\n" + table(rows, " ", p)
	var legend []string
	for i, m := range marks {
		if used[i] {
			legend = append(legend, m.mark+" "+m.meaning)
		}
	}
	return text + p.paint("   "+strings.Join(legend, ", ")+"; reach: the last eight polls in octal, 377 is all answered", faint) + "\n"
}

func sourceRow(r *observe.Source, now ntp.Timestamp) []cell {
	m := marks[markOf(r.Role)]
	row := []cell{left(m.mark).in(m.style), left(clean(r.Name)), left(clean(r.Address)), left("no"), right("-")}
	if r.NTSCookies != nil {
		row[3], row[4] = left("yes").in(good), right(fmt.Sprintf("%d/8", *r.NTSCookies))
	}
	reach := right(fmt.Sprintf("%o", r.Reach))
	if bits.OnesCount8(r.Reach) == 0 {
		reach = reach.in(bad)
	}
	unknown := right("-")
	if !r.Measured {
		row = append(row, unknown, reach, right(interval(r.PollInterval)), unknown, unknown, unknown, unknown)
	} else {
		ago := max(now.Sub(ntp.Timestamp(r.LastUpdate.Timestamp)), 0)
		row = append(row, right(fmt.Sprint(r.Stratum)), reach, right(interval(r.PollInterval)), right(units.Span(ago)),
			right(units.Signed(r.Offset)), right("± "+units.Seconds(r.Uncertainty)), right(units.Seconds(r.Delay)))
	}
	status := clean(r.Role)
	if r.Interleaved {
		status += ", interleaved"
	}
	if r.Reason != "" {
		status += ": " + clean(r.Reason)
	}
	if metrics.Selected(r) {
		return append(row, left(status).in(good))
	}
	return append(row, left(status).in(m.style))
}

// missingRow is the row of sources without an address.
func missingRow(m *observe.MissingSource) []cell {
	mark := marks[markOf(observe.RoleExcluded)]
	row := []cell{left(mark.mark).in(mark.style), left(clean(m.Name)), left("-"), left("no")}
	if m.NTS {
		row[3] = left("yes").in(good)
	}
	for range 8 {
		row = append(row, right("-"))
	}
	return append(row, left(missingText(m)).in(mark.style))
}

// missingText says how many are missing, and why.
func missingText(m *observe.MissingSource) string {
	text := "no address"
	if m.Count > 1 {
		text = fmt.Sprintf("%d without address", m.Count)
	}
	return text + " for " + units.Span(time.Duration(m.Seconds*1e9)) + ": " + clean(m.Reason)
}

func serverBlock(s *observe.Snapshot, p painter) string {
	if len(s.Servers) == 0 {
		return ""
	}
	rows := [][]cell{headerOf([]string{"ADDRESS", "RECEIVED", "ANSWERED", "DENIED", "IGNORED", "LIMITED", "NTS", "NTS ANSWERED", "NTS NAK", "SEND ERRORS", "DROPPED", "INTERLEAVED"},
		map[int]bool{1: true, 2: true, 3: true, 4: true, 5: true, 6: true, 7: true, 8: true, 9: true, 10: true, 11: true})}
	for i := range s.Servers {
		c := &s.Servers[i].Stats
		row := []cell{left(clean(s.Servers[i].Address))}
		for _, n := range []uint64{c.Received, c.Accepted, c.Denied, c.Ignored, c.RateLimited, c.NTSReceived, c.NTSAccepted, c.NTSNAK, c.SendErrors,
			s.Servers[i].Dropped, s.Servers[i].Interleaved} {
			row = append(row, right(fmt.Sprint(n)))
		}
		rows = append(rows, row)
	}
	text := "\n" + p.paint("Servers:", bold) + "\n" + table(rows, "   ", p)
	for i := range s.Servers {
		text += transmitLine(&s.Servers[i]) + fastPathLine(&s.Servers[i])
	}
	return text
}

// transmitLine says how good the transmit times of a server's answers are at this load; nothing where that is not known.
func transmitLine(r *observe.Server) string {
	e := r.TransmitError
	if e == nil {
		return ""
	}
	return fmt.Sprintf("   %s: %d answers a second; their transmit times are good to %s, half of them to %s\n",
		clean(r.Address), r.AnswersPerSecond, units.Seconds(e.Most), units.Seconds(e.Half))
}

// fastPathLine says what the network driver does for a server with xdp.
func fastPathLine(r *observe.Server) string {
	f := r.FastPath
	if f == nil {
		return ""
	}
	where := "in the driver of "
	if f.Mode == "generic" {
		where = "behind the driver of "
	}
	text := fmt.Sprintf("   %s: %d of these answered %s%s, %d others passed on", clean(r.Address), f.Answered,
		where, clean(f.Interface), f.Resting+f.Listed+f.Other)
	if f.Reason != "" {
		text += "; not now: " + clean(f.Reason)
	}
	return text + "\n"
}

// keyExchangeBlock lists the outcomes of the NTS key exchange server that occurred.
func keyExchangeBlock(s *observe.Snapshot, p painter) string {
	if len(s.Suite.KeyExchange) == 0 && s.Suite.KeySetAge == 0 {
		return ""
	}
	text := occurred(s.Suite.KeyExchange, "no connections")
	if s.Suite.KeySetAge > 0 {
		text += ", cookie key changed " + units.Span(time.Duration(s.Suite.KeySetAge*1e9)) + " ago"
	}
	text = "\n" + p.paint("NTS key exchange:", bold) + " " + text + "\n"
	for i := range s.Suite.KeyExchangeServers {
		k := &s.Suite.KeyExchangeServers[i]
		text += fmt.Sprintf("   %s: %s", clean(k.Address), connections(&k.Connections))
		if k.Kept > 0 {
			text += fmt.Sprintf(", %d kept for pools", k.Kept)
		}
		if k.OverBudget > 0 {
			text += fmt.Sprintf(", handshake-cpu-percent used up %d times", k.OverBudget)
		}
		text += "\n"
	}
	return text
}
