package observe

// Connections are the counters of one accept loop; package accept's Counters converts to it.
type Connections struct {
	Accepted uint64 `json:"accepted"`      // handed to a handler
	Full     uint64 `json:"closed_full"`   // closed: every permit taken, nobody idle
	Prefix   uint64 `json:"closed_prefix"` // closed: too many from one address or network
	Evicted  uint64 `json:"evicted_idle"`  // closed while they had not spoken, to make room
	Errors   uint64 `json:"accept_errors"` // errors of the system that were survived
	Panics   uint64 `json:"panics"`        // handlers that failed; each is a bug
	Open     int    `json:"open"`          // now
	InUse    int    `json:"in_use"`        // permits taken now; kept connections hold none
}

// KeyExchangeServer is one listen address of ntp-daemon's key exchange.
type KeyExchangeServer struct {
	Address     string      `json:"address"`
	Connections Connections `json:"connections"`
	Kept        int         `json:"kept_connections"` // of pools, now
	KeyExports  uint64      `json:"key_exports"`      // TLS sessions that a client's keys were made from
	CPU         float64     `json:"cpu_seconds"`      // processor time of its threads; 0 where it has none of its own
	OverBudget  uint64      `json:"budget_used_up"`   // times that handshakes had to wait for handshake-cpu-percent

	CertificateNotAfter int64 `json:"certificate_not_after"` // end of the certificate in use, Unix seconds; 0: there is none
}

// Pool is the state of nts-pool-ke. It holds no user's address, and neither keys, tokens nor cookies.
type Pool struct {
	Address     string            `json:"address"`   // listened on
	Listener    string            `json:"listener"`  // where the listening socket came from: opened, socket unit, descriptor store, predecessor
	Stage       string            `json:"stage"`     // starting, serving, or draining: told to stop, and not to be sent users any more
	Ready       bool              `json:"ready"`     // users should be sent here
	NotReady    []string          `json:"not_ready"` // why they should not; empty if they should
	Connections Connections       `json:"connections"`
	Outcomes    map[string]uint64 `json:"outcomes"`     // of users' exchanges, by name
	Names       []string          `json:"names"`        // of the certificate, by which users reach the pool
	Selection   string            `json:"selection"`    // how time sources are chosen, as in the configuration
	Denied      map[string]uint64 `json:"denied_names"` // names that users did not want: honoured; ignored, as every time source was denied; unknown
	Monitors    map[string]uint64 `json:"monitors"`     // the same of monitors that named their time source and proved a key
	Lookups     map[string]uint64 `json:"geo_lookups"`  // of users' countries: found, unknown, error (there is no database)
	Servers     []PoolServer      `json:"servers"`      // time sources, in configuration order

	CertificateNotAfter int64 `json:"certificate_not_after"` // end of the certificate in use, Unix seconds
	CountriesBuilt      int64 `json:"geo_database_built"`    // when the database of countries in use was made, Unix seconds; 0: there is none

	Algorithms map[string]uint64 `json:"algorithms"` // users served, by the number of the AEAD algorithm they got
	Protocols  map[string]uint64 `json:"protocols"`  // users served, by the number of the next protocol they got; "draft" has no number yet

	Limits PoolLimits `json:"limits"`

	SessionSeconds  Durations            `json:"session_seconds"`  // users' exchanges from accept to the last byte, whatever their outcome
	StageSeconds    map[string]Durations `json:"stage_seconds"`    // the stages of an exchange, by name
	UpstreamSeconds Durations            `json:"upstream_seconds"` // requests for a user's cookies, from sending to the whole answer, connecting included
	Recent          PoolRecent           `json:"recent"`
	Reload          PoolReload           `json:"reload"`

	Monitor *PoolMonitor `json:"monitor,omitempty"` // absent: time sources are not probed
}

// PoolLimits are the limits in force for users.
type PoolLimits struct {
	Connections int     `json:"connections"`        // users at one time
	PerPrefix   int     `json:"connections_prefix"` // of them from one IPv4 address or IPv6 /56; 0: no limit
	Seconds     float64 `json:"exchange_seconds"`   // the whole life of one user's connection
}

