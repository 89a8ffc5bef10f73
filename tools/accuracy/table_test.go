package main

import (
	"encoding/json"
	"strings"
	"testing"

	"ntp-daemon/internal/sim"
)

// TestTable: every scenario has its rows, and short runs of one of each kind give a table without gaps.
func TestTable(t *testing.T) {
	f, err := load("")
	if err != nil {
		t.Fatal(err)
	}
	jobs, err := table(f)
	if err != nil {
		t.Fatal(err)
	}
	rowsOf, kinds := map[string]int{}, map[string]bool{}
	var few []*job
	for _, j := range jobs {
		rowsOf[j.c.ID]++
		if kinds[j.c.Kind] {
			continue
		}
		kinds[j.c.Kind] = true
		j.seeds = 2
		if j.o.Duration = 3000; j.c.Event != nil {
			j.o.Duration = j.c.Event.At + 3000
		}
		few = append(few, j)
	}
	for _, c := range f.Cases {
		if rowsOf[c.ID] == 0 {
			t.Errorf("%s has no row", c.ID)
		}
	}
	rows, err := runAll(few, 2)
	if err != nil {
		t.Fatal(err)
	}
	text := summary(rows)
	for _, r := range rows {
		text += line(r)
	}
	for _, want := range []string{"P6", "steady", "converge", "holdover", "attack", "world:", "oracle", "overshoot", "peak"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
	if strings.Contains(text, "NaN") || strings.Contains(text, "Inf") {
		t.Errorf("a figure is missing in\n%s", text)
	}
	if _, err := json.Marshal(rows); err != nil {
		t.Error(err)
	}
}

func TestRow_Verdict(t *testing.T) {
	for _, row := range []struct {
		rms, must, goal float64
		want            string
	}{{1, 0, 0, ""}, {3, 2, 1, "FAILS"}, {1.5, 2, 1, "must"}, {0.5, 2, 1, "goal"}, {0.5, 2, 0, "must"}} {
		r := Row{Must: row.must, Goal: row.goal, Runs: []sim.Result{{RMS: row.rms}}}
		if v := r.verdict(); v != row.want {
			t.Errorf("%+v: %s", row, v)
		}
	}
}
