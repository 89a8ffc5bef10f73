package observe

import "ntp-daemon/internal/ntp"

// Snapshot is one observation of ntp-daemon or, if Pool is set, of nts-pool-ke; what the other program has is left
// out. The members up to Servers have the names, units and meaning of ntpd-rs 1.9 (its exporters and dashboards read
// it); Suite holds what only we report.
type Snapshot struct {
	Program Program  `json:"program"`
	System  System   `json:"system,omitzero"`
	Sources []Source `json:"sources,omitzero"` // by id
	Servers []Server `json:"servers,omitzero"` // in configuration order
	Suite   Suite    `json:"ntp_daemon,omitzero"`
	Pool    *Pool    `json:"nts_pool_ke,omitempty"`
}

// Time is an era-less NTP 32.32 timestamp.
type Time struct {
	Timestamp uint64 `json:"timestamp"`
}

// At wraps a timestamp.
func At(t ntp.Timestamp) Time { return Time{Timestamp: uint64(t)} }

// Program describes the process.
type Program struct {
	Version         string  `json:"version"`
	BuildCommit     string  `json:"build_commit"`
	BuildCommitDate string  `json:"build_commit_date"`
	UptimeSeconds   float64 `json:"uptime_seconds"`
	Now             Time    `json:"now"`
}

// System is the system state. Durations are seconds. Root dispersion at t seconds after the base time is
// sqrt(base + t·linear + t²·quadratic + t³·cubic), as readers of ntpd-rs compute it.
type System struct {
	Stratum                   uint8    `json:"stratum"`
	ReferenceID               uint32   `json:"reference_id"`
	AccumulatedStepsThreshold *float64 `json:"accumulated_steps_threshold"`
	Precision                 float64  `json:"precision"`
	RootDelay                 float64  `json:"root_delay"`
	RootVarianceBaseTime      Time     `json:"root_variance_base_time"`
	RootVarianceBase          float64  `json:"root_variance_base"`
	RootVarianceLinear        float64  `json:"root_variance_linear"`
	RootVarianceQuadratic     float64  `json:"root_variance_quadratic"`
	RootVarianceCubic         float64  `json:"root_variance_cubic"`
	LeapIndicator             string   `json:"leap_indicator"` // NoWarning, Leap61, Leap59, Unknown, Unsynchronized
	AccumulatedSteps          float64  `json:"accumulated_steps"`
}

// Source is one association. Offset > 0: our clock is behind it. The members after ID are ours.
type Source struct {
	Offset            float64 `json:"offset"`
	Uncertainty       float64 `json:"uncertainty"`
	Delay             float64 `json:"delay"`
	RemoteDelay       float64 `json:"remote_delay"`
	RemoteUncertainty float64 `json:"remote_uncertainty"`
	LastUpdate        Time    `json:"last_update"`
	UnansweredPolls   uint32  `json:"unanswered_polls"` // 0…8
	PollInterval      int8    `json:"poll_interval"`    // log2 s
	NTSCookies        *int    `json:"nts_cookies"`      // null for a plain source
	Name              string  `json:"name"`
	Address           string  `json:"address"`
	ID                uint64  `json:"id"`

	Measured    bool    `json:"measured"`     // false: offset to remote_uncertainty are not known yet
	Role        string  `json:"role"`         // one of the Role constants
	Reason      string  `json:"reason"`       // why it is not selected; empty when it is
	LastAnswer  string  `json:"last_answer"`  // how the latest request ended: a name of source.Verdict
	Stratum     uint8   `json:"stratum"`      // as claimed
	ReferenceID string  `json:"reference_id"` // readable
	Reach       uint8   `json:"reach"`        // last eight polls, newest in bit 0
	Version     uint8   `json:"version"`      // NTP version of the last reply
	Frequency   float64 `json:"frequency"`    // s/s of the oscillator against this source
	Jitter      float64 `json:"jitter"`       // one sigma of a single sample's offset, s

	Interleaved        bool   `json:"interleaved"`         // the latest reply told when the one before it left (RFC 9769)
	InterleavedReplies uint64 `json:"interleaved_replies"` // since the source was added
}

