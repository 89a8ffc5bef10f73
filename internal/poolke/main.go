package poolke

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"ntp-daemon/internal/config"
	"ntp-daemon/internal/handover"
	"ntp-daemon/internal/logging"
	"ntp-daemon/internal/logtarget"
	"ntp-daemon/internal/program"
)

// Options are the command line.
type Options struct {
	ConfigPath string // required
	LogLevel   string // empty: the configuration's
	Check      bool   // say what is wrong with the configuration and this machine, and start nothing
	Drop       bool   // give up all capabilities when the address is open; not in a test, whose own they are
}

// ExitCode is our part of program.ExitCode: whatever ends a pool that was told rightly what to do is 70, as with the first
// program of this name (docs/rules/compatibility.md).
func ExitCode(error) int { return program.ExitSoftware }

// needRestart names what differs from the start and is not taken over by a reload.
func needRestart(was, next *config.Pool) (list []string) {
	if was.Listen != next.Listen {
		list = append(list, "listen")
	}
	if was.PerClient != next.PerClient {
		list = append(list, "connections-per-client")
	}
	if was.Limits.MaxConnections != next.Limits.MaxConnections {
		list = append(list, "max-connections")
	}
	if !was.Upstream.ConnectAtStart && next.Upstream.ConnectAtStart {
		list = append(list, "connect-at-start")
	}
	if was.Operation.DrainTimeout != next.Operation.DrainTimeout {
		list = append(list, "drain-timeout-ms")
	}
	if was.Operation.HandoverPath != next.Operation.HandoverPath {
		list = append(list, "handover-path")
	}
	if was.Admin != next.Admin {
		list = append(list, "admin-listen")
	}
	if !sameMonitor(&was.Monitor, &next.Monitor) {
		list = append(list, "[monitor], [[source]]")
	}
	if was.Process != next.Process {
		list = append(list, "[process]")
	}
	if !reflect.DeepEqual(was.Observability, next.Observability) {
		list = append(list, "[observability]")
	}
	return list
}

// sameMonitor compares what is written of the monitor and its references, but for the files of trusted roots: those are read again while it runs.
func sameMonitor(was, next *config.Monitor) bool {
	return was.Enabled == next.Enabled && was.StatePath == next.StatePath && slices.EqualFunc(was.Sources, next.Sources, func(a, b config.Source) bool {
		return a.Mode == b.Mode && a.Host == b.Host && a.Port == b.Port && a.Count == b.Count && a.Version == b.Version && a.SRV == b.SRV &&
			a.PollMin == b.PollMin && a.PollMax == b.PollMax && a.PollInitial == b.PollInitial && slices.Equal(a.Ignore, b.Ignore) &&
			slices.Equal(a.SRVResolvers, b.SRVResolvers) && slices.Equal(a.Algorithms, b.Algorithms)
	})
}

// Main loads the configuration, sets up the log and serves until ctx ends; hup asks for a reload. out
// is where the log goes unless the configuration names a file; nil is the standard output.
func Main(ctx context.Context, o Options, hup <-chan os.Signal, out io.Writer) error {
	level, haveLevel, err := program.ParseLevel(o.LogLevel)
	if err != nil {
		return err
	}
	if o.ConfigPath == "" {
		return &program.ConfigError{Err: errors.New("no configuration path specified; name one with -c FILE")}
	}
	if o.Check {
		return check(o.ConfigPath, os.Stderr)
	}
	began := time.Now()
	cfg, warnings, err := config.LoadPool(o.ConfigPath)
	if err != nil {
		return err
	}
	if !haveLevel {
		level = cfg.Observability.LogLevel
	}
	log, file, err := program.OpenLog(cfg.Observability, level, out)
	if err != nil {
		return &program.ConfigError{Err: fmt.Errorf("log-path: %w; make the folder, or let this user write the file", err)}
	}
	if file != nil {
		defer file.Close()
	}
	found := cfg.Examine(program.Machine(time.Now()))
	warnings = append(warnings, atStart(found)...)
	to := logging.Target(log, logtarget.PoolKE)
	program.Greet(to, haveLevel && cfg.Observability.LogLevelSet, warnings)
	if err := unusable(found); err != nil {
		return err
	}
	conf, err := FromConfig(cfg, time.Now())
	if err != nil {
		return err
	}
	conf.read = began
	l := &loader{path: o.ConfigPath, start: cfg, file: file, log: to, leaf: conf.Certificate.Leaf}
	deps := Deps{Log: log, Reload: hup, Load: l.load, Again: l.again, Manager: handover.TheManager()}
	deps.Sockets, deps.Running, err = inherit(ctx, conf.HandoverPath)
	if err != nil {
		return err
	}
	if deps.Running != nil {
		defer deps.Running.Close() // before Serving: it goes on
	}
	if o.Drop {
		deps.Listening = dropper(o.ConfigPath, cfg, to)
	}
	p, err := New(conf, deps)
	if err != nil {
		return &program.ConfigError{Err: fmt.Errorf("%s: %w", o.ConfigPath, err)}
	}
	return serve(ctx, p)
}

