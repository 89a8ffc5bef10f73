package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"ntp-daemon/internal/sim"
)

// publish writes accuracy.md, accuracy/results.json and the pictures into dir.
func publish(dir string, rows []*Row) error {
	records := make([]Record, len(rows))
	for i, r := range rows {
		records[i] = r.record()
	}
	text, err := encode(records)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(dir, "accuracy"), 0o755); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	if err := replace(filepath.Join(dir, "accuracy", "results.json"), text); err != nil {
		return err
	}
	return redraw(dir)
}

// redraw writes the page and the pictures again, from the results that are there; some pictures are of runs made for them.
func redraw(dir string) error {
	r, err := rewrite(dir)
	if err != nil {
		return err
	}
	g := &gallery{cases: map[string]*sim.Case{}, report: r, seeds: 9}
	for _, list := range [][]*sim.Case{r.listed, r.others} {
		for _, c := range list {
			g.cases[c.ID] = c
		}
	}
	for _, f := range figures() {
		p, err := f.draw(g)
		if err != nil {
			return fmt.Errorf("draw %s: %w", f.file, err)
		}
		if err := replace(filepath.Join(dir, "accuracy", f.file), p.SVG()); err != nil {
			return err
		}
	}
	return nil
}

// rewrite writes the page, and what README.md beside dir says of it, from the results that are there.
func rewrite(dir string) (*report, error) {
	text, err := os.ReadFile(filepath.Join(dir, "accuracy", "results.json"))
	if err != nil {
		return nil, fmt.Errorf("read results: %w", err)
	}
	rows, err := decode(text)
	if err != nil {
		return nil, err
	}
	r, err := newReport(rows)
	if err != nil {
		return nil, err
	}
	if err := replace(filepath.Join(dir, "accuracy.md"), []byte(r.document())); err != nil {
		return nil, err
	}
	readme := filepath.Join(dir, "..", "README.md")
	old, err := os.ReadFile(readme)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read README.md: %w", err)
	}
	return r, replace(readme, r.inReadme(old))
}

// Lines of README.md between which the headline figures stand.
const (
	readmeBegin = "<!-- accuracy: written by make accuracy -->\n"
	readmeEnd   = "<!-- end of accuracy -->\n"
)

// inReadme puts the headline figures into the text; one without the two lines stays as it is.
func (r *report) inReadme(text []byte) []byte {
	before, rest, ok := bytes.Cut(text, []byte(readmeBegin))
	_, after, closed := bytes.Cut(rest, []byte(readmeEnd))
	if !ok || !closed {
		return text
	}
	return slices.Concat(before, []byte(readmeBegin), []byte(r.headline()), []byte(readmeEnd), after)
}

// replace writes a file unless it is like that already.
func replace(path string, text []byte) error {
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, text) {
		return nil
	}
	if err := os.WriteFile(path, text, 0o644); err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	return nil
}