// Server is one listen address with the counters of ntpd-rs 1.9. The members after Stats are ours.
type Server struct {
	Address string      `json:"address"`
	Stats   ServerStats `json:"stats"`

	Dropped uint64 `json:"dropped_packets"` // by the kernel because the receive buffer was full; not in Stats

	AnswersPerSecond uint64         `json:"answers_per_second"`       // with time, in the last whole second
	TransmitStamps   uint64         `json:"transmit_stamps"`          // answers since start of which the kernel told when they left
	TransmitError    *TransmitError `json:"transmit_error,omitempty"` // nil as long as there are none
	Interleaved      uint64         `json:"interleaved_answers"`      // of the accepted packets, those with an interleaved answer (RFC 9769)

	FastPath *FastPath `json:"fast_path,omitempty"` // only with xdp
}

// TransmitError is how far the transmit times in our answers of late were from when they left, by the kernel's stamps:
// about the last thousand of each worker.
type TransmitError struct {
	Half float64 `json:"p50"` // half of the answers are better than this, s
	Most float64 `json:"p99"` // 99 of 100 are, s
}

// FastPath is what the network driver does for a server (ntp-xdp). What it answered is in the server's Stats, too; the other
// packets went to the server's sockets and are counted there by what became of them.
type FastPath struct {
	Interface string `json:"interface"`
	Mode      string `json:"mode"`   // driver or generic; empty while nothing is attached
	Reason    string `json:"reason"` // why nothing is answered there now; empty: it answers
	Answered  uint64 `json:"answered_packets"`
	Resting   uint64 `json:"resting_packets"` // came while there was nothing to answer from
	Listed    uint64 `json:"listed_packets"`  // from who is not let in
	Other     uint64 `json:"other_packets"`   // no plain requests of version 3 or 4, or damaged
}

// ServerStats counts datagrams since start; every datagram is received and exactly one of accepted, denied,
// ignored, rate limited and NAK. NTSRateLimited is always 0: whether a packet over the rate is one of NTS is not
// looked at, which is what makes refusing it cheap.
type ServerStats struct {
	Received       uint64 `json:"received_packets"`
	Accepted       uint64 `json:"accepted_packets"`
	Denied         uint64 `json:"denied_packets"`
	Ignored        uint64 `json:"ignored_packets"`
	RateLimited    uint64 `json:"rate_limited_packets"`
	SendErrors     uint64 `json:"response_send_errors"`
	NTSReceived    uint64 `json:"nts_received_packets"`
	NTSAccepted    uint64 `json:"nts_accepted_packets"`
	NTSDenied      uint64 `json:"nts_denied_packets"`
	NTSRateLimited uint64 `json:"nts_rate_limited_packets"`
	NTSNAK         uint64 `json:"nts_nak_packets"`
}

// Part is what a program can do without for a while: a listener, a socket.
type Part struct {
	Name   string  `json:"name"`
	Up     bool    `json:"up"`
	Reason string  `json:"reason"`       // why it is down, and what would help; empty when it is up
	Down   float64 `json:"down_seconds"` // since when
}

// MissingSource is what one [[source]] block wants and has no address for: a name that is not known, keys that are not had.
type MissingSource struct {
	Name    string  `json:"name"`
	NTS     bool    `json:"nts"`
	Count   int     `json:"count"`   // at least 1
	Reason  string  `json:"reason"`  // what the last search came to
	Seconds float64 `json:"seconds"` // since the first of them was looked for
}

// NTSPool is one [[source]] block whose servers somebody else chooses: an NTS pool, or the SRV records of a domain.
type NTSPool struct {
	Name    string          `json:"name"`
	FoundBy string          `json:"found_by"` // one of the FoundBy constants
	Want    int             `json:"want"`     // sources
	Members []NTSPoolMember `json:"members"`  // in the order of their start
	Failed  []FailedServer  `json:"failed"`   // left out for a while, the one that failed first comes first
	// Wait is how long until the next search for a server, s: 0 when one may start now or is under way, -1 when none is wanted.
	Wait   float64 `json:"search_wait"`
	Reason string  `json:"reason"` // what the last search came to, while servers are wanted
}

// The words of NTSPool.FoundBy.
const (
	FoundByKeyExchange = "key exchange" // the front end of the pool hands out members
	FoundBySRV         = "SRV"          // SRV records name them
)

// NTSPoolMember is a server of an NTSPool.
type NTSPoolMember struct {
	Server  string `json:"server"` // name by the key exchange, or the SRV target
	Address string `json:"address"`
}

// FailedServer is a server that failed and is left out, denied to the pool or asked last.
type FailedServer struct {
	Server  string  `json:"server"`
	Seconds float64 `json:"seconds"` // for how much longer
}

