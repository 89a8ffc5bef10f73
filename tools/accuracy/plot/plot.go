// Package plot writes small, plain diagrams as SVG that are readable in light and in dark: text stays text, colours follow the
// reader's colour scheme, and the same input gives the same bytes.
package plot

// Plot is one picture: panels below each other, a title and one legend above them.
type Plot struct {
	Title  string
	Note   string // below the title; what was run
	Panels []Panel
}

// Panel is a diagram with its own axes.
type Panel struct {
	Height int // of the plotting area, units of which a picture is Width wide
	Left   int // room for the labels of Y; 0: as usual
	X, Y   Axis
	Layers []Layer // drawn in this order
}

// Axis is a range of values.
type Axis struct {
	Label    string
	Min, Max float64 // Min < Max; both > 0 if Log
	Log      bool
	Format   func(float64) string // of a tick's value; nil: as short as it can be
	Names    []string             // in place of ticks: the values 0, 1, 2… have names
}

// Kind is what a layer looks like.
type Kind uint8

// The kinds of layer.
const (
	Line  Kind = iota // through X and High
	Band              // between Low and High, lightly
	Trail             // between Low and High, solid: a line that is too dense to be drawn as one
	Level             // a horizontal line at High[0]
	Mark              // a vertical line at X[0]
	Dots              // at X and High
	Bars              // from Low[0] to X, horizontally, at the heights High
)

// Tone says what a layer stands for; colours follow from it.
type Tone uint8

// The tones.
const (
	Ours   Tone = iota // our clock
	Second             // our clock, too, in another case
	Third
	Theirs // chrony's
	Bound  // what is claimed of the error
	Sigma  // what is estimated of it
	Limit  // what cannot be beaten
	Bare   // the oscillator as it runs
	Moment // when something happens
)

var toneNames = [...]string{"ours", "second", "third", "theirs", "bound", "sigma", "limit", "bare", "moment"}

// Layer is one series of values, in the units of the axes.
type Layer struct {
	Kind         Kind
	Tone         Tone
	Name         string // in the legend; empty: not there, or there already
	X, Low, High []float64
	Labels       []string // of Bars, at their ends
}
