// Command accuracy runs the production discipline through the scenarios of internal/sim and says how accurate the clock was:
//
//	go run ./tools/accuracy -scenario 'A1_lan,A3_.*' -poll P6 -seeds 3
//
// prints a line for each scenario, medians over the seeds, beside what chrony reached. With -all it runs the whole table. Runs are deterministic; times that runs took are printed and never stored.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"ntp-daemon/internal/sim"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "accuracy:", err)
		os.Exit(1)
	}
}

func run() error {
	scenarios := flag.String("scenario", "[A-T].*", "regular expressions for the scenarios, separated by commas")
	policies := flag.String("poll", "P6", "poll policies: P6, PD, P4, P0, PDi, default")
	seeds := flag.Int("seeds", 3, "runs of each scenario")
	first := flag.Uint64("seed", 1, "seed of the first run")
	file := flag.String("file", "", "file of scenarios (default: those that come with internal/sim)")
	oracle := flag.Bool("oracle", false, "compare with a Kalman filter that knows the noise")
	all := flag.Bool("all", false, "run the whole table")
	out := flag.String("json", "", "write all results to this file")
	workers := flag.Int("j", 1, "runs at the same time")
	most := flag.Int("most", 1000, "with -all: at most so many runs of each scenario, for a first look")
	dir := flag.String("doc", "", "with -all: write accuracy.md, accuracy/results.json and the pictures into this folder")
	again := flag.String("redraw", "", "run nothing, write accuracy.md and the pictures in this folder again from accuracy/results.json in it")
	flag.Parse()
	if *again != "" {
		return redraw(*again)
	}

	debug.SetGCPercent(800) // worlds are small and short-lived
	cases, err := load(*file)
	if err != nil {
		return err
	}
	var jobs []*job
	if *all {
		jobs, err = table(cases)
		for _, j := range jobs {
			j.seeds = min(j.seeds, *most)
		}
	} else {
		jobs, err = chosen(cases, *scenarios, *policies, *first, *seeds, sim.Options{Oracle: *oracle})
	}
	if err != nil {
		return err
	}
	fmt.Println(heading)
	start := time.Now()
	rows, err := runAll(jobs, *workers)
	if err != nil {
		return err
	}
	if *all {
		fmt.Print(summary(rows))
	}
	if *all && *dir != "" {
		if err := publish(*dir, rows); err != nil {
			return err
		}
	}
	fmt.Printf("%d rows in %.1f s\n", len(rows), time.Since(start).Seconds())
	return write(*out, rows)
}

// write writes all results to a file, if it has a name.
func write(path string, rows []*Row) error {
	if path == "" {
		return nil
	}
	text, err := json.Marshal(rows)
	if err != nil {
		return fmt.Errorf("encode results: %w", err)
	}
	if err := os.WriteFile(path, append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("write results: %w", err)
	}
	return nil
}

// load reads the scenarios of a file, or all that come with the simulator.
func load(path string) (*sim.File, error) {
	if path != "" {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("read scenarios: %w", err)
		}
		return sim.LoadScenarios(text)
	}
	f, err := sim.Listed()
	if err != nil {
		return nil, err
	}
	more, err := sim.Unlisted()
	if err != nil {
		return nil, err
	}
	f.Cases = append(f.Cases, more.Cases...)
	return f, nil
}

func chosen(f *sim.File, scenarios, policies string, first uint64, seeds int, o sim.Options) ([]*job, error) {
	cases, err := f.Matching(strings.Split(scenarios, ",")...)
	if err != nil {
		return nil, err
	}
	var jobs []*job
	for _, p := range strings.Split(policies, ",") {
		for _, c := range cases {
			o := o
			o.Oracle = o.Oracle && len(c.Servers) == 1
			jobs = append(jobs, &job{c: c, policy: p, first: first, seeds: seeds, o: o})
		}
	}
	return jobs, nil
}
