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

	CertificateNotAfter int64 `json:"certificate_not_after"` // end of the certificate in use, Unix seconds; 0: there is none
}

// Pool is the state of nts-pool-ke. It holds no user's address, and neither keys, tokens nor cookies.
type Pool struct {
	Address     string            `json:"address"` // listened on
	Connections Connections       `json:"connections"`
	Outcomes    map[string]uint64 `json:"outcomes"` // of users' exchanges, by name
	Servers     []PoolServer      `json:"servers"`  // time sources, in configuration order

	CertificateNotAfter int64 `json:"certificate_not_after"` // end of the certificate in use, Unix seconds
}

// PoolServer is what a pool knows of one time source. Counters begin anew when a reload changes its entry.
type PoolServer struct {
	Server     string            `json:"server"`     // domain:port
	Breaker    string            `json:"breaker"`    // one of the Breaker constants
	OpenFor    float64           `json:"open_for"`   // seconds until it is tried again, 0 unless open
	Failures   int               `json:"failures"`   // in a row
	Known      bool              `json:"known"`      // the three below are believed now; else the next user has it asked
	Dialect    string            `json:"dialect"`    // of the pool protocol; empty before the first answer
	Protocols  []uint16          `json:"protocols"`  // next protocols, by number
	Algorithms []uint16          `json:"algorithms"` // AEAD algorithms, by number
	Exchanges  map[string]uint64 `json:"exchanges"`  // what became of users' exchanges with it, by outcome
	LastError  string            `json:"last_error"` // class of the latest failure, empty if there was none
	ErrorAge   float64           `json:"error_age"`  // seconds since then
}

// The words of PoolServer.Breaker, in the order in which they follow each other.
const (
	BreakerClosed = "closed" // users are sent there in turn
	BreakerOpen   = "open"   // it failed repeatedly and is left alone while others are there
	BreakerTrial  = "trial"  // the pause is over, the next user tries it
)
