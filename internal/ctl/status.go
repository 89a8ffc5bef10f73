package ctl

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"ntp-daemon/internal/metrics"
	"ntp-daemon/internal/observe"
	"ntp-daemon/internal/program"
)

// The formats of status.
const (
	formatPlain      = "plain"
	formatPrometheus = "prometheus"
	formatJSON       = "json"
)

// status prints one snapshot.
func status(ctx context.Context, e *Env, path, format string) error {
	s, err := read(ctx, path)
	if err != nil {
		return err
	}
	return writeStatus(e, s, format)
}

func writeStatus(e *Env, s *observe.Snapshot, format string) error {
	var text []byte
	switch format {
	case formatPlain:
		text = []byte(plainStatus(s, painter(e.Colour)))
		if s.Pool != nil {
			text = []byte(poolStatus(s, painter(e.Colour)))
		}
	case formatPrometheus:
		text = metrics.Append(nil, s)
	default:
		var err error
		if text, err = indented(s); err != nil {
			return fail(program.ExitSoftware, "encode status: %w", err)
		}
	}
	return write(e.Out, text)
}

// indented is the JSON of v for people and line tools.
func indented(v any) ([]byte, error) {
	b, err := json.MarshalIndent(v, "", "  ")
	return append(b, '\n'), err
}

// write reports a full disk or a closed pipe, so that a script does not take half an answer for a whole one.
func write(w io.Writer, text []byte) error {
	if _, err := w.Write(text); err != nil {
		return &exitError{program.ExitUnavailable, fmt.Errorf("write output: %w", err)}
	}
	return nil
}
