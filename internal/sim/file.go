package sim

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"ntp-daemon/internal/ntp"
)

// File is a set of scenarios as text. Members that only describe where figures come from are not read.
type File struct {
	Cases []*Case `json:"scenarios"`
}

// Case is one scenario of a file: a client, its servers and the paths between them (docs/rules/clock.md#scenarios).
type Case struct {
	ID          string            `json:"id"`
	Description string            `json:"description"`
	Kind        string            `json:"kind"`       // steady, event, converge, holdover or attack
	Duration    float64           `json:"duration_s"` // > 0
	Warmup      float64           `json:"warmup_s"`   // seconds left out of the statistics, ≥ 0
	Client      CaseClient        `json:"client"`
	Servers     []CaseServer      `json:"servers"`
	Event       *CaseEvent        `json:"event"`   // nil: none
	Polls       map[string][2]int `json:"polls"`   // policies that it is meant for
	Anchors     map[string]Anchor `json:"anchors"` // what others reach, as "chrony_P6"
	Bounds      *Bounds           `json:"bounds_poll64.64"`
	Targets     *Targets          `json:"targets"`
}

// CaseClient is the machine of the client.
type CaseClient struct {
	Offset float64 `json:"initial_offset_s"` // clock minus true time at the start
	Freq   string  `json:"freq_expr"`        // rate error of the oscillator, s/s, one evaluation at each whole second
	Wander float64 `json:"wander_per_sqrt_s"`
	Grain  float64 `json:"timestamp_grain_s"` // resolution of its packet timestamps; 0: full
}

// CaseServer is a server and the path to it.
type CaseServer struct {
	Stratum    int     `json:"stratum"`
	Offset     float64 `json:"offset_s"`        // its clock minus true time at the start
	Freq       string  `json:"freq_expr"`       // rate error of its clock, s/s, at each whole second
	Step       string  `json:"step_expr"`       // added to its clock at each whole second, s; empty: none
	ReadError  string  `json:"read_error_expr"` // added to the two timestamps of each reply, s; empty: none
	RootDelay  float64 `json:"root_delay_s"`    // as it says
	Dispersion float64 `json:"dispersion_s"`    // as it says
	Out        string  `json:"delay_client_to_server"`
	Back       string  `json:"delay_server_to_client"`
}

// CaseEvent is what happens in a scenario of kind event or holdover.
type CaseEvent struct {
	At   float64 `json:"t"` // s
	Kind string  `json:"kind"`
	Size float64 `json:"size"`
}

// Anchor is what another program reaches in a scenario, medians over its seeds. Zero: not measured.
type Anchor struct {
	RMS        float64 `json:"rms"`
	Max        float64 `json:"max"`
	WorstMax   float64 `json:"worst_max"`
	RMSFreq    float64 `json:"rms_freq"`
	Packets    float64 `json:"packets_sent"`
	Steps      float64 `json:"steps"`
	Peak       float64 `json:"peak"`
	WorstPeak  float64 `json:"worst_peak"`
	RMSHour    float64 `json:"rms_1h"`
	Overshoot  float64 `json:"overshoot"`
	T1ms       float64 `json:"t_1ms"`
	T100us     float64 `json:"t_100us"`
	T20us      float64 `json:"t_20us"`
	Err600     float64 `json:"err_600_rms"`
	Err3600    float64 `json:"err_3600_rms"`
	Err14400   float64 `json:"err_14400_rms"`
	Err43200   float64 `json:"err_43200_rms"`
	Err86400   float64 `json:"err_86399_rms"`
	ThenSeeds  float64 `json:"seeds"`
	Prior      float64 `json:"pre_rms"`
	PeakWorst  float64 `json:"peak_worst"`
	LateRMS    float64 `json:"late_rms"`
	MeanPeriod float64 `json:"mean_out_interval"`
}

// Bounds are the limits of any estimator at a mean interval of T seconds: of a linear one, and of one that knows the law of
// the delays.
type Bounds struct {
	T      float64 `json:"T"`
	SigmaM float64 `json:"sigma_m"`
	Kalman float64 `json:"kalman_displayed"`
	Bayes  float64 `json:"bayes_displayed"`
}

