package main

import (
	"fmt"
	"slices"
	"sync"

	"ntp-daemon/internal/sim"
)

// Row is one scenario under one policy, with every run: what build/accuracy.json is a list of.
type Row struct {
	Scenario    string       `json:"scenario"`
	Description string       `json:"description"`
	Kind        string       `json:"kind"`
	Listed      bool         `json:"listed"` // chrony was measured on it
	Policy      string       `json:"policy"`
	Chrony      sim.Anchor   `json:"chrony"` // under the same policy; its default beside ours
	Must        float64      `json:"must"`   // RMS, s; 0: no target
	Goal        float64      `json:"goal"`   // RMS, s; 0: no target, or one weaker than Must
	Linear      float64      `json:"linear"` // what a linear estimator can reach with as many packets, s; 0: not known
	Bayes       float64      `json:"bayes"`  // what any estimator can reach at the fixed interval, s; 0: not known
	Runs        []sim.Result `json:"runs"`   // by seed
	Case        *sim.Case    `json:"-"`
}

// job is a row that is to be run.
type job struct {
	c      *sim.Case
	policy string
	first  uint64
	seeds  int
	o      sim.Options
}

// runAll runs the jobs, some runs at a time, and prints each row in its turn.
func runAll(jobs []*job, workers int) ([]*Row, error) {
	type run struct{ job, seed int }
	var todo []run
	results, errs := make([][]sim.Result, len(jobs)), make([]error, len(jobs))
	left := make([]sync.WaitGroup, len(jobs))
	for i, j := range jobs {
		results[i] = make([]sim.Result, j.seeds)
		left[i].Add(j.seeds)
		for s := range j.seeds {
			todo = append(todo, run{i, s})
		}
	}
	next := make(chan run)
	var mu sync.Mutex
	for range max(workers, 1) {
		go func() {
			for t := range next {
				j := jobs[t.job]
				r, err := j.c.Run(j.policy, j.first+uint64(t.seed), j.o)
				if err == nil {
					results[t.job][t.seed] = *r
				} else {
					mu.Lock()
					errs[t.job] = err
					mu.Unlock()
				}
				left[t.job].Done()
			}
		}()
	}
	go func() {
		defer close(next)
		for _, t := range todo {
			next <- t
		}
	}()
	var rows []*Row
	for i, j := range jobs {
		left[i].Wait()
		if errs[i] != nil {
			return nil, errs[i]
		}
		row, err := j.row(results[i])
		if err != nil {
			return nil, err
		}
		fmt.Print(line(row))
		rows = append(rows, row)
	}
	return rows, nil
}

func (j *job) row(runs []sim.Result) (*Row, error) {
	c := j.c
	r := &Row{
		Scenario: c.ID, Description: c.Description, Kind: c.Kind, Policy: j.policy, Listed: len(c.Anchors) > 0, Runs: runs,
		Chrony: c.Anchors["chrony_"+j.policy], Case: c,
	}
	if r.Chrony == (sim.Anchor{}) {
		if r.Chrony = c.Anchors["chrony_PD"]; r.Chrony == (sim.Anchor{}) {
			r.Chrony = c.Anchors["chrony_PDi"]
		}
	}
	if t := c.Targets; t != nil && j.policy == "P6" {
		r.Must = t.MustRMS
		if t.GoalRMS <= t.MustRMS {
			r.Goal = t.GoalRMS
		}
	}
	if b := c.Bounds; b != nil && j.policy == "P6" {
		r.Bayes = b.Bayes
	}
	linear, ok, err := c.Linear(&runs[0])
	if err != nil {
		return nil, fmt.Errorf("bound of %s: %w", c.ID, err)
	}
	if ok {
		r.Linear = linear
	}
	return r, nil
}

// median of a figure over the runs, and its largest.
func (r *Row) median(of func(*sim.Result) float64) (mid, worst float64) {
	v := make([]float64, len(r.Runs))
	for i := range r.Runs {
		v[i] = of(&r.Runs[i])
	}
	slices.Sort(v)
	n := len(v)
	return (v[n/2] + v[(n-1)/2]) / 2, v[n-1]
}

func (r *Row) rms() float64 {
	mid, _ := r.median(func(r *sim.Result) float64 { return r.RMS })
	return mid
}

func (r *Row) packets() float64 {
	mid, _ := r.median(func(r *sim.Result) float64 { return float64(r.Packets) })
	return mid
}

// honestyKind is what the row's seconds count for: while the only server has stepped and the client has not yet followed, no bound
// relative to that server can be true, so that those are counted by themselves.
func (r *Row) honestyKind() string {
	if e := r.Case.Event; e != nil && e.Kind == "server_step" {
		return e.Kind
	}
	return r.Kind
}

// honesty adds up seconds over the runs.
type honesty struct{ served, above, one, three int }

func (h *honesty) add(r *Row) {
	for i := range r.Runs {
		x := &r.Runs[i]
		h.served, h.above, h.one, h.three = h.served+x.Served, h.above+x.Uncovered, h.one+x.Within1, h.three+x.Within3
	}
}

func share(n, of int) float64 { return float64(n) / float64(max(of, 1)) }
