package loadgen

// Result is what one run says, as JSON.
type Result struct {
	Label   string  `json:"label,omitempty"`
	Seconds float64 `json:"seconds"` // of the measurement
	Counts
	Lost      uint64  `json:"lost"`       // requests without a valid answer
	PerSecond float64 `json:"per_second"` // valid answers
	Latency   Latency `json:"latency"`
	Server    *Cost   `json:"server,omitempty"` // of the processes that were named
	Failure   string  `json:"failure,omitempty"`
}

// Cost is what the server's processes used.
type Cost struct {
	Each        float64 `json:"cpu_us_each"` // processor time for each valid answer
	Share       float64 `json:"cpu_share"`   // of one processor, 0 to 1 and beyond with several
	PerSecond   float64 `json:"cpu_us_per_second"`
	Voluntary   float64 `json:"voluntary_switches_per_second"`
	Involuntary float64 `json:"involuntary_switches_per_second"`
	ResidentKiB int64   `json:"rss_kib"`
	AnonKiB     int64   `json:"rss_anon_kib"`
}