// serve runs the pool beside the ballast that spares it collections.
func serve(ctx context.Context, p *Pool) error {
	ballast := program.Ballast(true)
	defer runtime.KeepAlive(ballast)
	if err := p.Run(ctx); err != nil {
		//lint:ignore ST1005 the wording of the reference pool, which its users' scripts know
		return fmt.Errorf("Abnormal termination of NTS KE server: %w", err)
	}
	return nil
}

// atStart is what the pool says at its start of what was found: what programs say, but not that a file was not checked which
// it cannot do without, and what it would say when the first user fails by it, roots that cannot be read.
func atStart(found []config.Warning) (list []config.Warning) {
	for _, w := range program.AtStart(found) {
		if !w.Info || w.Check != config.CheckCertificate {
			list = append(list, w)
		}
	}
	for _, w := range found {
		if w.Check == config.CheckAuthority {
			list = append(list, w)
		}
	}
	return list
}

// unusable is the error of everything that was found and keeps the pool from starting, all of it at once. What shows only when
// it listens is left to that.
func unusable(found []config.Warning) error {
	var ps config.Problems
	for _, w := range found {
		if w.Check == config.CheckCertificate && w.Info { // validate may run as another user, this is the one that counts
			w.What, _, _ = strings.Cut(w.What, ",")
			w.Remedy = "make it readable for that user, or its group"
		}
		if row := w.Check.Check(); row.Pool == config.Ends && row.Exit == program.ExitConfig {
			ps = append(ps, w.Problem)
		}
	}
	if len(ps) == 0 {
		return nil
	}
	return ps
}

// check says what is wrong with a configuration, its files and this machine, as `ntp-ctl validate` does. The error counts the
// faults that the pool cannot run with.
func check(path string, w io.Writer) error {
	warnings, err := config.CheckPool(path, program.Machine(time.Now()))
	if v := program.Tell(w, warnings, err, true); v.Stops > 0 {
		return &program.ConfigError{Err: fmt.Errorf("%s: cannot run with this, faults: %d", path, v.Stops)}
	}
	fmt.Fprintln(w, "Config looks good")
	return nil
}

// loader reads the configuration for reloads.
type loader struct {
	path  string
	start *config.Pool // what the pool started with
	file  *logging.File
	log   zerolog.Logger

	leaf *x509.Certificate // of the last certificate that could be used
}

// load reads all of it, says what is not in use before a restart, and opens the log file anew.
func (l *loader) load() (Config, error) {
	program.Reopen(l.file, l.log) // whatever becomes of the rest
	began := time.Now()
	next, warnings, err := config.LoadPool(l.path)
	if err != nil {
		return Config{}, err
	}
	conf, err := l.convert(next, warnings, began)
	if list := needRestart(l.start, next); err == nil && len(list) > 0 {
		l.log.Warn().Msg("changed, but not in use before a restart: " + strings.Join(list, "; "))
	}
	return conf, err
}

// again reads the files that a configuration names.
func (l *loader) again(used *config.Pool) (Config, error) {
	began := time.Now()
	next, warnings, err := used.Again()
	if err != nil {
		return Config{}, err
	}
	conf, err := l.convert(next, warnings, began)
	conf.again = true
	return conf, err
}

// convert makes the pool's own form of a configuration. A certificate that has expired is refused, but not for that the one
// that is in use: the list must still be replaceable on the day when nobody has renewed it.
func (l *loader) convert(c *config.Pool, warnings []config.Warning, began time.Time) (Config, error) {
	now := time.Now()
	if l.leaf != nil && now.After(l.leaf.NotAfter) {
		now = l.leaf.NotAfter
	}
	conf, err := FromConfig(c, now)
	if err != nil {
		return Config{}, err
	}
	conf.read, l.leaf = began, conf.Certificate.Leaf
	program.Greet(l.log, false, warnings)
	return conf, nil
}

// present are the files that a reload reads, without a database of countries that has not come yet: the pool serves without
// it, and need not stay root for it.
func present(cfg *config.Pool) []string {
	return slices.DeleteFunc(cfg.Files(), func(file string) bool {
		_, err := os.Stat(file)
		return file == cfg.GeoPath && errors.Is(err, fs.ErrNotExist)
	})
}

// folder is where the file is; empty if there is none.
func folder(path string) string {
	if path == "" {
		return ""
	}
	return filepath.Dir(path)
}

// dropper gives up, once the pool listens, what root can do: nothing is opened later that needs a capability.
func dropper(path string, cfg *config.Pool, log zerolog.Logger) func(error) error {
	return func(missing error) error {
		drop := program.Privileges{
			Process: cfg.Process, LogPath: cfg.Observability.LogPath, Missing: missing,
			Reads: append([]string{path}, present(cfg)...), Writes: []string{folder(cfg.Monitor.StatePath)},
		}
		_, err := drop.Drop(log)
		return err
	}
}
