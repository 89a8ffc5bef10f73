package poolpage

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"ntp-daemon/internal/nts/aead"
	"ntp-daemon/internal/observe"
	"ntp-daemon/internal/pki"
	"ntp-daemon/internal/poolview"
	"ntp-daemon/internal/units"
)

// view is the page's content as text and numbers for drawing.
type view struct {
	Name     string // by which users reach the pool
	Ready    bool
	Stage    string
	Tiles    []tile
	Hints    []poolview.Hint
	Members  []member
	Hidden   int // time sources beyond maxRows
	Outcomes []outcome
	Never    string // outcomes that have not been met
	Recent   string // how long "lately" is
	Times    []timing
	Facts    []fact
	Taken    string // when the snapshot was made
}

// tile is a number that matters at a glance.
type tile struct {
	Name, Value, Note string
	Tone              poolview.Tone
}

// member is one time source.
type member struct {
	Anchor     string // of its explanation
	Server     string
	Host, Port string // the parts of Server, the second with its colon
	ID         string // empty if it is the same
	Where      string // operator and regions
	Health     poolview.Health
	Score      string
	Scores     *chart
	Share, Aim string // of users
	Bar        *bar
	Weight     string
	Dialect    string
	Algorithms []algorithm
	RTT        string
	Ends       string        // its certificate
	EndTone    poolview.Tone // of that
	Error      string
	Verdict    string
	Reasons    []fact // the verdict's, and what to try
	Histories  []history
}

// history is the past of one address family.
type history struct {
	Family  string
	Scores  *chart
	Offsets *chart
}

// algorithm is one AEAD algorithm that a time source has.
type algorithm struct {
	Number   uint16
	Name     string
	Withheld bool
}

// bar is a part of users, and the part that the choice aims at, as lengths of 100.
type bar struct {
	Label string
	Now   float64
	Aim   float64 // negative: none
}

type outcome struct {
	Name, Meaning string
	Tone          poolview.Tone
	Lately, All   string
	Part          string // of the recent ones
}

type timing struct {
	Name, Meaning string
	P50, P90, P99 string
	Bar           *bar // of the 99 % value
}

type fact struct{ Name, Value string }

// viewOf composes the page.
func viewOf(s *observe.Snapshot) view {
	p := s.Pool
	v := view{
		Name: "NTS pool", Ready: p.Ready, Stage: p.Stage, Hints: poolview.Hints(s),
		Recent: span(p.Recent.Seconds), Taken: poolview.Now(s).UTC().Format("2006-01-02 15:04:05 UTC"),
	}
	if len(p.Names) > 0 {
		v.Name = p.Names[0]
	}
	v.Tiles = tiles(s)
	v.Members, v.Hidden = members(s)
	v.Outcomes, v.Never = outcomesOf(p)
	v.Times = timings(p)
	v.Facts = facts(s)
	return v
}

func tiles(s *observe.Snapshot) []tile {
	p := s.Pool
	var all, served uint64
	for name, n := range p.Recent.Outcomes {
		all += n
		if name == "served" {
			served = n
		}
	}
	rate, part, tone := "–", "–", poolview.Neutral
	if p.Recent.Seconds > 0 {
		rate = number(float64(all)/p.Recent.Seconds) + "/s"
	}
	if all > 0 {
		part = poolview.Percent(float64(served) / float64(all))
		tone = poolview.Good
	}
	if all > 0 && slices.ContainsFunc(poolview.Hints(s), func(h poolview.Hint) bool { return h.Tone == poolview.Bad }) {
		tone = poolview.Bad
	}
	up, wanted := poolview.HandedOut(p)
	upTone := poolview.Good
	if up < wanted {
		upTone = poolview.Notice
	}
	if up == 0 {
		upTone = poolview.Bad
	}
	days, certTone := lasts(s, p.CertificateNotAfter)
	return []tile{
		{"Key exchanges", rate, count(all) + " in " + span(p.Recent.Seconds), poolview.Neutral},
		{"Served", part, count(served) + " with cookies", tone},
		{"Median time", quantile(p.SessionSeconds.P50), "99 of 100 within " + quantile(p.SessionSeconds.P99), poolview.Neutral},
		{"Time sources", fmt.Sprintf("%d of %d", up, wanted), "handed out", upTone},
		{"Connections", fmt.Sprint(p.Connections.Open), fmt.Sprintf("%d of %d places taken", p.Connections.InUse, p.Limits.Connections), poolview.Neutral},
		{"Certificate", days, "ends on " + time.Unix(p.CertificateNotAfter, 0).UTC().Format(time.DateOnly), certTone},
	}
}

// lasts is how long a certificate is still valid.
func lasts(s *observe.Snapshot, notAfter int64) (days string, tone poolview.Tone) {
	left := notAfter - poolview.Now(s).Unix()
	switch days := left / (24 * 60 * 60); {
	case left < 0:
		return "expired", poolview.Bad
	case left < int64(pki.Notice/time.Second):
		return span(float64(left)), poolview.Notice
	case days > 10*365:
		return "> 10 y", poolview.Good
	default:
		return fmt.Sprintf("%d d", days), poolview.Good
	}
}

