package logging

import (
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/term"
)

// Format is the shape of the log lines.
type Format string

// The formats.
const (
	Auto    Format = "auto"    // console on a terminal, journal under systemd, else JSON
	Console Format = "console" // 2006-01-02T15:04:05.000000Z  INFO target: message key=value
	JSON    Format = "json"    // one object per line
	Journal Format = "journal" // <6>target: message key=value; the journal adds the time
)

// TargetField is the field that says which part of the program speaks.
const TargetField = "target"

// timeLayout is RFC 3339 with microseconds; in UTC it ends in Z.
const timeLayout = "2006-01-02T15:04:05.000000Z07:00"

// Options of New. The zero value writes everything from debug upwards to the standard output, in the
// automatic format.
type Options struct {
	Level  zerolog.Level    // the lowest level written; see ParseLevel. zerolog's zero value is debug
	Format Format           // "" = Auto
	Out    io.Writer        // nil = standard output
	Color  bool             // colour the level; only in the console format
	Now    func() time.Time // stamps the lines; nil = time.Now
}

// New builds a logger. The first call also sets zerolog's package-wide settings (the layout of times and the
// unit of durations); nothing else in the program does. When the reader of the log goes
// away, lines are lost and the process goes on: see lineWriter.
func New(o Options) zerolog.Logger {
	globals.Do(func() {
		zerolog.TimeFieldFormat = timeLayout
		zerolog.DurationFieldUnit = time.Second
	})
	if o.Out == nil {
		o.Out = os.Stdout
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Format == "" || o.Format == Auto {
		o.Format = detect(o.Out, os.Getenv("JOURNAL_STREAM"))
	}
	var w io.Writer = newLineWriter(o.Out)
	switch o.Format {
	case Console:
		w = &textWriter{out: w, prefix: consolePrefix(o.Color)}
	case Journal:
		w = &textWriter{out: w, prefix: journalPrefix}
	}
	now := o.Now
	stamp := zerolog.HookFunc(func(e *zerolog.Event, _ zerolog.Level, _ string) {
		e.Time(zerolog.TimestampFieldName, now().UTC())
	})
	return zerolog.New(w).Level(o.Level).Hook(stamp)
}

// globals guards zerolog's package variables.
var globals sync.Once

// detect chooses the format for a destination: people read terminals, the journal takes priorities, programs
// read the rest.
func detect(out io.Writer, journalStream string) Format {
	if l, ok := out.(*File); ok {
		out = l.file()
	}
	f, ok := out.(*os.File)
	switch {
	case !ok:
		return JSON
	case term.IsTerminal(int(f.Fd())):
		return Console
	case isJournal(f, journalStream):
		return Journal
	}
	return JSON
}

// Target returns a logger whose lines carry the name of a part of the program, one of internal/logtarget. Give it
// once, to the logger that a part starts from.
func Target(log zerolog.Logger, name string) zerolog.Logger {
	return log.With().Str(TargetField, name).Logger()
}

// Levels are the words that ParseLevel reads, most verbose first.
func Levels() []string { return []string{"trace", "debug", "info", "warn", "error"} }

// Formats are the words of the formats; Format(word) is the format.
func Formats() []string {
	return []string{string(Auto), string(Console), string(JSON), string(Journal)}
}

// ParseLevel reads one of Levels.
func ParseLevel(s string) (zerolog.Level, error) {
	if slices.Contains(Levels(), s) {
		return zerolog.ParseLevel(s)
	}
	return zerolog.NoLevel, fmt.Errorf("log level %q: want trace, debug, info, warn or error", s)
}
