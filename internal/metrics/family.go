package metrics

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"ntp-daemon/internal/observe"
)

// kind is the type that a family declares.
type kind string

const (
	gauge     kind = "gauge"
	counter   kind = "counter"
	histogram kind = "histogram"
)

// unit is the base unit that a family declares; the name of the family ends in it.
type unit string

const (
	none    unit = ""
	seconds unit = "seconds"
	ratio   unit = "ratio"
)

// family is one metric with all its samples. Its header is written even if there are none.
type family struct {
	name    string
	help    string // one line that ends in a full stop
	kind    kind
	unit    unit
	samples func(s *observe.Snapshot, emit emitter)
}

// label is one label of a sample. One called nameLabel stands first and is the sample's name where that is not the family's.
type label struct{ name, value string }

// nameLabel is what the name is called in Prometheus' own model of the data.
const nameLabel = "__name__"

// emitter takes the samples of one family in order.
type emitter func(value float64, labels ...label)

// append writes the family in the order HELP, TYPE, UNIT, samples.
func (f *family) append(dst []byte, s *observe.Snapshot) []byte {
	dst = append(dst, "# HELP "+f.name+" "+f.help+"\n"...)
	dst = append(dst, "# TYPE "+f.name+" "+string(f.kind)+"\n"...)
	if f.unit != none {
		dst = append(dst, "# UNIT "+f.name+" "+string(f.unit)+"\n"...)
	}
	f.samples(s, func(value float64, labels ...label) {
		name := f.name
		if len(labels) > 0 && labels[0].name == nameLabel {
			name, labels = labels[0].value, labels[1:]
		}
		dst = append(dst, name...)
		dst = appendLabels(dst, labels)
		dst = append(dst, ' ')
		dst = appendValue(dst, value)
		dst = append(dst, '\n')
	})
	return dst
}

// escaper covers what would end a label value early.
var escaper = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

func appendLabels(dst []byte, labels []label) []byte {
	for i, l := range labels {
		dst = append(dst, "{,"[min(i, 1)])
		dst = append(dst, l.name...)
		dst = append(dst, `="`...)
		dst = append(dst, escaper.Replace(strings.ToValidUTF8(l.value, "\uFFFD"))...)
		dst = append(dst, '"')
	}
	if len(labels) > 0 {
		dst = append(dst, '}')
	}
	return dst
}

// appendValue writes the shortest decimal form that reads back as the same number, without exponent and, for a
// whole number, without point.
func appendValue(dst []byte, v float64) []byte {
	switch {
	case v == 0: // minus zero too
		return append(dst, '0')
	case math.IsInf(v, 1):
		return append(dst, "+Inf"...)
	}
	return strconv.AppendFloat(dst, v, 'f', -1, 64)
}

// durations makes a histogram of what get finds.
func durations(name, help string, get func(s *observe.Snapshot, each func(d *observe.Durations, at ...label))) family {
	return family{name, help, histogram, seconds, func(s *observe.Snapshot, emit emitter) {
		get(s, func(d *observe.Durations, at ...label) {
			bounds := observe.DurationBounds()
			sample := func(suffix string, value float64, more ...label) {
				emit(value, slices.Concat([]label{{nameLabel, name + suffix}}, at, more)...)
			}
			for i, n := range d.Buckets[:min(len(d.Buckets), len(bounds))] {
				sample("_bucket", float64(n), label{"le", strconv.FormatFloat(bounds[i], 'f', -1, 64)})
			}
			sample("_bucket", float64(d.Count), label{"le", "+Inf"})
			sample("_sum", d.Sum)
			sample("_count", float64(d.Count))
		})
	}}
}

// one is the number of a truth.
func one(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
