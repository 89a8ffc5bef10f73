package config

import (
	"crypto/x509"
	"io/fs"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/rs/zerolog"

	"ntp-daemon/internal/algorithm"
	"ntp-daemon/internal/logging"
	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/nts/aead"
	"ntp-daemon/internal/secret"
	"ntp-daemon/internal/server"
	"ntp-daemon/internal/source"
	"ntp-daemon/internal/system"
)

// DefaultPath is the file that ntp-daemon and ntp-ctl read when none is named. The default state directory and
// observation socket apply with this path only, so that several daemons run on one host (design.md section 0).
const DefaultPath = "/etc/ntp-daemon/ntp.toml"

// Config is the whole of a configuration of ntp-daemon. All values are inside their ranges and all defaults
// are filled in.
type Config struct {
	Path            string // the file, as it was named; empty after an absent DefaultPath
	Observability   Observability
	Sources         []Source
	Servers         []Server
	Keyset          Keyset
	KEServers       []KEServer
	Synchronization Synchronization
	State           State
}

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

// Source is one [[source]] table with the [source-defaults] filled in.
type Source struct {
	Mode   source.Mode
	Host   string       // host name or address, without port
	Port   uint16       // default 123, or 4460 with NTS
	Count  int          // sources wanted: 1, or the key count of a pool (default 4)
	Ignore []netip.Addr // addresses of a pool that are never used

	CertificateAuthority string         // PEM file of additional roots; empty: none
	Roots                *x509.CertPool // system roots and that file; nil: system roots

	// Algorithms is what the key exchange offers, most wanted first (aead-algorithms); nil: the default ones.
	Algorithms []aead.Algorithm

	Version     uint8 // of the packets sent: 4, or 3 without NTS
	PollMin     ntp.PollExp
	PollMax     ntp.PollExp // ≥ PollMin
	PollInitial ntp.PollExp // in [PollMin, PollMax]
}

// Name is host:port as configured, by which logs, status and messages call the source.
func (s *Source) Name() string { return net.JoinHostPort(s.Host, strconv.Itoa(int(s.Port))) }

// Server is one [[server]] table.
type Server struct {
	Listen           netip.AddrPort
	Allow            server.Rule   // default: everyone; Action is for who is not in it
	Deny             server.Rule   // default: nobody; Action is for who is in it
	RateLimitSlots   int           // rate-limiting-cache-size; 0: no limit
	RateLimitSpacing time.Duration // rate-limiting-cutoff-ms: least spacing per client
	RateLimitKiss    bool          // rate-limiting-kiss: tell clients over the limit now and then
	RequireNTS       server.Action // what requests without NTS get; server.Allow: an answer
	Versions         []uint8       // accept-ntp-versions: of 1 to 4; others are ignored
}

// Keyset is the table [keyset]: the master keys of cookies.
type Keyset struct {
	StaleKeys        int           // old keys still accepted, default 7
	RotationInterval time.Duration // default 24 h
	StoragePath      string        // empty: keys live in memory only. Default: inside State.Directory
}

// KEServer is one [[nts-ke-server]] table.
type KEServer struct {
	Listen               netip.AddrPort
	CertificateChainPath string
	PrivateKeyPath       string
	Timeout              time.Duration // of one exchange, TLS included; default 1 s
	MaxConnections       int           // concurrent-connections, default 512
	LongLived            int           // connections kept for pools, default a tenth of MaxConnections and at least 1; 0: none
	NTPServer            string        // sent to clients; empty: none, they use this host
	NTPPort              uint16        // sent to clients; 0: none, they use 123

	PoolTokens           []secret.Bytes // accepted-pool-authentication-tokens
	PoolCertificatePaths []string       // authorized-pool-server-certificates
	PoolCertificates     [][]byte       // the DER of each of those
}

// ClockKind says which clock is steered.
type ClockKind uint8

// The clocks.
const (
	ClockSystem  ClockKind = iota // the kernel's CLOCK_REALTIME
	ClockVirtual                  // an in-process clock over it that can start wrong
)

// NoLocalStratum is the value of LocalStratum that serves nobody while unsynchronised.
const NoLocalStratum ntp.Stratum = 16

// Synchronization is the table [synchronization].
type Synchronization struct {
	MinimumAgreeingSources int              // default 3
	SingleStep             system.StepLimit // default 1000 s both ways
	StartupStep            system.StepLimit // default forward unlimited, backward 86400 s
	AccumulatedStep        time.Duration    // sum of steps after the start; system.Unlimited when off
	WarnOnJump             bool             // default true: a step is a warning, not only information
	LocalStratum           ntp.Stratum      // 1–15: stratum served without a selected source (chrony's local)
	ReferenceID            ntp.RefID        // served with local-stratum = 1, default "XNON"

	// NTSBootstrap judges certificates as of the earliest possible time while the clock shows less (row KC19).
	NTSBootstrap bool

	Clock            ClockKind
	ClockControl     bool          // default true; false measures and serves and never touches the clock
	VirtualOffset    time.Duration // how far ahead the virtual clock starts
	VirtualFrequency float64       // how fast it starts, s/s

	// Algorithm holds the 24 keys of [synchronization.algorithm] and a copy of MinimumAgreeingSources.
	Algorithm algorithm.Params
}

// State is the table [state].
type State struct {
	Directory string // for drift, start allowance and cookie keys; empty: no state is kept
}
