package logging

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/rs/zerolog"
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

// Options of New. The zero value logs from info upwards, in the automatic format, to the standard output.
type Options struct {
	Level  zerolog.Level // lowest level written; the zero value of zerolog is debug, see ParseLevel
	Format Format        // "" = Auto
	Out    io.Writer     // nil = standard output
	Color  bool          // colour the level; only where the format is the console's
}

// New builds the logger. It sets zerolog's package-wide settings, so call it once, before any goroutine logs.
func New(o Options) zerolog.Logger {
	globals.Do(setGlobals)
	out := o.Out
	if out == nil {
		out = os.Stdout
	}
	return zerolog.New(out).Level(o.Level).With().Timestamp().Logger()
}

var globals sync.Once

func setGlobals() {
	zerolog.TimeFieldFormat = "2006-01-02T15:04:05.000000Z"
	zerolog.TimestampFunc = func() time.Time { return time.Now().UTC() }
	zerolog.DurationFieldUnit = time.Second
}

// Target returns a logger whose lines carry the name of a part of the program, such as "nts_pool_ke".
func Target(log zerolog.Logger, name string) zerolog.Logger {
	return log.With().Str(TargetField, name).Logger()
}

// ParseLevel reads trace, debug, info, warn or error.
func ParseLevel(s string) (zerolog.Level, error) {
	switch s {
	case "trace", "debug", "info", "warn", "error":
		return zerolog.ParseLevel(s)
	}
	return zerolog.NoLevel, fmt.Errorf("log level %q: want trace, debug, info, warn or error", s)
}
