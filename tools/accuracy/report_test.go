package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ntp-daemon/internal/sim"
)

const docs = "../../docs"

// TestPage: docs/accuracy.md and the headline of README.md are what the recorded results give, to the byte.
func TestPage(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(docs, "accuracy", "results.json"))
	if err != nil {
		t.Fatal(err)
	}
	records, err := decode(text)
	if err != nil {
		t.Fatal(err)
	}
	again, err := encode(records)
	if err != nil || !bytes.Equal(again, text) {
		t.Errorf("results.json is not as it is written (%v)", err)
	}
	r, err := newReport(records)
	if err != nil {
		t.Fatal(err)
	}
	const remedy = "write it again: go run ./tools/accuracy -redraw docs"
	page, err := os.ReadFile(filepath.Join(docs, "accuracy.md"))
	if err != nil || string(page) != r.document() {
		t.Errorf("docs/accuracy.md is not what the results say (%v); %s", err, remedy)
	}
	readme, err := os.ReadFile(filepath.Join(docs, "..", "README.md"))
	if err != nil || !bytes.Contains(readme, []byte(readmeBegin)) || !bytes.Equal(readme, r.inReadme(readme)) {
		t.Errorf("README.md does not say what the results say (%v); %s", err, remedy)
	}
}

// TestTables: every row has as many cells as its heading.
func TestTables(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(docs, "accuracy.md"))
	if err != nil {
		t.Fatal(err)
	}
	columns, tables, rows := 0, 0, 0
	for line := range strings.Lines(string(page)) {
		line = strings.TrimSpace(line)
		n := strings.Count(line, "|")
		switch {
		case !strings.HasPrefix(line, "|"):
			columns = 0
			continue
		case columns == 0:
			columns = n
			tables++
		case n != columns || !strings.HasSuffix(line, "|"):
			t.Errorf("%d cells in a table of %d: %s", n-1, columns-1, line)
		default:
			rows++
		}
		if strings.Contains(line, "NaN") || strings.Contains(line, "Inf") {
			t.Errorf("no figure: %s", line)
		}
	}
	if tables < 8 || rows < 100 {
		t.Errorf("%d tables with %d rows", tables, rows)
	}
}

// TestPictures: each is there, is XML with words that can be read and found, follows the reader's colour scheme, loads nothing, and is
// small.
func TestPictures(t *testing.T) {
	for _, f := range figures() {
		text, err := os.ReadFile(filepath.Join(docs, "accuracy", f.file))
		if err != nil {
			t.Error(err)
			continue
		}
		d := xml.NewDecoder(bytes.NewReader(text))
		words := 0
		for {
			token, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", f.file, err)
			}
			if e, ok := token.(xml.StartElement); ok && e.Name.Local == "text" {
				words++
			}
		}
		s := string(text)
		if words < 8 || !strings.Contains(s, "prefers-color-scheme:dark") || strings.Contains(s, "href") || strings.Contains(s, "NaN") || len(s) > 80_000 {
			t.Errorf("%s: %d texts, %d bytes", f.file, words, len(s))
		}
	}
}

// TestAllan: white phase noise of one unit gives √3/τ, a frequency that wanders w·√(τ/3), a constant one nothing.
func TestAllan(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	const n = 200_000
	white, wander, steady := make([]float64, n), make([]float64, n), make([]float64, n)
	x, y := 0., 0.
	for i := range n {
		white[i], wander[i], steady[i] = rng.NormFloat64(), x, 5*float64(i)
		x += y
		y += 1e-3 * rng.NormFloat64()
	}
	for _, tau := range []int{1, 10, 300} {
		if got, want := allan(white, tau), math.Sqrt(3)/float64(tau); math.Abs(got/want-1) > 0.05 {
			t.Errorf("white noise at %d: %g, want %g", tau, got, want)
		}
		if got := allan(steady, tau); got != 0 {
			t.Errorf("constant frequency at %d: %g", tau, got)
		}
	}
	for _, tau := range []int{10, 300} {
		if got, want := allan(wander, tau), 1e-3*math.Sqrt(float64(tau)/3); math.Abs(got/want-1) > 0.1 {
			t.Errorf("wander at %d: %g, want %g", tau, got, want)
		}
	}
	if !math.IsNaN(allan(white[:4], 2)) {
		t.Error("a deviation from no difference")
	}
}

func TestPower(t *testing.T) {
	for v, want := range map[float64]string{1e-9: "10⁻⁹", 3e-10: "3 × 10⁻¹⁰", 1: "10⁰"} {
		if got := power(v); got != want {
			t.Errorf("%g: %q, want %q", v, got, want)
		}
	}
	for v, want := range map[float64]string{1e-5: "10 µs", 1.5e-3: "1.5 ms", 2e-1: "200 ms"} {
		if got := short(v); got != want {
			t.Errorf("%g: %q, want %q", v, got, want)
		}
	}
}

// TestReached: what the table says of a figure at, above and below the targets; a goal that is weaker than its must is none, and a little
// more than chrony's is enough where nobody can be better.
func TestReached(t *testing.T) {
	c := &sim.Case{ID: "x", Targets: &sim.Targets{MustRMS: 10, GoalRMS: 5}}
	for v, want := range map[num]string{4: "goal", 5: "goal", 6: "must", 10: "must", 11: "**missed**", 19: "**missed**"} {
		if got := reached(c, &Record{RMS: Pair{Median: v}}); got != want {
			t.Errorf("%g: %q, want %q", v, got, want)
		}
	}
	c.Targets.GoalRMS = 12
	if got := reached(c, &Record{RMS: Pair{Median: 9}}); got != "must, no goal" {
		t.Errorf("weaker goal: %q", got)
	}
	c = &sim.Case{ID: "A10_staticasym", Targets: &sim.Targets{MustRMS: 9}, Anchors: map[string]sim.Anchor{"chrony_P6": {RMS: 10}}}
	if got := reached(c, &Record{RMS: Pair{Median: 10.1}}); got != "must, no goal" {
		t.Errorf("a bias that nobody sees: %q", got)
	}
}

func TestNever(t *testing.T) {
	if never(-1) < 1e8 || never(7) != 7 || after(num(never(-1))) != "never" || after(12.4) != "12" {
		t.Errorf("%g %g %s", never(-1), never(7), after(12.4))
	}
}
