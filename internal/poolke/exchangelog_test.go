package poolke

import (
	"bytes"
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"ntp-daemon/internal/config"
	"ntp-daemon/internal/pool"
)

func loggedBackend() *pool.Backend { return &pool.Backend{Domain: "a.example", Port: 4460} }

// exchangeOf writes all that one user's exchange may write.
func exchangeOf(l exchangeLog, b *pool.Backend, out Outcome, cause error) {
	l.step("received records from the client")
	l.asking(b)
	l.unusable(b, errNoServer)
	if out == NoServer {
		l.warn("pool could not find a valid KE server", nil)
		l.info("could not find a valid KE server", cause)
	}
	l.end(netip.MustParseAddr("192.0.2.77"), b, out, 1234567*time.Nanosecond, cause)
}

// TestLogExchanges: each style writes what it is for, and never the user's address.
func TestLogExchanges(t *testing.T) {
	for _, c := range []struct {
		style config.LogExchanges
		level zerolog.Level
		out   Outcome
		cause error
		want  string // the messages
	}{
		{config.LogAll, zerolog.InfoLevel, Served, nil, "received records from the client|checking supported algorithms for 'a.example:4460'"},
		{config.LogAll, zerolog.InfoLevel, NoServer, errNoServer, "received records from the client|checking supported algorithms for 'a.example:4460'|" +
			"pool could not find a valid KE server|could not find a valid KE server"},
		{config.LogAll, zerolog.DebugLevel, Served, nil, "received records from the client|checking supported algorithms for 'a.example:4460'|" +
			"time source is not usable|NTS Pool KE completed"},
		{config.LogFailures, zerolog.InfoLevel, Served, nil, ""},
		{config.LogFailures, zerolog.InfoLevel, NoServer, errNoServer, "NTS Pool KE failed"},
		{config.LogFailures, zerolog.InfoLevel, NoAlgorithm, nil, "NTS Pool KE completed"},
		{config.LogFailures, zerolog.ErrorLevel, NoServer, errNoServer, ""},
		{config.LogSummary, zerolog.InfoLevel, NoServer, errNoServer, ""},
		{config.LogSummary, zerolog.DebugLevel, NoServer, errNoServer, "time source is not usable|NTS Pool KE failed"},
	} {
		var out bytes.Buffer
		p := &Pool{log: zerolog.New(&out).Level(c.level)}
		exchangeOf(p.exchangeLog(&snapshot{cfg: Config{LogExchanges: c.style}}), loggedBackend(), c.out, c.cause)
		if got := messages(out.String()); got != c.want {
			t.Errorf("%v at %v, %v:\n%s, want\n%s", c.style, c.level, c.out, got, c.want)
		}
		if strings.Contains(out.String(), "192.0.2.77") {
			t.Errorf("%v at %v shows the user: %s", c.style, c.level, out.String())
		}
	}
}

// messages are those of a log in JSON, in order.
func messages(log string) string {
	var list []string
	for line := range strings.Lines(log) {
		if _, rest, ok := strings.Cut(line, `"message":"`); ok {
			msg, _, _ := strings.Cut(rest, `"}`)
			list = append(list, msg)
		}
	}
	return strings.Join(list, "|")
}

// TestLogFailuresAreLimited: of each outcome at most failuresPerMinute lines, and afterwards how many more there were.
func TestLogFailuresAreLimited(t *testing.T) {
	var out bytes.Buffer
	p := &Pool{log: zerolog.New(&out).Level(zerolog.InfoLevel)}
	p.snap.Store(&snapshot{cfg: Config{LogExchanges: config.LogFailures}})
	l := p.exchangeLog(p.snap.Load())
	for range failuresPerMinute + 7 {
		exchangeOf(l, loggedBackend(), TLSFailed, errors.New("refused"))
	}
	exchangeOf(l, loggedBackend(), NoServer, errNoServer)
	if n := strings.Count(out.String(), "\n"); n != failuresPerMinute+1 {
		t.Errorf("%d lines, want %d", n, failuresPerMinute+1)
	}
	out.Reset()
	var last mark
	p.minute(&last, time.Now())
	if got := out.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, `"outcome":"tls_failed","exchanges":7`) {
		t.Errorf("after the minute:\n%s", got)
	}
	out.Reset()
	exchangeOf(l, loggedBackend(), TLSFailed, errors.New("refused"))
	if p.minute(&last, time.Now()); strings.Count(out.String(), "\n") != 1 {
		t.Errorf("the next minute does not begin anew:\n%s", out.String())
	}
}

// TestLogSummary: one line a minute with what ended in it, none for a minute without users.
func TestLogSummary(t *testing.T) {
	var out bytes.Buffer
	p := &Pool{log: zerolog.New(&out)}
	p.snap.Store(&snapshot{cfg: Config{LogExchanges: config.LogSummary}})
	var last mark
	end := func(o Outcome, took time.Duration) { p.tally[o].Add(1); p.sessions.observe(took) }
	for range 99 {
		end(Served, 1500*time.Microsecond)
	}
	end(NoAlgorithm, 70*time.Millisecond)
	p.minute(&last, time.Now())
	want := `"served":99,"no_algorithm":1,"p50_ms":1.43,"p99_ms":1.6,"message":"exchanges of the last minute"}`
	if got := out.String(); !strings.Contains(got, want) || strings.Count(got, "\n") != 1 {
		t.Errorf("%s, want %s", got, want)
	}
	out.Reset()
	if p.minute(&last, time.Now()); out.Len() > 0 {
		t.Errorf("a minute without users: %s", out.String())
	}
	end(Served, time.Hour)
	if p.minute(&last, time.Now()); !strings.Contains(out.String(), `"served":1,"p50_ms":10000,"p99_ms":10000`) {
		t.Errorf("beyond the last edge: %s", out.String())
	}
}

// TestLogExchangesCostsNothing: what is not written is neither put together nor allocated.
func TestLogExchangesCostsNothing(t *testing.T) {
	p := &Pool{log: zerolog.New(io.Discard).Level(zerolog.InfoLevel)}
	b := loggedBackend()
	for _, style := range []config.LogExchanges{config.LogFailures, config.LogSummary} {
		l := p.exchangeLog(&snapshot{cfg: Config{LogExchanges: style}})
		if n := testing.AllocsPerRun(100, func() { exchangeOf(l, b, Served, nil); p.sessions.observe(time.Millisecond) }); n > 0 {
			t.Errorf("%v: %v allocations", style, n)
		}
	}
}
