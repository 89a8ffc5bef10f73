package config

import (
	"fmt"
	"math"
	"time"

	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/system"
)

// Synchronization is the table [synchronization]: the settings of the system process as it declares them, whose defaults
// are system.Defaults, and what is for the daemon around it.
type Synchronization struct {
	system.Params // Expected, NoSources, Serves, Observe, Precision and Pivot are for the daemon to set

	// NTSBootstrap judges certificates as of the earliest possible time while the clock shows less (row KC19).
	NTSBootstrap bool

	Clock            ClockKind
	ClockControl     bool          // default true; false measures and serves and never touches the clock
	VirtualOffset    time.Duration // how far ahead the virtual clock starts
	VirtualFrequency float64       // how fast it starts, s/s
}

// ClockKind says which clock is steered.
type ClockKind uint8

// The clocks.
const (
	ClockSystem  ClockKind = iota // the kernel's CLOCK_REALTIME
	ClockVirtual                  // an in-process clock over it that can start wrong
)

// Limits of [synchronization] (docs/rules/configuration.md#synchronization).
const (
	exampleReferenceID = "XNON"
	stepLimit          = 1 << 32 // s: one era of NTP; what is larger is "inf"
	million            = 1e6
)

var (
	stepRange    = span{min: 0, max: stepLimit, unit: "s"}
	agreeing     = span{min: 1, max: 1000}
	strata       = span{min: 1, max: float64(ntp.MaxStratum)}
	distances    = span{min: 0.001, max: 16, unit: "s"} // up to MAXDISP of RFC 5905 §7.2
	offsetRange  = span{min: -1e9, max: 1e9, unit: "s"}
	ppmRange     = span{min: -1000, max: 1000, unit: "ppm"}
	clocks       = []string{"system", "virtual"}
	panicActions = []string{"hold", "exit"} // as system.PanicAction
	wantedNumber = stepRange.String() + ` or "inf"`
)

// String is the word that the configuration uses.
func (c ClockKind) String() string { return clocks[c] }

// synchronization reads [synchronization].
func (l *loader) synchronization(t *table) Synchronization {
	s := Synchronization{Params: system.Defaults(), ClockControl: true}
	t.integer("minimum-agreeing-sources", agreeing, &s.Algorithm.MinimumAgreeing)
	t.threshold("single-step-panic-threshold", &s.SingleStep)
	t.threshold("startup-step-panic-threshold", &s.StartupStep)
	if n := t.get("accumulated-step-panic-threshold"); n != nil {
		t.limit("accumulated-step-panic-threshold", n, &s.AccumulatedSteps) // 0 is off, as upstream
	}
	if n := t.get("unauthenticated-steps-per-day"); n != nil {
		t.limit("unauthenticated-steps-per-day", n, &s.UnauthenticatedSteps)
	} else { // whoever allows a larger step does not want it refused for the day's sum
		s.UnauthenticatedSteps = max(s.UnauthenticatedSteps, s.SingleStep.Forward, s.SingleStep.Backward)
	}
	if i, ok := t.oneOf("panic-action", panicActions...); ok {
		s.PanicAction = system.PanicAction(i)
	}
	warn := !s.QuietSteps
	t.boolean("warn-on-jump", &warn)
	s.QuietSteps = !warn
	t.interval("maximum-root-distance", distances, time.Second, &s.HoldOver)
	t.boolean("nts-bootstrap", &s.NTSBootstrap)
	t.localStratum(&s)
	t.clock(&s)
	t.sub("algorithm").algorithmKeys(&s.Algorithm)
	t.finish()
	return s
}