// Suite is what ntpd-rs does not report.
type Suite struct {
	Synchronized   bool              `json:"synchronized"`
	State          string            `json:"state"`             // synchronised, hold-over, local, unsynchronised, refused
	Clock          string            `json:"clock"`             // system, virtual, observed (no clock control)
	Frequency      float64           `json:"frequency"`         // correction in force, s/s
	Offset         float64           `json:"offset"`            // estimated error of our clock, s; > 0: slow
	Uncertainty    float64           `json:"uncertainty"`       // one sigma of Offset, s
	RootDispersion float64           `json:"root_dispersion"`   // error bound now, s
	Reference      string            `json:"reference"`         // readable reference identifier
	KeyExchange    map[string]uint64 `json:"key_exchange"`      // outcomes of the NTS-KE server by name
	Verdicts       map[string]uint64 `json:"server_verdicts"`   // outcomes of the NTP server by name
	LastStep       float64           `json:"last_step"`         // s, 0 if never
	Unserved       string            `json:"unserved"`          // why it is not synchronised although sources are followed, empty otherwise
	Refusal        string            `json:"refusal"`           // why the clock is left alone, with the remedy; empty if it is not
	RefusedBy      string            `json:"refused_by"`        // key of the limit that forbids the step, empty if none does
	RefusedSteps   map[string]uint64 `json:"refused_steps"`     // times that steering was given up since start, by that key
	ClockUnset     bool              `json:"clock_unset"`       // the clock shows a time that is past, and is not served
	KeySetAge      float64           `json:"keyset_age"`        // seconds since the last cookie key rotation, 0 without a key set
	KeySetStored   bool              `json:"keyset_stored"`     // the cookie keys survive a restart; false without a key set or a path
	KeySetProblem  string            `json:"keyset_problem"`    // why they do not although they are to; empty otherwise
	VirtualTruth   *VirtualTruth     `json:"virtual,omitempty"` // only with clock = "virtual"

	KeyExchangeServers []KeyExchangeServer `json:"key_exchange_servers"` // in configuration order
	Parts              []Part              `json:"parts"`                // listeners and sockets, in configuration order

	Missing []MissingSource `json:"missing_sources"` // without an address, in configuration order
	Pools   []NTSPool       `json:"nts_pools"`       // in configuration order

	Selected   int `json:"selected_sources"`  // that the clock follows now
	Candidates int `json:"candidate_sources"` // that had a vote on it

	// What went wrong since start. A consensus that is lost again and again, or a loop, wants a look at the sources.
	ConsensusLost uint64 `json:"consensus_lost"`    // times that the agreement of the sources was lost
	LoopsDetected uint64 `json:"loops_detected"`    // times that a source was found to follow us
	WrongEpoch    uint64 `json:"samples_over_step"` // dropped, because the clock was stepped during the exchange
	InLeap        uint64 `json:"samples_in_leap"`   // dropped, because a leap second was near

	// Offset, Uncertainty and the two values below have meaning only with EstimateKnown.
	EstimateKnown        bool    `json:"estimate_known"`
	FrequencyError       float64 `json:"frequency_error"`       // estimated rate error of the corrected clock, s/s; > 0: it runs fast
	FrequencyUncertainty float64 `json:"frequency_uncertainty"` // one sigma of it, s/s
	Steps                uint64  `json:"steps"`                 // made by us since start
	UnauthenticatedSteps float64 `json:"unauthenticated_steps"` // sum of the sizes of the last day's, after the start, for which most sources had no NTS, s
}

// The words of Source.Role (system.Role).
const (
	RolePeer        = "system peer" // selected, and the one whose stratum and root values clients are told
	RoleSelected    = "selected"
	RoleCandidate   = "candidate"
	RoleFalseticker = "falseticker"
	RoleExcluded    = "excluded"
)

// VirtualTruth compares a virtual clock with the machine's own, which nothing but a trial can know.
type VirtualTruth struct {
	Offset    float64 `json:"offset"`    // machine clock minus virtual clock, s
	Frequency float64 `json:"frequency"` // remaining rate error, s/s; > 0: it runs fast
}

// LeapName is the reference suite's name of the indicator.
func LeapName(l ntp.LeapIndicator, synchronized bool) string {
	switch {
	case !synchronized || l == ntp.LeapUnknown:
		return "Unsynchronized"
	case l == ntp.LeapInsert:
		return "Leap61"
	case l == ntp.LeapDelete:
		return "Leap59"
	default:
		return "NoWarning"
	}
}