// PoolRecent is what happened in the last five minutes, or since the start if that is shorter.
type PoolRecent struct {
	Seconds  float64           `json:"seconds"`  // how long that is
	Outcomes map[string]uint64 `json:"outcomes"` // of users' exchanges that ended, by name
}

// PoolReload is what became of the reloads of a pool's configuration and of the files that it names.
type PoolReload struct {
	Generation uint64  `json:"generation"` // 1 at the start, one more with each reload that took effect
	Age        float64 `json:"age"`        // seconds since the last of them
	Refused    uint64  `json:"refused"`    // reloads that changed nothing, for a fault
	Reason     string  `json:"reason"`     // why the last reload was refused: files are others than those in use; empty if it took effect
}

// PoolServer is what a pool knows of one time source. Counters begin anew when a reload changes its entry.
type PoolServer struct {
	ID         string            `json:"id"`         // stable name: that of the configuration, else domain:port
	Server     string            `json:"server"`     // domain:port
	Weight     uint32            `json:"weight"`     // part in draws by weight; 0: it takes part in none
	Regions    []string          `json:"regions"`    // that it serves best
	Operator   string            `json:"operator"`   // who runs it
	Families   []string          `json:"families"`   // of the users that it may get: "ipv4", "ipv6"
	Share      *float64          `json:"share"`      // of the users served in the last five minutes, 0 to 1; null: there were none
	Expected   *float64          `json:"expected"`   // share that the choice aims at now, 0 to 1; null: it depends on the user
	Selected   map[string]uint64 `json:"selected"`   // users for whom it was drawn first, by region that it was drawn from
	Breaker    string            `json:"breaker"`    // one of the Breaker constants
	OpenFor    float64           `json:"open_for"`   // seconds until it is tried again, 0 unless open
	Failures   int               `json:"failures"`   // in a row
	Known      bool              `json:"known"`      // the three below are believed now; else it is asked before users' keys are sent
	Dialect    string            `json:"dialect"`    // of the pool protocol; empty before the first answer
	Protocols  []uint16          `json:"protocols"`  // next protocols, by number
	Algorithms []uint16          `json:"algorithms"` // AEAD algorithms, by number
	Exchanges  map[string]uint64 `json:"exchanges"`  // what became of users' exchanges with it, by outcome
	LastError  string            `json:"last_error"` // class of the latest failure, empty if there was none
	ErrorAge   float64           `json:"error_age"`  // seconds since then
	RTT        float64           `json:"rtt"`        // seconds from a request to its answer, smoothed; 0 before the first
	InFlight   int               `json:"in_flight"`  // requests to it under way now

	ListsAge float64  `json:"lists_age"` // seconds since it told what it can do; 0 before
	Names    []string `json:"names"`     // that it says it hands out; null: it does not say
	Idle     int      `json:"idle"`      // kept connections that wait for a request
	OneShot  bool     `json:"one_shot"`  // it keeps no connections, so TLS sessions are resumed
	Opened   uint64   `json:"opened"`    // TLS handshakes in full
	Resumed  uint64   `json:"resumed"`   // TLS handshakes that resumed a session
	Reused   uint64   `json:"reused"`    // requests on connections that were kept

	OddCookies uint64 `json:"odd_cookies"` // answers with cookies too many, of several lengths, or of one that some users cannot use

	CertificateNotAfter int64 `json:"certificate_not_after"` // end of the certificate that it showed last, Unix seconds; 0 before

	Monitored *MonitoredServer `json:"monitored,omitempty"` // absent: not probed, or not yet
}

// The words of PoolServer.Breaker, in the order in which they follow each other.
const (
	BreakerClosed = "closed" // users are sent there in turn
	BreakerOpen   = "open"   // it failed repeatedly and is left alone while others are there
	BreakerTrial  = "trial"  // the pause is over: the pool asks it itself, then users are sent, and one failure opens it again
)
