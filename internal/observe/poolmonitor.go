package observe

// PoolMonitor is the state of the part of nts-pool-ke that probes time sources by itself (docs/rules/pool.md#monitor).
type PoolMonitor struct {
	Rounds     uint64 `json:"rounds"`      // looks at all time sources since the start
	VoidRounds uint64 `json:"void_rounds"` // of them, those in which failures were not held against anybody
	Void       string `json:"void"`        // why the latest round was void; empty: it was not
	RoundAge   Age    `json:"round_age"`   // seconds since the latest round ended; negative before the first

	Reference       string  `json:"reference"`         // what offsets are compared with: one of the Reference constants
	ReferenceVoices int     `json:"reference_voices"`  // how many sources or time sources agree on it
	ClockOffset     float64 `json:"clock_offset"`      // of this host's clock from the reference, seconds, positive: fast; 0 without one
	ClockOutOfRange bool    `json:"clock_implausible"` // most certificates are not valid by this host's clock
	AllOut          uint64  `json:"all_out"`           // users for whom every time source was out, so that all were tried
	StoreErrors     uint64  `json:"store_errors"`      // scores could not be written to state-path
}

// Age is a number of seconds; negative: never.
type Age float64

// The words of PoolMonitor.Reference.
const (
	ReferenceSources = "sources"      // the [[source]] blocks of the configuration
	ReferenceMembers = "time sources" // what a majority of the healthy time sources agree on
	ReferenceNone    = "none"         // neither: no verdict on offsets
)

// MonitoredServer is what the monitor knows of one time source.
type MonitoredServer struct {
	Views      []MonitorView      `json:"views"`      // one per address family, IPv4 first
	Algorithms []MonitorAlgorithm `json:"algorithms"` // those that it advertises
}

// MonitorView is a time source as users of one address family see it.
type MonitorView struct {
	Family   string  `json:"family"`   // "ipv4" or "ipv6"
	Verdict  string  `json:"verdict"`  // one of the Verdict constants
	Usable   bool    `json:"usable"`   // users of the family may be sent there
	Reason   string  `json:"reason"`   // why it is out or on probation; empty otherwise
	Score    float64 `json:"score"`    // -100 to 20; above 10 it may enter
	Failures int     `json:"failures"` // failed probes in a row
	Wrong    int     `json:"wrong"`    // rounds in a row in which its offset was beyond its bound
	Since    Age     `json:"since"`    // seconds since the verdict changed

	ProbeAge Age     `json:"probe_age"` // seconds since the latest probe
	Outcome  string  `json:"outcome"`   // of that probe
	Answered Age     `json:"answered"`  // seconds since the latest answer; the three below are of that one
	Offset   float64 `json:"offset"`    // from the reference, or without one from this host's clock; seconds, positive: it is ahead
	Distance float64 `json:"distance"`  // root distance, seconds: by how much it may be off as far as it and the path can tell
	Delay    float64 `json:"delay"`     // round trip, seconds

	History MonitorHistory `json:"history"`
}

// MonitorHistory is the score over time in slots of equal length, the oldest first; the last one is not over yet. A slot
// without probes has 0 in Probes, and no meaning in the other lists.
type MonitorHistory struct {
	SlotSeconds float64   `json:"slot_seconds"`
	End         float64   `json:"end"`      // seconds from now to the end of the last slot
	Scores      []int     `json:"scores"`   // the lowest, rounded
	Offsets     []float64 `json:"offsets"`  // the farthest from zero, seconds, rounded to microseconds
	Probes      []int     `json:"probes"`   // made
	Failures    []int     `json:"failures"` // of them, those that failed
}

// MonitorAlgorithm is one AEAD algorithm that a time source advertises.
type MonitorAlgorithm struct {
	Algorithm uint16 `json:"algorithm"` // by number
	Usable    bool   `json:"usable"`    // users get it from this time source
	Failures  int    `json:"failures"`  // rounds in a row in which it failed while another one worked
	Reason    string `json:"reason"`    // of the latest failure, empty if the latest probe was good
}

// The words of MonitorView.Verdict.
const (
	VerdictUnknown   = "unknown"   // not judged yet, and usable: the operator listed it
	VerdictUsable    = "usable"    // proven
	VerdictProbation = "probation" // came later, or had no address in the family: has to earn its score first
	VerdictOut       = "out"       // failed or wrong: has to earn its score again
)
