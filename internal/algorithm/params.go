package algorithm

import "math"

// Params are the settings of the discipline. The comments name the key of [synchronization.algorithm] in the
// configuration (docs/rules/configuration.md#algorithm) and say what it does here; a field marked "no effect" is kept
// so that every configuration loads.
type Params struct {
	PrecisionLowProbability  float64 // precision-low-probability: no effect, all wanders are tried at once
	PrecisionHighProbability float64 // precision-high-probability: no effect
	PrecisionHysteresis      int     // precision-hysteresis: no effect
	PrecisionMinimumWeight   float64 // precision-minimum-weight: no effect

	PollIntervalLowWeight     float64 // poll-interval-low-weight: no effect
	PollIntervalHighWeight    float64 // poll-interval-high-weight: no effect
	PollIntervalHysteresis    int     // poll-interval-hysteresis: how slowly the interval grows
	PollIntervalStepThreshold float64 // poll-interval-step-threshold: a fit this unlikely asks for the shortest interval

	DelayOutlierThreshold       float64 // delay-outlier-threshold: no effect, excess delay lowers the weight instead
	InitialWander               float64 // initial-wander, s/s per sqrt(s): the most probable one before anything is measured
	InitialFrequencyUncertainty float64 // initial-frequency-uncertainty, s/s, one sigma
	KnownFrequencyUncertainty   float64 // no key: one sigma of the frequency that the clock starts with, s/s; 0: not known

	MaximumSourceUncertainty float64 // maximum-source-uncertainty, s: largest radius of a candidate
	RangeStatisticalWeight   float64 // range-statistical-weight: sigmas in the radius
	RangeDelayWeight         float64 // range-delay-weight: share of the round trip in the radius; below 0.5 it counts as that

	SteerOffsetThreshold       float64 // steer-offset-threshold, sigma: a smaller offset is never stepped
	SteerOffsetLeftover        float64 // steer-offset-leftover: no effect, the whole offset is corrected
	SteerFrequencyThreshold    float64 // steer-frequency-threshold: no effect, frequency follows every update
	SteerFrequencyLeftover     float64 // steer-frequency-leftover: no effect
	StepThreshold              float64 // step-threshold, s: larger offsets are stepped, smaller ones slewed
	SlewMaximumFrequencyOffset float64 // slew-maximum-frequency-offset, s/s
	SlewMinimumDuration        float64 // slew-minimum-duration, s
	MaximumFrequencySteer      float64 // maximum-frequency-steer, s/s: bound of every commanded frequency

	IgnoreServerDispersion bool    // ignore-server-dispersion
	MeddlingThreshold      float64 // meddling-threshold: no effect, foreign steps are noticed at once

	// MinimumAgreeing is [synchronization] minimum-agreeing-sources: the smallest consensus.
	MinimumAgreeing int
}

// Defaults returns the defaults of the reference suite (docs/rules/configuration.md#algorithm), but for the limits of the
// root distance (docs/rules/clock.md#distance-limits).
func Defaults() Params {
	return Params{
		PrecisionLowProbability: 1. / 3, PrecisionHighProbability: 2. / 3, PrecisionHysteresis: 16,
		PrecisionMinimumWeight: 0.1,
		PollIntervalLowWeight:  0.4, PollIntervalHighWeight: 0.6, PollIntervalHysteresis: 16,
		PollIntervalStepThreshold: 1e-6,
		DelayOutlierThreshold:     5, InitialWander: 1e-8, InitialFrequencyUncertainty: 100e-6,
		MaximumSourceUncertainty: 1, RangeStatisticalWeight: 2, RangeDelayWeight: minDelayWeight,
		SteerOffsetThreshold: 2, SteerOffsetLeftover: 1,
		StepThreshold: 0.010, SlewMaximumFrequencyOffset: 200e-6, SlewMinimumDuration: 8,
		MaximumFrequencySteer: 495e-6, MeddlingThreshold: 5, MinimumAgreeing: 3,
	}
}

// WithoutEffect returns the keys of [synchronization.algorithm] that load but change nothing here, sorted.
func WithoutEffect() []string {
	return []string{
		"delay-outlier-threshold", "meddling-threshold", "poll-interval-high-weight", "poll-interval-low-weight",
		"precision-high-probability", "precision-hysteresis", "precision-low-probability", "precision-minimum-weight", "steer-frequency-leftover",
		"steer-frequency-threshold", "steer-offset-leftover",
	}
}

// kernelMaxFrequency is the largest frequency that adjtimex takes, s/s.
const kernelMaxFrequency = 500e-6

// tuning is Params with what follows from them, computed once.
type tuning struct {
	Params
	noFit float64 // sigmas: worse asks for the shortest interval
}

func newTuning(p Params) tuning {
	p = p.sane()
	return tuning{
		Params: p,
		noFit:  centralQuantile(1 - p.PollIntervalStepThreshold),
	}
}

// sane returns p with every value that is not finite or outside its range replaced by the default or the
// nearest bound (row K08): whatever comes in, no command leaves the range of the kernel.
func (p Params) sane() Params {
	d := Defaults()
	fix := func(v *float64, def, lo, hi float64) {
		if math.IsNaN(*v) {
			*v = def
		}
		*v = min(max(*v, lo), hi)
	}
	fix(&p.PrecisionLowProbability, d.PrecisionLowProbability, 0, 1)
	fix(&p.PrecisionHighProbability, d.PrecisionHighProbability, 0, 1)
	fix(&p.PrecisionMinimumWeight, d.PrecisionMinimumWeight, 0, 1)
	fix(&p.PollIntervalStepThreshold, d.PollIntervalStepThreshold, 0, 1)
	fix(&p.InitialWander, d.InitialWander, minWander, maxWander)
	fix(&p.InitialFrequencyUncertainty, d.InitialFrequencyUncertainty, 1e-9, 1e-2)
	fix(&p.KnownFrequencyUncertainty, 0, 0, 1e-2)
	fix(&p.MaximumSourceUncertainty, d.MaximumSourceUncertainty, 0, 1e4)
	fix(&p.RangeStatisticalWeight, d.RangeStatisticalWeight, 0, 1e3)
	fix(&p.RangeDelayWeight, d.RangeDelayWeight, 0, 1e3)
	fix(&p.SteerOffsetThreshold, d.SteerOffsetThreshold, 0, 1e3)
	fix(&p.StepThreshold, d.StepThreshold, 0, math.Inf(1))
	fix(&p.SlewMaximumFrequencyOffset, d.SlewMaximumFrequencyOffset, 0, kernelMaxFrequency)
	fix(&p.SlewMinimumDuration, d.SlewMinimumDuration, 0.1, 1e5)
	fix(&p.MaximumFrequencySteer, d.MaximumFrequencySteer, 0, kernelMaxFrequency)
	p.PrecisionHysteresis = max(p.PrecisionHysteresis, 1)
	p.PollIntervalHysteresis = max(p.PollIntervalHysteresis, 1)
	p.MinimumAgreeing = max(p.MinimumAgreeing, 1)
	return p
}
