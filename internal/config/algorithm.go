package config

import (
	"strings"

	"ntp-daemon/internal/algorithm"
)

// The ranges of [synchronization.algorithm]. The lower ends keep zero out where it would divide or disable;
// the upper ones are far beyond any use and only keep arithmetic finite (row F02).
var (
	probability = span{min: 0, max: 1}
	share       = span{min: 0, max: 1}
	sigmas      = span{min: 0, max: 1e6}
	someSigmas  = span{min: 1e-3, max: 1e6}
	rate        = span{min: 1e-9, max: 0.1, unit: "s/s"}
	wander      = span{min: 1e-15, max: 0.01, unit: "s/s per √s"}
	uncertainty = span{min: 1e-6, max: 86400, unit: "s"}
	hysteresis  = span{min: 1, max: 1000000}
)

// algorithmKeys reads the 24 keys of ntpd-rs (docs/rules/configuration.md#algorithm) and names those without effect in
// one warning.
func (t *table) algorithmKeys(p *algorithm.Params) {
	for _, k := range []struct {
		name string
		span span
		dst  *float64
	}{
		{"precision-low-probability", probability, &p.PrecisionLowProbability},
		{"precision-high-probability", probability, &p.PrecisionHighProbability},
		{"precision-minimum-weight", share, &p.PrecisionMinimumWeight},
		{"poll-interval-low-weight", share, &p.PollIntervalLowWeight},
		{"poll-interval-high-weight", share, &p.PollIntervalHighWeight},
		{"poll-interval-step-threshold", probability, &p.PollIntervalStepThreshold},
		{"delay-outlier-threshold", someSigmas, &p.DelayOutlierThreshold},
		{"initial-wander", wander, &p.InitialWander},
		{"initial-frequency-uncertainty", rate, &p.InitialFrequencyUncertainty},
		{"maximum-source-uncertainty", uncertainty, &p.MaximumSourceUncertainty},
		{"range-statistical-weight", someSigmas, &p.RangeStatisticalWeight},
		{"range-delay-weight", sigmas, &p.RangeDelayWeight},
		{"steer-offset-threshold", sigmas, &p.SteerOffsetThreshold},
		{"steer-offset-leftover", sigmas, &p.SteerOffsetLeftover},
		{"steer-frequency-threshold", sigmas, &p.SteerFrequencyThreshold},
		{"steer-frequency-leftover", sigmas, &p.SteerFrequencyLeftover},
		{"step-threshold", span{min: 1e-6, max: stepLimit, unit: "s"}, &p.StepThreshold},
		{"slew-maximum-frequency-offset", rate, &p.SlewMaximumFrequencyOffset},
		{"slew-minimum-duration", span{min: 1e-3, max: 86400, unit: "s"}, &p.SlewMinimumDuration},
		{"maximum-frequency-steer", rate, &p.MaximumFrequencySteer},
		{"meddling-threshold", uncertainty, &p.MeddlingThreshold},
	} {
		t.number(k.name, k.span, k.dst)
	}
	t.integer("precision-hysteresis", hysteresis, &p.PrecisionHysteresis)
	t.integer("poll-interval-hysteresis", hysteresis, &p.PollIntervalHysteresis)
	t.boolean("ignore-server-dispersion", &p.IgnoreServerDispersion)
	t.finish()

	var idle []string
	for _, name := range algorithm.WithoutEffect() {
		if t.has(name) {
			idle = append(idle, name)
		}
	}
	if len(idle) > 0 {
		t.l.warn(t.node.key, t.path, "no effect in this suite: "+strings.Join(idle, ", "), "remove them")
	}
}
