package config

// Algorithm holds the 24 keys of [synchronization.algorithm] (ntpd-rs.md 7.9). Which of them have an effect is
// told by the variable withoutEffect; the others load, are checked, and are named in one warning.
type Algorithm struct {
	PrecisionLowProbability     float64 // probability, default 1/3
	PrecisionHighProbability    float64 // probability, default 2/3
	PrecisionHysteresis         int     // default 16
	PrecisionMinimumWeight      float64 // default 0.1
	PollIntervalLowWeight       float64 // default 0.4
	PollIntervalHighWeight      float64 // default 0.6
	PollIntervalHysteresis      int     // default 16
	PollIntervalStepThreshold   float64 // probability, default 1e-6
	DelayOutlierThreshold       float64 // standard deviations, default 5
	InitialWander               float64 // s/s per √s, default 1e-8
	InitialFrequencyUncertainty float64 // s/s, default 100e-6
	MaximumSourceUncertainty    float64 // s, default 0.25
	RangeStatisticalWeight      float64 // standard deviations, default 2
	RangeDelayWeight            float64 // of the delay, default 0.25
	SteerOffsetThreshold        float64 // standard deviations, default 2
	SteerOffsetLeftover         float64 // standard deviations, default 1
	SteerFrequencyThreshold     float64 // standard deviations, default 0
	SteerFrequencyLeftover      float64 // standard deviations, default 0
	StepThreshold               float64 // s, default 0.010
	SlewMaximumFrequencyOffset  float64 // s/s, default 200e-6
	SlewMinimumDuration         float64 // s, default 8
	MaximumFrequencySteer       float64 // s/s, default 495e-6
	IgnoreServerDispersion      bool    // default false
	MeddlingThreshold           float64 // s, default 5
}
