package poolpage

import (
	"fmt"
	"math"
	"strings"

	"ntp-daemon/internal/observe"
	"ntp-daemon/internal/poolview"
	"ntp-daemon/internal/units"
)

// The range of scores and where a time source may enter (docs/rules/pool.md#monitor).
const (
	lowestScore  = -100
	highestScore = 20
	entryScore   = 10
	scoreStep    = 20 // the scale's lower edge is a multiple of this
)

// chart is a line of the past as SVG. Points are those of polylines in a box of Width by Height.
type chart struct {
	Width, Height int
	Label         string   // what it shows, for those who do not see it
	Lines         []string // points of polylines; a gap in the past parts them
	Dots          []dot    // single slots between gaps
	Rule          float64  // y of a line that means something, negative: none
	Tone          poolview.Tone
	High, Low     string // what the upper and lower edge stand for
	From          string // what the left edge stands for
}

type dot struct{ X, Y float64 }

// scores draws the score of one view; nil if nothing was probed yet.
func scores(v *observe.MonitorView, width, height int) *chart {
	h := &v.History
	values := make([]float64, len(h.Scores))
	for i, s := range h.Scores {
		values[i] = float64(s)
	}
	// The scale ends below the lowest that was seen: most time sources never leave its upper edge.
	low, _ := extremes(values, h.Probes)
	edge := max(min(0, scoreStep*math.Floor(low/scoreStep)), lowestScore)
	c := line(values, h.Probes, edge, highestScore, width, height)
	if c == nil {
		return nil
	}
	c.Rule = height1(entryScore, edge, highestScore, height)
	c.High, c.Low, c.From = "20", strings.Replace(fmt.Sprint(edge), "-", "−", 1), ago(h)
	c.Tone = poolview.Good
	if !v.Usable {
		c.Tone = poolview.Bad
	}
	c.Label = fmt.Sprintf("Score of the last %s: now %.1f, lowest %.0f; above %d a time source may enter", c.From, v.Score, low, entryScore)
	return c
}

// offsets draws the offset of one view on a scale of its own; nil if there is none.
func offsets(v *observe.MonitorView, width, height int) *chart {
	h := &v.History
	low, high := extremes(h.Offsets, h.Probes)
	edge := max(math.Abs(low), math.Abs(high), 1e-6)
	c := line(h.Offsets, h.Probes, -edge, edge, width, height)
	if c == nil {
		return nil
	}
	c.Rule = float64(height) / 2
	c.High, c.Low, c.From, c.Tone = "+"+units.Seconds(edge), "−"+units.Seconds(edge), ago(h), poolview.Neutral
	c.Label = fmt.Sprintf("Offset of the last %s: from %s to %s", c.From, units.Signed(low), units.Signed(high))
	return c
}

// ago is how far back a history reaches.
func ago(h *observe.MonitorHistory) string { return span(float64(len(h.Scores)) * h.SlotSeconds) }

// extremes are the lowest and the highest value of slots with probes.
func extremes(values []float64, probes []int) (low, high float64) {
	first := true
	for i, v := range values {
		if i >= len(probes) || probes[i] == 0 {
			continue
		}
		if first || v < low {
			low = v
		}
		if first || v > high {
			high = v
		}
		first = false
	}
	return low, high
}

// height1 is the y of a value; 1 unit of room is left at both edges.
func height1(v, low, high float64, height int) float64 {
	part := (min(max(v, low), high) - low) / (high - low)
	return round(1 + (1-part)*float64(height-2))
}

// line draws the slots with probes, and a gap where there were none; nil without any.
func line(values []float64, probes []int, low, high float64, width, height int) *chart {
	c := &chart{Width: width, Height: height, Rule: -1}
	step := float64(width-2) / float64(max(len(values)-1, 1))
	var run []string
	var last dot
	end := func() {
		switch len(run) {
		case 0:
		case 1:
			c.Dots = append(c.Dots, last)
		default:
			c.Lines = append(c.Lines, strings.Join(run, " "))
		}
		run = nil
	}
	for i, v := range values {
		if i >= len(probes) || probes[i] == 0 || math.IsNaN(v) || math.IsInf(v, 0) {
			end()
			continue
		}
		last = dot{round(1 + float64(i)*step), height1(v, low, high, height)}
		run = append(run, fmt.Sprintf("%g,%g", last.X, last.Y))
	}
	end()
	if len(c.Lines)+len(c.Dots) == 0 {
		return nil
	}
	return c
}

func round(v float64) float64 { return math.Round(v*10) / 10 }
