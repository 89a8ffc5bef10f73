package program

import (
	"errors"
	"fmt"
	"io"

	"ntp-daemon/internal/config"
)

// Verdict is what a check of a configuration came to.
type Verdict struct {
	Code  int // exit code of `ntp-ctl validate`: 0, 1 for warnings, or 78 (config.Check.Validate)
	Stops int // findings that keep the program, or a part of it that the operator asked for, from running
}

// Tell prints everything that is to be said about a configuration, one line each, and returns what it comes to. err is the
// error of loading it; isPool says that it is one of nts-pool-ke.
func Tell(w io.Writer, warnings []config.Warning, err error, isPool bool) (v Verdict) {
	for _, f := range warnings {
		row := f.Check.Check()
		effect := row.Daemon
		if isPool {
			effect = row.Pool
		}
		switch {
		case f.Info:
			fmt.Fprintf(w, "note: %v\n", f)
			continue
		case effect == config.Down:
			fmt.Fprintf(w, "%s: %v (runs: %s)\n", row.Name, f, row.Then)
		case effect == config.Ends:
			fmt.Fprintf(w, "%s: %v (the program ends with %d)\n", row.Name, f, row.Exit)
		default:
			fmt.Fprintf(w, "warning: %v\n", f)
		}
		v.Code = max(v.Code, row.Validate)
		if effect == config.Ends || row.Validate == ExitConfig {
			v.Stops++
		}
	}
	if err == nil {
		return v
	}
	fmt.Fprintf(w, "%v\n", err)
	var notBuilt *config.NotBuilt
	if errors.As(err, &notBuilt) {
		fmt.Fprintln(w, "The configuration is valid, but the daemon stops with it: it asks for what is not built yet.")
	}
	v.Code = ExitConfig
	v.Stops++
	if ps, ok := errors.AsType[config.Problems](err); ok {
		v.Stops += len(ps) - 1
	}
	return v
}
