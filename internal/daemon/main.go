package daemon

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/rs/zerolog"

	"ntp-daemon/internal/assoc"
	"ntp-daemon/internal/config"
	"ntp-daemon/internal/logging"
	"ntp-daemon/internal/logtarget"
	"ntp-daemon/internal/privdrop"
	"ntp-daemon/internal/program"
	"ntp-daemon/internal/system"
)

// Options are the command line.
type Options struct {
	ConfigPath     string // empty: the default path
	LogLevel       string // empty: the configuration's
	NoClockControl bool
}

// Main loads the configuration, sets up the log and runs the daemon until ctx ends. For its error see
// program.ExitCode.
func Main(ctx context.Context, o Options, hup <-chan os.Signal) error {
	level, haveLevel, err := program.ParseLevel(o.LogLevel)
	if err != nil {
		return err
	}
	cfg, warnings, err := config.Load(o.ConfigPath)
	if err != nil {
		return err
	}
	if o.NoClockControl {
		cfg.Synchronization.ClockControl = false
	}
	if !haveLevel {
		level = cfg.Observability.LogLevel
	}
	log, file, logPart := openLog(cfg.Observability, level)
	if file != nil {
		defer file.Close()
	}
	warnings = append(warnings, program.AtStart(cfg.Examine(program.Machine(time.Now())))...)
	program.Greet(logging.Target(log, logtarget.Config), haveLevel && cfg.Observability.LogLevelSet, warnings)
	d, err := New(cfg, RealDeps(log))
	if err != nil {
		return err
	}
	d.levelFixed, d.observeOnly, d.logFile, d.logPart = haveLevel, o.NoClockControl, file, logPart
	if err := d.dropPrivileges(); err != nil {
		d.close()
		return err
	}
	d.economize()
	ballast := program.Ballast(len(d.ke) > 0)
	defer runtime.KeepAlive(ballast)
	return d.Run(ctx, hup)
}

// economize gives a daemon that serves nobody one processor of the Go scheduler's: it handles one packet at a time, and with more each
// packet would wake threads that find nothing to do. Whoever has set GOMAXPROCS knows better.
func (d *Daemon) economize() {
	if len(d.servers) == 0 && len(d.ke) == 0 && os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(1)
	}
}

// dropPrivileges changes to the daemon's user and gives up what it does not need. The cookie keys are written anew then, so
// that their file is that user's.
func (d *Daemon) dropPrivileges() error {
	p := program.Privileges{
		Process: d.cfg.Process, Keep: kept(d.steers && d.cfg.Synchronization.Clock == config.ClockSystem),
		Reads: reloadedFiles(d.cfg), Writes: []string{d.state.dir}, LogPath: d.cfg.Observability.LogPath,
	}
	if d.keys != nil && d.keys.path != "" {
		p.Writes = append(p.Writes, filepath.Dir(d.keys.path))
	}
	for _, part := range d.parts() {
		if down := part.Down(); down != nil {
			p.Missing = errors.New("open what is down now, " + part.Name + ": " + down.Reason)
			break
		}
	}
	changed, err := p.Drop(*target(d.log, logtarget.System))
	if changed && d.keys != nil {
		d.keys.save()
	}
	return err
}

// openLog opens the log. The level is zerolog's global one, so that a reload can change it both ways.
func openLog(o config.Observability, level zerolog.Level) (zerolog.Logger, *logging.File, *program.Part) {
	log, file, part := program.OpenLogOrStdout(o, zerolog.TraceLevel, logtarget.Config)
	zerolog.SetGlobalLevel(level)
	return log, file, part
}

// message wraps an event of our own for the inbox.
func message(ev system.Event) assoc.Message { return assoc.Message{Event: ev} }

// target returns a logger whose lines name the part of the program that speaks.
func target(log zerolog.Logger, name string) *zerolog.Logger {
	l := logging.Target(log, name)
	return &l
}

// kept are the capabilities that a daemon needs after its start: a listener that was down is opened again, and the system's
// clock is set by who steers it.
func kept(steers bool) []privdrop.Capability {
	if steers {
		return []privdrop.Capability{privdrop.NetBindService, privdrop.SysTime}
	}
	return []privdrop.Capability{privdrop.NetBindService}
}

// reloadedFiles are those that a reload reads again.
func reloadedFiles(cfg *config.Config) []string {
	list := []string{cfg.Path}
	for i := range cfg.KEServers {
		c := &cfg.KEServers[i]
		list = append(append(list, c.CertificateChainPath, c.PrivateKeyPath), c.PoolCertificatePaths...)
	}
	for i := range cfg.Sources {
		list = append(list, cfg.Sources[i].Roots.File())
	}
	return list
}