// localStratum reads local-stratum and reference-id.
func (t *table) localStratum(s *Synchronization) {
	v := int(s.LocalStratum)
	t.integer("local-stratum", strata, &v)
	s.LocalStratum = ntp.Stratum(v)
	t.boolean("local-orphan", &s.Orphan)
	if s.Orphan && s.Algorithm.MinimumAgreeing > 1 {
		t.l.note(t.node.children["local-orphan"].key, t.name("local-orphan"), "needs minimum-agreeing-sources = 1: an island follows a single clock", "")
	}
	var id string
	if !t.text("reference-id", exampleReferenceID, &id) {
		return
	}
	n := t.node.children["reference-id"]
	valid := len(id) <= 4
	for _, c := range []byte(id) {
		valid = valid && c >= 0x20 && c < 0x7f
	}
	if !valid {
		t.fail("reference-id", n, quote(id)+" is no reference identifier", "use 1 to 4 printable ASCII characters")
		return
	}
	s.LocalReference = ntp.RefIDFromString(id)
	if v != 1 {
		t.l.note(n.key, t.name("reference-id"), "is served with local-stratum = 1 only", "")
	}
}

// clock reads which clock is steered, and how a virtual one starts.
func (t *table) clock(s *Synchronization) {
	if i, ok := t.oneOf("clock", clocks...); ok {
		s.Clock = ClockKind(i)
	}
	t.boolean("clock-control", &s.ClockControl)
	t.interval("virtual-offset", offsetRange, time.Second, &s.VirtualOffset)
	if t.number("virtual-frequency", ppmRange, &s.VirtualFrequency) {
		s.VirtualFrequency /= million
	}
	for _, key := range []string{"virtual-offset", "virtual-frequency"} {
		if n := t.node.children[key]; n != nil && s.Clock != ClockVirtual {
			t.l.problem(n.key, t.name(key), "has no effect on the system clock", `add clock = "virtual" or remove it`)
		}
	}
}

// threshold reads a number, "inf", or { forward = …, backward = … } where a missing side is unlimited. Signs
// and NaN are checked in every form.
func (t *table) threshold(key string, dst *system.StepLimit) {
	n := t.get(key)
	if n == nil {
		return
	}
	if n.kind != kindTable {
		var d time.Duration
		if t.limit(key, n, &d) {
			*dst = system.StepLimit{Forward: d, Backward: d}
		}
		return
	}
	*dst = system.StepLimit{Forward: system.Unlimited, Backward: system.Unlimited}
	sides := t.sub(key)
	for _, side := range []struct {
		key string
		dst *time.Duration
	}{{"forward", &dst.Forward}, {"backward", &dst.Backward}} {
		if v := sides.get(side.key); v != nil {
			sides.limit(side.key, v, side.dst)
		}
	}
	sides.finish()
}

// limit reads a number of seconds ≥ 0 or "inf".
func (t *table) limit(key string, n *node, dst *time.Duration) bool {
	if n.kind == kindString && n.text == "inf" {
		*dst = system.Unlimited
		return true
	}
	v, ok := n.float()
	switch {
	case !ok:
		t.fail(key, n, fmt.Sprintf("%s is no limit", n.shown()), "use "+wantedNumber)
	case math.IsNaN(v) || v < stepRange.min || v > stepRange.max:
		t.fail(key, n, shorten(n.text)+" is out of range", "use "+wantedNumber)
	default:
		*dst = time.Duration(math.Round(v * float64(time.Second)))
		return true
	}
	return false
}

// hardwareClock checks [clock] (docs/rules/configuration.md#not-built), which validates and is not built.
func (l *loader) hardwareClock(t *table) {
	var s string
	t.file("clock", "/dev/ptp0", &s)
	t.text("interface", "eth0", &s)
	stamps := []string{"kernel-all", "kernel-recv", "software", "hardware"}
	if t.oneOf("timestamp-mode", stamps...); !t.has("timestamp-mode") && !t.has("enable-timestamps") {
		t.missing("timestamp-mode", "use "+alternatives(stamps))
	}
	old := t.sub("enable-timestamps") // 1.0 and 1.1
	for _, key := range []string{"rx-software", "tx-software", "rx-hardware", "tx-hardware"} {
		var on bool
		old.boolean(key, &on)
	}
	old.finish()
	t.finish()
	l.notBuilt(t.node.key, t.path, "hardware clocks and timestamps of network cards")
}