// members are the rows, those that need a look first, else in the order of the configuration.
func members(s *observe.Snapshot) (rows []member, hidden int) {
	p := s.Pool
	order := make([]int, len(p.Servers))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Compare(urgency(&p.Servers[a]), urgency(&p.Servers[b]))
	})
	if hidden = len(order) - maxRows; hidden > 0 {
		order = order[:maxRows]
	}
	longest := 0.0
	for i := range p.Servers {
		longest = max(longest, value(p.Servers[i].Share), value(p.Servers[i].Expected))
	}
	for _, i := range order {
		rows = append(rows, memberOf(s, i, longest))
	}
	return rows, max(hidden, 0)
}

// urgency orders rows.
func urgency(m *observe.PoolServer) int {
	return slices.Index([]poolview.Tone{poolview.Bad, poolview.Notice, poolview.Good, poolview.Neutral}, poolview.HealthOf(m).Tone)
}

func memberOf(s *observe.Snapshot, i int, longest float64) member {
	m := &s.Pool.Servers[i]
	row := member{
		Anchor: fmt.Sprintf("member-%d", i+1), Server: m.Server, Health: poolview.HealthOf(m), Score: "–",
		Share: part(m.Share), Aim: part(m.Expected), Weight: fmt.Sprint(m.Weight), Dialect: orDash(m.Dialect), RTT: "–",
		Error: "–",
	}
	e := poolview.Explain(s, m)
	row.Verdict = e.Verdict
	for _, f := range e.Facts {
		row.Reasons = append(row.Reasons, headed(f))
	}
	for _, t := range e.Try {
		row.Reasons = append(row.Reasons, fact{"Try", t})
	}
	if m.ID != m.Server {
		row.ID = m.ID
	}
	at := strings.LastIndexByte(m.Server, ':')
	if at < 0 {
		at = len(m.Server)
	}
	row.Host, row.Port = m.Server[:at], m.Server[at:]
	row.Where = strings.Join(append(nonEmpty(m.Operator), m.Regions...), ", ")
	if m.RTT > 0 {
		row.RTT = units.Seconds(m.RTT)
	}
	if m.LastError != "" {
		row.Error = m.LastError + ", " + span(m.ErrorAge) + " ago"
	}
	if best, ok := poolview.Score(m); ok {
		row.Score = strings.Replace(fmt.Sprintf("%.1f", best.Score), "-", "−", 1)
		row.Scores = scores(best, 96, 24)
	}
	if longest > 0 {
		row.Bar = &bar{Label: part(m.Share) + " of users lately, aim " + part(m.Expected), Now: round(100 * value(m.Share) / longest), Aim: -1}
		if m.Expected != nil {
			row.Bar.Aim = round(100 * *m.Expected / longest)
		}
	}
	row.Algorithms = algorithms(m)
	row.Ends, row.EndTone = "–", poolview.Neutral
	if m.CertificateNotAfter != 0 {
		row.Ends, row.EndTone = lasts(s, m.CertificateNotAfter)
	}
	for _, v := range poolview.Views(m) {
		h := history{poolview.FamilyName(v.Family), scores(v, 600, 90), offsets(v, 600, 90)}
		if h.Scores != nil || h.Offsets != nil {
			row.Histories = append(row.Histories, h)
		}
	}
	return row
}

// headed parts a sentence from the word that it begins with.
func headed(sentence string) fact {
	if name, text, ok := strings.Cut(sentence, ": "); ok {
		return fact{name, text}
	}
	return fact{"", sentence}
}

func algorithms(m *observe.PoolServer) (list []algorithm) {
	for _, id := range m.Algorithms {
		a := algorithm{Number: id, Name: aead.Algorithm(id).String()}
		if m.Monitored != nil {
			a.Withheld = slices.ContainsFunc(m.Monitored.Algorithms, func(o observe.MonitorAlgorithm) bool { return o.Algorithm == id && !o.Usable })
		}
		list = append(list, a)
	}
	return list
}

// outcomesOf are the rows of outcomes that were met, and the names of the others.
func outcomesOf(p *observe.Pool) (list []outcome, never string) {
	var all uint64
	for _, n := range p.Recent.Outcomes {
		all += n
	}
	var names []string
	for _, name := range poolview.OutcomeNames() {
		total, lately := p.Outcomes[name], p.Recent.Outcomes[name]
		if total == 0 {
			names = append(names, name)
			continue
		}
		o := outcome{name, poolview.OutcomeMeaning(name), poolview.OutcomeTone(name), count(lately), count(total), "–"}
		if all > 0 {
			o.Part = poolview.Percent(float64(lately) / float64(all))
		}
		list = append(list, o)
	}
	return list, strings.Join(names, ", ")
}

