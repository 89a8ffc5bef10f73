package exporter

import (
	stdlog "log"
	"strings"

	"github.com/rs/zerolog"
)

// quiet is the log of the HTTP library, which speaks of single bad connections: debug.
func quiet(log zerolog.Logger) *stdlog.Logger { return stdlog.New(lines{log}, "", 0) }

type lines struct{ log zerolog.Logger }

// Write takes one line.
func (l lines) Write(b []byte) (int, error) {
	l.log.Debug().Msg(strings.TrimSpace(string(b)))
	return len(b), nil
}
