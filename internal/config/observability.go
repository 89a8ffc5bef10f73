package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"strings"

	"github.com/rs/zerolog"

	"ntp-daemon/internal/logging"
)

// Observability is the table [observability].
type Observability struct {
	LogLevel        zerolog.Level  // the least severe that is written, one of logging.Levels; default info
	LogLevelSet     bool           // written in the file; a level on the command line then says that it overrides
	LogFormat       logging.Format // default auto
	LogPath         string         // empty: standard output
	ExporterLogPath string         // the same for ntp-metrics-exporter
	ANSIColors      *bool          // nil: colours when the log goes to a terminal

	ObservationPath        string         // Unix socket of the snapshot; empty: none
	ObservationPermissions fs.FileMode    // of that socket, default 0666
	MetricsExporterListen  netip.AddrPort // default 127.0.0.1:9975
}

// allPermissions are the bits that observation-permissions may set.
const allPermissions = 0o777

// LoadObservability reads the table [observability] of a configuration of either program, for those who look at it. An
// empty path means DefaultPath. The error is Problems.
func LoadObservability(path string) (Observability, error) {
	cfg, _, err := LoadText(path)
	var notBuilt *NotBuilt
	switch {
	case err == nil, errors.As(err, &notBuilt): // what the daemon lacks does not hurt its observers
		return cfg.Observability, nil
	case path != "" && IsPool(err):
		p, _, err := LoadPoolText(path)
		if err != nil {
			return Observability{}, err
		}
		return p.Observability, nil
	}
	return Observability{}, err
}

func defaultObservability() Observability {
	return Observability{
		LogLevel:               zerolog.InfoLevel,
		LogFormat:              logging.Auto,
		ObservationPermissions: 0o666,
		MetricsExporterListen:  netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 9975),
	}
}

// observabilityKeys reads the keys that both programs have.
func (t *table) observabilityKeys(o *Observability) {
	levels, formats := logging.Levels(), logging.Formats()
	if i, ok := t.oneOf("log-level", levels...); ok {
		o.LogLevel, _ = logging.ParseLevel(levels[i])
		o.LogLevelSet = true
	}
	if i, ok := t.oneOf("log-format", formats...); ok {
		o.LogFormat = logging.Format(formats[i])
	}
	if t.file("log-path", "/var/log/ntp-daemon.log", &o.LogPath) {
		t.examine("log-path", examineLog(o.LogPath))
	}
	var colors bool
	if t.boolean("ansi-colors", &colors); t.has("ansi-colors") {
		o.ANSIColors = &colors
	}
	t.socket("observation-path", defaultSocket, &o.ObservationPath)
	t.permissions("observation-permissions", &o.ObservationPermissions)
	t.file("log-path-metrics-exporter", "/var/log/ntp-metrics-exporter.log", &o.ExporterLogPath)
	t.listen("metrics-exporter-listen", "127.0.0.1:9975", &o.MetricsExporterListen)
	t.l.claims(t, "metrics-exporter-listen", "tcp", o.MetricsExporterListen)
}

// observability reads [observability] (docs/rules/configuration.md#observability).
func (l *loader) observability(t *table) Observability {
	o := defaultObservability()
	if l.atDefaultPath {
		o.ObservationPath = defaultSocket
	}
	t.observabilityKeys(&o)
	if n := t.get("control-path"); n != nil {
		l.notBuilt(n.key, t.name("control-path"), "the control socket")
	}
	t.finish()
	return o
}

// permissions reads the mode of a file. Decimal is legal and almost never meant: 660 is 0o1224.
func (t *table) permissions(key string, dst *fs.FileMode) {
	v := int(*dst)
	s := span{min: 0, max: allPermissions}
	n := t.node.children[key]
	if n != nil && n.kind == kindInteger && !strings.HasPrefix(n.text, "0o") {
		if f, _ := n.float(); f < s.min || f > s.max {
			t.skip(key)
			t.fail(key, n, n.text+" is out of range", "write the mode in octal, 0o000 to 0o777")
			return
		}
		t.l.warn(n.val, t.name(key), fmt.Sprintf("decimal %s is the mode 0o%o", n.text, modeOf(n)), "write it in octal, as 0o660")
	}
	if t.integer(key, s, &v) {
		*dst = fs.FileMode(v)
	}
}

func modeOf(n *node) int { f, _ := n.float(); return int(f) }
