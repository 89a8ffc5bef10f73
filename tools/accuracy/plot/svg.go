package plot

import (
	"bytes"
	"fmt"
	"html"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The sizes of a picture, in its own units, which are a reader's pixels where there is room for them.
const (
	Width   = 820
	left    = 84
	right   = 22
	edge    = 14 // above the title and below the last axis
	line    = 18 // of text
	tickGap = 22 // below a panel: ticks
	nameGap = 18 // and the axis's name, if it has one
	panels  = 8  // between them, beyond that
	swatch  = 22
	// Inner is how wide a panel's plotting area is: more points than that cannot be told apart.
	Inner = Width - left - right
)

// style follows the colours of the pool's status page. Tones differ in dash or weight, too, not only in colour.
const style = `text{font:13px system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans","DejaVu Sans",sans-serif;fill:#191c20}
.title{font-size:16px;font-weight:650}.soft,.tick{fill:#545c67}.tick{font-size:12px}
.ground{fill:#ffffff}.frame{fill:none;stroke:#8d96a1}.grid{stroke:#dfe4ea}.fine{stroke:#eff2f5}
.l{fill:none;stroke-width:1.5;stroke-linejoin:round}.b{stroke:none}.e{stroke-width:1;stroke-linejoin:round}.d{stroke:none}
.l.ours,.e.ours{stroke:#0b57b0}.l.ours{stroke-width:1.8}.e.ours,.d.ours,.b.ours{fill:#0b57b0}.e.ours{fill-opacity:.85}.b.ours{fill-opacity:.3}
.l.second{stroke:#0b7a3e;stroke-dasharray:9 2}.d.second,.b.second{fill:#0b7a3e}.b.second{fill-opacity:.3}
.l.third{stroke:#7a3fb5;stroke-dasharray:4 2}.d.third,.b.third{fill:#7a3fb5}.b.third{fill-opacity:.3}
.l.theirs{stroke:#b8500a;stroke-width:1.8;stroke-dasharray:7 4}.d.theirs,.b.theirs{fill:#b8500a}
.l.bound{stroke:#63707f;stroke-width:1.8}.b.bound{fill:#aab4c0;fill-opacity:.38}
.l.sigma{stroke:#4f93e6}.b.sigma{fill:#5b9cf0;fill-opacity:.3}
.l.limit{stroke:#0b7a3e;stroke-dasharray:2 3;stroke-width:1.8}.d.limit{fill:#0b7a3e}
.l.bare{stroke:#63707f;stroke-dasharray:10 3 2 3}.l.moment{stroke:#b3211b;stroke-dasharray:3 3}
@media (prefers-color-scheme:dark){text{fill:#e7eaee}.soft,.tick{fill:#a6afba}.ground{fill:#14181c}.frame{stroke:#68727d}.grid{stroke:#2f363e}.fine{stroke:#1e242a}
.l.ours,.e.ours{stroke:#8ab8ff}.e.ours,.d.ours,.b.ours{fill:#8ab8ff}
.l.second{stroke:#63d297}.d.second,.b.second{fill:#63d297}.l.third{stroke:#c9a2f2}.d.third,.b.third{fill:#c9a2f2}
.l.theirs{stroke:#f5a65b}.d.theirs,.b.theirs{fill:#f5a65b}.l.bound{stroke:#9aa5b1}.b.bound{fill:#7d8894}
.l.sigma{stroke:#4f93e6}.b.sigma{fill:#5b8def}.l.limit{stroke:#63d297}.d.limit{fill:#63d297}
.l.bare{stroke:#9aa5b1}.l.moment{stroke:#ff8e86}}
`

// writer collects a picture.
type writer struct{ bytes.Buffer }

func (w *writer) add(format string, a ...any) { fmt.Fprintf(&w.Buffer, format, a...) }

// num is a coordinate to a tenth of a unit.
func num(v float64) string {
	s := strconv.FormatFloat(v, 'f', 1, 64)
	s = strings.TrimSuffix(s, ".0")
	if s == "-0" {
		return "0"
	}
	return s
}

func (w *writer) text(x, y float64, class, anchor, text string) {
	w.add(`<text x="%s" y="%s"`, num(x), num(y))
	if class != "" {
		w.add(` class="%s"`, class)
	}
	if anchor != "" {
		w.add(` text-anchor="%s"`, anchor)
	}
	w.add(">%s</text>\n", html.EscapeString(text))
}

// SVG draws the picture.
func (p *Plot) SVG() []byte {
	legend := p.legend()
	top := edge + float64(line)*1.1
	if p.Note != "" {
		top += line
	}
	top += float64(line*len(legend)) + 10
	height := top
	for i := range p.Panels {
		height += p.Panels[i].room()
		if i > 0 {
			height += panels
		}
	}
	height += edge - 6
	w := &writer{}
	w.add(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %s" width="%d" height="%s" role="img">`+"\n", Width, num(height), Width, num(height))
	w.add("<title>%s</title>\n<style>%s</style>\n", html.EscapeString(p.Title), style)
	w.add(`<rect class="ground" width="100%%" height="100%%" rx="6"/>` + "\n")
	y := edge + float64(line)*0.7
	w.text(edge+2, y, "title", "", p.Title)
	if p.Note != "" {
		y += line
		w.text(edge+2, y, "soft", "", p.Note)
	}
	y += line + 4
	for _, row := range legend {
		x := float64(edge + 2)
		for _, e := range row {
			w.sample(e, x, y)
			w.text(x+swatch+6, y, "", "", e.Name)
			x += e.width
		}
		y += line
	}
	for i := range p.Panels {
		if i > 0 {
			top += panels
		}
		w.panel(&p.Panels[i], i, top)
		top += p.Panels[i].room()
	}
	w.add("</svg>\n")
	return w.Bytes()
}

// room is how high a panel is with its axis.
func (p *Panel) room() float64 {
	if p.X.Label == "" {
		return float64(p.Height) + tickGap
	}
	return float64(p.Height) + tickGap + nameGap
}

// entry is one of the legend.
type entry struct {
	*Layer
	width float64
}

// legend arranges the named layers in rows that fit.
func (p *Plot) legend() (rows [][]entry) {
	var row []entry
	x := float64(edge + 2)
	for i := range p.Panels {
		for k := range p.Panels[i].Layers {
			l := &p.Panels[i].Layers[k]
			if l.Name == "" {
				continue
			}
			e := entry{l, swatch + 6 + 6.9*float64(utf8.RuneCountInString(l.Name)) + 18}
			if x+e.width > Width && len(row) > 0 {
				rows, row, x = append(rows, row), nil, edge+2
			}
			row, x = append(row, e), x+e.width
		}
	}
	if len(row) > 0 {
		rows = append(rows, row)
	}
	return rows
}

// sample draws what a layer looks like beside its name.
func (w *writer) sample(e entry, x, base float64) {
	tone := toneNames[e.Tone]
	switch e.Kind {
	case Band, Trail:
		class := "b"
		if e.Kind == Trail {
			class = "e"
		}
		w.add(`<rect class="%s %s" x="%s" y="%s" width="%d" height="10"/>`+"\n", class, tone, num(x), num(base-9.5), swatch)
	case Bars:
		w.add(`<rect class="d %s" x="%s" y="%s" width="%d" height="10"/>`+"\n", tone, num(x), num(base-9.5), swatch)
	case Dots:
		w.add(`<circle class="d %s" cx="%s" cy="%s" r="4"/>`+"\n", tone, num(x+swatch/2), num(base-4.5))
	default:
		w.add(`<path class="l %s" d="M%s %sh%d"/>`+"\n", tone, num(x), num(base-4.5), swatch)
	}
}

// panel draws axes and layers with the plotting area's upper edge at top.
func (w *writer) panel(p *Panel, number int, top float64) {
	bottom := top + float64(p.Height)
	left := max(p.Left, left)
	inner := Width - left - right
	px := func(v float64) float64 { return float64(left) + p.X.at(v)*float64(inner) }
	py := func(v float64) float64 { return bottom - p.Y.at(v)*float64(p.Height) }
	start := float64(left)
	for _, t := range p.X.ticks(10) {
		w.add(`<path class="%s" d="M%s %sV%s"/>`+"\n", t.class(), num(px(t.at)), num(top), num(bottom))
		if half := 3.6 * float64(utf8.RuneCountInString(t.label)); t.label != "" {
			w.text(min(px(t.at), Width-4-half), bottom+16, "tick", "middle", t.label)
		}
	}
	for _, t := range p.Y.ticks(max(p.Height/36, 2)) {
		if p.Y.Names == nil {
			w.add(`<path class="%s" d="M%s %sH%d"/>`+"\n", t.class(), num(start), num(py(t.at)), left+inner)
		}
		if t.label != "" {
			w.text(float64(left-7), py(t.at)+4, "tick", "end", t.label)
		}
	}
	w.add(`<clipPath id="c%d"><rect x="%d" y="%s" width="%d" height="%d"/></clipPath>`+"\n", number, left, num(top), inner, p.Height)
	w.add(`<g clip-path="url(#c%d)">`+"\n", number)
	for i := range p.Layers {
		w.layer(&p.Layers[i], px, py, [4]float64{float64(left), top, float64(left + inner), bottom})
	}
	w.add(`</g><rect class="frame" x="%d" y="%s" width="%d" height="%d"/>`+"\n", left, num(top), inner, p.Height)
	if p.X.Label != "" {
		w.text(float64(left)+float64(inner)/2, bottom+34, "", "middle", p.X.Label)
	}
	if p.Y.Label != "" {
		w.add(`<text transform="translate(%d %s) rotate(-90)" text-anchor="middle">%s</text>`+"\n", edge+6, num(top+float64(p.Height)/2), html.EscapeString(p.Y.Label))
	}
}

func (t *tick) class() string {
	if t.fine {
		return "fine"
	}
	return "grid"
}

// layer draws one of them; box are the left, upper, right and lower edge.
func (w *writer) layer(l *Layer, px, py func(float64) float64, box [4]float64) {
	tone := toneNames[l.Tone]
	switch l.Kind {
	case Line:
		w.add(`<path class="l %s" d="%s"/>`+"\n", tone, course(l.X, l.High, px, py, false))
	case Band, Trail:
		if len(l.X) == 0 {
			return
		}
		class := "b"
		if l.Kind == Trail {
			class = "e"
		}
		back := strings.Replace(course(l.X, l.Low, px, py, true), "M", "L", 1)
		w.add(`<path class="%s %s" d="%s%sZ"/>`+"\n", class, tone, course(l.X, l.High, px, py, false), back)
	case Level:
		w.add(`<path class="l %s" d="M%s %sH%s"/>`+"\n", tone, num(box[0]), num(py(l.High[0])), num(box[2]))
	case Mark:
		w.add(`<path class="l %s" d="M%s %sV%s"/>`+"\n", tone, num(px(l.X[0])), num(box[1]), num(box[3]))
	case Dots:
		for i := range l.X {
			w.add(`<circle class="d %s" cx="%s" cy="%s" r="4"/>`+"\n", tone, num(px(l.X[i])), num(py(l.High[i])))
		}
	case Bars:
		for i := range l.X {
			a, b := px(l.Low[0]), px(l.X[i])
			w.add(`<rect class="d %s" x="%s" y="%s" width="%s" height="9"/>`+"\n", tone, num(min(a, b)), num(py(l.High[i])-4.5), num(max(max(a, b)-min(a, b), 1)))
			if l.Labels == nil {
				continue
			}
			if b >= a {
				w.text(b+5, py(l.High[i])+4, "tick", "", l.Labels[i])
			} else {
				w.text(b-5, py(l.High[i])+4, "tick", "end", l.Labels[i])
			}
		}
	}
}

// course is the path through points, forth or back; points that lie in line with their neighbours are left out.
func course(x, y []float64, px, py func(float64) float64, back bool) string {
	var b strings.Builder
	n := len(x)
	index := func(i int) int {
		if back {
			return n - 1 - i
		}
		return i
	}
	command := "M"
	for i := range n {
		k := index(i)
		here := num(py(y[k]))
		if i > 0 && i < n-1 && here == num(py(y[index(i-1)])) && here == num(py(y[index(i+1)])) {
			continue
		}
		b.WriteString(command + num(px(x[k])) + " " + here)
		command = "L"
	}
	return b.String()
}
