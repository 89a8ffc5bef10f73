package ctl

import (
	"cmp"
	"context"
	"errors"
	"io/fs"

	"ntp-daemon/internal/config"
	"ntp-daemon/internal/observe"
	"ntp-daemon/internal/program"
)

// socketPath finds the daemon's observation socket: the one named on the command line, else the configuration's.
// Without a named configuration, one that this user may not read stands for its defaults.
func socketPath(socket, configPath string) (string, error) {
	if socket != "" {
		return socket, nil
	}
	o, err := config.LoadObservability(configPath)
	switch {
	case err == nil:
	case configPath == "" && unreadable(err):
		return config.DefaultObservationPath, nil
	default:
		return "", &exitError{program.ExitConfig, err}
	}
	if o.ObservationPath == "" {
		return "", fail(program.ExitConfig, "%s: observability.observation-path: is not set, so the program cannot be observed; "+
			"add it and restart the program, or name a socket with --socket", cmp.Or(configPath, config.DefaultPath))
	}
	return o.ObservationPath, nil
}

// unreadable reports whether the whole file could not be opened for lack of permission.
func unreadable(err error) bool {
	var ps config.Problems
	return errors.As(err, &ps) && len(ps) == 1 && ps[0].Line == 0 && ps[0].What == fs.ErrPermission.Error()
}

// read gets one snapshot; the error names the path and what to do.
func read(ctx context.Context, path string) (*observe.Snapshot, error) {
	s, err := observe.Read(ctx, path)
	switch {
	case err == nil:
		return s, nil
	case errors.Is(err, fs.ErrPermission):
		return nil, fail(program.ExitPermission, "%w; this user may not read it, see observation-permissions", err)
	default:
		return nil, fail(program.ExitUnavailable, "%w; is its program running, with this observation-path?", err)
	}
}