// Targets are what must and what should be reached. Zero: no such target.
type Targets struct {
	MustRMS  float64 `json:"must_rms"`
	GoalRMS  float64 `json:"goal_rms"`
	MustPeak float64 `json:"must_peak"`
	GoalPeak float64 `json:"goal_peak"`
}

// The scenarios that come with the package: those that other programs were measured on, and more of the same kinds.
var (
	//go:embed testdata/scenarios.json
	listed []byte
	//go:embed testdata/unlisted.json
	unlisted []byte
)

// Listed are the scenarios on which chrony was measured.
func Listed() (*File, error) { return LoadScenarios(listed) }

// Unlisted are scenarios of the same kinds that nobody tuned anything to: other paths, oscillators and events, and attacks.
func Unlisted() (*File, error) { return LoadScenarios(unlisted) }

// maxCase caps duration and warm-up, s.
const maxCase = 1e8

// LoadScenarios reads a file of scenarios and checks that each can be built.
func LoadScenarios(text []byte) (*File, error) {
	f := &File{}
	if err := json.Unmarshal(text, f); err != nil {
		return nil, fmt.Errorf("parse scenarios: %w", err)
	}
	for i, c := range f.Cases {
		if err := c.check(); err != nil {
			return nil, fmt.Errorf("scenario %d, %q: %w", i+1, c.ID, err)
		}
		if slices.ContainsFunc(f.Cases[:i], func(o *Case) bool { return o.ID == c.ID }) {
			return nil, fmt.Errorf("scenario %q occurs twice", c.ID)
		}
	}
	return f, nil
}

// Matching are the scenarios whose whole identity matches one of the expressions.
func (f *File) Matching(expressions ...string) ([]*Case, error) {
	var list []*Case
	for _, text := range expressions {
		re, err := regexp.Compile("^(?:" + text + ")$")
		if err != nil {
			return nil, fmt.Errorf("expression for scenarios: %w", err)
		}
		for _, c := range f.Cases {
			if re.MatchString(c.ID) && !slices.Contains(list, c) {
				list = append(list, c)
			}
		}
	}
	return list, nil
}

func (c *Case) check() error {
	switch {
	case c.ID == "":
		return errors.New("no id")
	case !(c.Duration > 0 && c.Duration <= maxCase) || !(c.Warmup >= 0 && c.Warmup < c.Duration):
		return errors.New("duration or warm-up out of range")
	case len(c.Servers) == 0 || len(c.Servers) > 100:
		return errors.New("number of servers out of range")
	case c.Event != nil && !(c.Event.At >= 1 && c.Event.At < c.Duration):
		return errors.New("event out of range")
	}
	_, err := c.build(Policy{}, 0, nil)
	return err
}

// Policy is when a client polls.
type Policy struct {
	Name              string
	Min, Max, Initial ntp.PollExp
}

// NamedPolicy returns the policy of that name: P6, P4 and P0 are fixed intervals, PD and PDi chrony's default of 6 to 10, and
// "default" is what a configuration without a word on it gives.
func NamedPolicy(name string) (Policy, error) {
	for _, p := range []Policy{{"P6", 6, 6, 6}, {"P4", 4, 4, 4}, {"P0", 0, 0, 0}, {"PD", 6, 10, 6}, {"PDi", 6, 10, 6}, {"default", 4, 10, 4}} {
		if p.Name == name {
			return p, nil
		}
	}
	return Policy{}, fmt.Errorf("there is no poll policy %q", name)
}

// times are duration and warm-up; chrony was measured over less where it polled once a second.
func (c *Case) times(p Policy) (duration, warmup float64) {
	if p.Max == 0 && c.Kind == "steady" {
		return min(c.Duration, 50000), min(c.Warmup, 10000)
	}
	return c.Duration, c.Warmup
}

func seconds(s float64) time.Duration { return time.Duration(s * 1e9) }
