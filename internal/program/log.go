package program

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/rs/zerolog"
	"golang.org/x/term"

	"ntp-daemon/internal/config"
	"ntp-daemon/internal/logging"
)

// ParseLevel reads the level of the command line, which overrides the configuration's; given is false for "". The
// error is a *UsageError.
func ParseLevel(word string) (level zerolog.Level, given bool, err error) {
	if word == "" {
		return zerolog.InfoLevel, false, nil
	}
	level, err = logging.ParseLevel(word)
	if err != nil {
		return level, false, &UsageError{err.Error()}
	}
	return level, true, nil
}

// OpenLog opens the log-path, or out without one; nil is the standard output. A file is appended to, never truncated,
// and nil without log-path.
func OpenLog(o config.Observability, level zerolog.Level, out io.Writer) (zerolog.Logger, *logging.File, error) {
	var file *logging.File
	if o.LogPath != "" {
		f, err := logging.OpenFile(o.LogPath)
		if err != nil {
			return zerolog.Logger{}, nil, err
		}
		out, file = f, f
	}
	opts := logging.Options{Level: level, Format: o.LogFormat, Out: out}
	opts.Color = out == nil && term.IsTerminal(int(os.Stdout.Fd()))
	if o.ANSIColors != nil {
		opts.Color = *o.ANSIColors
	}
	return logging.New(opts), file, nil
}

// OpenLogOrStdout is OpenLog for a program that runs without its log file: one that cannot be opened is no error, its
// lines go to the standard output, and part, else nil, opens it when that is possible.
func OpenLogOrStdout(o config.Observability, level zerolog.Level, target string) (log zerolog.Logger, file *logging.File, part *Part) {
	log, file, err := OpenLog(o, level, nil)
	if err == nil {
		return log, file, nil
	}
	file = logging.LaterFile(o.LogPath, os.Stdout)
	log = logging.New(logging.Options{Level: level, Format: o.LogFormat, Out: file})
	part = NewPart("the log file "+o.LogPath, logging.Target(log, target), func() error {
		if err := file.Reopen(); err != nil {
			return fmt.Errorf("%w; lines go to the standard output; check log-path and that this user may write it", err)
		}
		return nil
	}, func(ctx context.Context) error { <-ctx.Done(); return nil })
	_ = part.Try()
	return log, file, part
}

// Reopen opens the log file under its name again, for whoever rotates logs by renaming. If that fails, the old one stays
// in use and hears of it. nil is no file.
func Reopen(file *logging.File, log zerolog.Logger) {
	if file == nil {
		return
	}
	if err := file.Reopen(); err != nil {
		log.Error().Err(err).Msg("log file was not opened anew, the old one stays in use")
	}
}

// Greet writes the first lines: that the command line overrides the configured level, and what the configuration's
// author should know.
func Greet(log zerolog.Logger, override bool, warnings []config.Warning) {
	if override {
		log.Info().Msg("Log level override from command line arguments is active")
	}
	for _, w := range warnings {
		switch row := w.Check.Check(); {
		case w.Info:
			log.Info().Msg(w.String())
		case row.Daemon == config.Down:
			log.Error().Str("check", row.Name).Msg(w.String())
		default:
			log.Warn().Msg(w.String())
		}
	}
}
