package observe

// Durations is how long something took, as counts in fixed buckets. Counts and sum are since the start; the three
// percentiles are of the last five minutes, nil without an event in them.
type Durations struct {
	Count   uint64   `json:"count"`
	Sum     float64  `json:"sum"`     // seconds
	Buckets []uint64 `json:"buckets"` // how many took no longer than the bound of DurationBounds at the same place
	P50     *float64 `json:"p50"`     // seconds; half of them took no longer
	P90     *float64 `json:"p90"`
	P99     *float64 `json:"p99"`
}

// DurationBounds are the upper ends of the buckets in seconds: 1, 2 and 5 of each power of ten from 100 us to 10 s. A key
// exchange within a rack takes 1 ms, and one that is given up 5 s.
func DurationBounds() []float64 {
	return []float64{
		0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10,
	}
}