// stages are those of an exchange in their order, with their meaning.
func stages() []fact {
	return []fact{
		{"proxy", "the balancer's header"}, {"tls", "handshake with the user"}, {"read", "the user's request"}, {"select", "choice of time sources"},
		{"support", "asking what one of them can do"}, {"cookies", "the one that gets the keys"}, {"write", "our answer"},
	}
}

func timings(p *observe.Pool) (list []timing) {
	longest := value(p.SessionSeconds.P99)
	one := func(name, meaning string, d *observe.Durations) {
		t := timing{name, meaning, quantile(d.P50), quantile(d.P90), quantile(d.P99), nil}
		if d.P99 != nil && longest > 0 {
			t.Bar = &bar{Label: "99 of 100 within " + quantile(d.P99), Now: round(100 * min(*d.P99/longest, 1)), Aim: -1}
		}
		list = append(list, t)
	}
	one("whole", "one exchange, from accept to the last byte", &p.SessionSeconds)
	for _, stage := range stages() {
		d := p.StageSeconds[stage.Name]
		one(stage.Name, stage.Value, &d)
	}
	return list
}

func facts(s *observe.Snapshot) []fact {
	p := s.Pool
	prefix := fmt.Sprintf("%d from one network", p.Limits.PerPrefix)
	if p.Limits.PerPrefix == 0 {
		prefix = "no limit for one network"
	}
	c := &p.Connections
	list := []fact{
		{"Names", orDash(strings.Join(p.Names, ", "))},
		{"Listens on", p.Address + originOf(p.Listener)},
		{"Stage", orDash(p.Stage)},
		{"Version", s.Program.Version + ", commit " + s.Program.BuildCommit},
		{"Running for", span(s.Program.UptimeSeconds)},
		{"Configuration", fmt.Sprintf("generation %d, in use for %s; %d reloads were refused", p.Reload.Generation, span(p.Reload.Age), p.Reload.Refused)},
		{"Choice of time sources", orDash(p.Selection)},
		{"Limits", fmt.Sprintf("%d users at one time, %s, %s for one", p.Limits.Connections, prefix, units.Seconds(p.Limits.Seconds))},
		{"Connections taken", fmt.Sprintf("%d; closed for want of a place %d, for one network having too many %d, while silent %d; errors of the system %d",
			c.Accepted, c.Full, c.Prefix, c.Evicted, c.Errors)},
		{"Names that users denied", orDash(poolview.Counts(p.Denied))},
		{"Algorithms given out", orDash(given(p.Algorithms))},
	}
	if m := p.Monitor; m != nil {
		list = append(list, fact{"Monitor", monitorFact(m)})
	} else {
		list = append(list, fact{"Monitor", "none; time sources are not probed"})
	}
	return list
}

// originOf says where the listening socket came from.
func originOf(listener string) string {
	if listener == "" {
		return ""
	}
	return ", socket from: " + listener
}

// given is what users got, by the names of algorithms.
func given(counts map[string]uint64) string {
	var parts []string
	for id := range 1 << 8 {
		if n := counts[fmt.Sprint(id)]; n > 0 {
			parts = append(parts, fmt.Sprintf("%v %d", aead.Algorithm(id), n))
		}
	}
	return strings.Join(parts, ", ")
}

func monitorFact(m *observe.PoolMonitor) string {
	text := fmt.Sprintf("%d rounds, %d of them void", m.Rounds, m.VoidRounds)
	if m.RoundAge >= 0 {
		text += ", the latest " + span(float64(m.RoundAge)) + " ago"
	}
	if m.Reference == observe.ReferenceNone {
		return text + "; no reference, so offsets are not judged"
	}
	return text + fmt.Sprintf("; offsets are from what %d %s agree on, by which this host's clock is %s", m.ReferenceVoices, m.Reference, signedWords(m.ClockOffset))
}

// signedWords says which way a clock is off.
func signedWords(offset float64) string {
	switch {
	case offset > 0:
		return units.Seconds(offset) + " fast"
	case offset < 0:
		return units.Seconds(-offset) + " slow"
	}
	return "right"
}

func quantile(v *float64) string {
	if v == nil {
		return "–"
	}
	return units.Seconds(*v)
}

func part(v *float64) string {
	if v == nil {
		return "–"
	}
	return poolview.Percent(*v)
}

func value(v *float64) float64 {
	if v == nil {
		return 0
	}
	return *v
}

// count shows a number in full up to six digits, and beyond with three and the size: 13.2 M.
func count(n uint64) string {
	if n < 1e6 {
		return fmt.Sprint(n)
	}
	v := float64(n)
	for _, size := range []string{"k", "M", "G", "T", "P", "E"} {
		if v /= 1000; v < 999.5 {
			return fmt.Sprintf("%.3g %s", v, size)
		}
	}
	return fmt.Sprint(n)
}

// number shows a rate with three digits.
func number(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

func span(seconds float64) string { return units.Span(time.Duration(seconds * 1e9)) }

func orDash(s string) string {
	if s == "" {
		return "–"
	}
	return s
}

func nonEmpty(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}
