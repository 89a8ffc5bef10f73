package ctl

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/observe"
	"ntp-daemon/internal/program"
	"ntp-daemon/internal/version"
)

// poolStatus is the status of nts-pool-ke for a person.
func poolStatus(s *observe.Snapshot, p painter) string {
	c := &s.Pool.Connections
	rows := [][]cell{
		{left("Pool:").in(bold), left(fmt.Sprintf("%s, version %s, up %s", clean(s.Pool.Address), clean(s.Program.Version),
			span(time.Duration(s.Program.UptimeSeconds*1e9))))},
		{left("Users:").in(bold), left(occurred(s.Pool.Outcomes, "none yet"))},
		{left("Connections:").in(bold), left(connections(c))},
	}
	if notice := expiry(s, s.Pool.CertificateNotAfter); notice != "" {
		rows = append(rows, []cell{left("Certificate:").in(bold), left(notice).in(bad)})
	}
	return table(rows, "", p) + timeSourceBlock(s, p)
}

// expiry is what is to be said of a certificate that ends at notAfter, in Unix seconds, at the time of the snapshot; empty if
// nothing is, or if there is no certificate.
func expiry(s *observe.Snapshot, notAfter int64) string {
	if notAfter == 0 {
		return ""
	}
	return program.ExpiryNotice(time.Unix(notAfter, 0), ntp.Timestamp(s.Program.Now.Timestamp).Time(version.Built()))
}

// connections says how many there are, and how many were shed.
func connections(c *observe.Connections) string {
	text := fmt.Sprintf("%d now, %d taken", c.Open, c.Accepted)
	for _, shed := range []struct {
		n    uint64
		what string
	}{
		{c.Full, "closed because all places were taken"}, {c.Prefix, "closed because one network had too many"},
		{c.Evicted, "closed while silent, for others"}, {c.Errors, "errors of the system"}, {c.Panics, "bugs met"},
	} {
		if shed.n > 0 {
			text += fmt.Sprintf(", %d %s", shed.n, shed.what)
		}
	}
	return text
}

// occurred lists the counters that are not zero in the order of their names.
func occurred(counts map[string]uint64, otherwise string) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		if n := counts[name]; n > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", clean(name), n))
		}
	}
	if len(parts) == 0 {
		return otherwise
	}
	return strings.Join(parts, ", ")
}

func timeSourceBlock(s *observe.Snapshot, p painter) string {
	if len(s.Pool.Servers) == 0 {
		return "\n" + p.paint("No time sources: every user is refused.", bad) + "\n"
	}
	rows := [][]cell{headerOf([]string{"TIME SOURCE", "STATE", "AEAD", "LAST ERROR", "EXCHANGES"}, nil)}
	for i := range s.Pool.Servers {
		rows = append(rows, timeSourceRow(&s.Pool.Servers[i]))
	}
	return "\n" + p.paint("Time sources:", bold) + "\n" + table(rows, "   ", p)
}

func timeSourceRow(r *observe.PoolServer) []cell {
	state := left("in turn").in(good)
	switch {
	case r.Breaker == observe.BreakerOpen:
		state = left("left alone for " + span(time.Duration(r.OpenFor*1e9))).in(bad)
	case r.Breaker == observe.BreakerTrial:
		state = left("on trial").in(notice)
	case r.Failures > 0:
		state = left(fmt.Sprintf("in turn, failures in a row: %d", r.Failures)).in(notice)
	}
	fault := "-"
	if r.LastError != "" {
		fault = fmt.Sprintf("%s, %s ago", clean(r.LastError), span(time.Duration(r.ErrorAge*1e9)))
	}
	return []cell{left(clean(r.Server)), state, left(abilities(r)), left(fault), left(occurred(r.Exchanges, "none yet"))}
}

// abilities are the algorithms of a time source and the dialect in which it named them.
func abilities(r *observe.PoolServer) string {
	var ids []string
	for _, id := range r.Algorithms {
		ids = append(ids, fmt.Sprint(id))
	}
	switch {
	case len(ids) == 0:
		return "not asked"
	case !r.Known:
		return strings.Join(ids, " ") + " (" + clean(r.Dialect) + ", to be asked anew)"
	}
	return strings.Join(ids, " ") + " (" + clean(r.Dialect) + ")"
}
