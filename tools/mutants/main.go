// mutants breaks the code on purpose, one place at a time, and runs the test that must notice. A mutant that no test
// kills shows a gap: the test does not measure what it says. The mutants stand in tools/mutants/list, the suite is run
// with `go test -overlay`, so that the tree is not touched.
//
//	go run ./tools/mutants            all
//	go run ./tools/mutants changed    those that the commits since -base touch: their file first, then its neighbours and tests
//	go run ./tools/mutants 'server:'  those whose name matches the regular expression
//
// The exit code is 1 if one survives, and 2 if one cannot be tried: its old text is not found exactly once, it does not
// compile, its test does not exist or fails without it.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"runtime"
	"sync"
	"time"
)

func main() { os.Exit(run()) }

func run() int {
	lists := flag.String("list", "tools/mutants/list", "folder of the lists")
	base := flag.String("base", "", "for changed: the commit since which; default: where the branch left origin/main, else a day before the last commit")
	limit := flag.Duration("limit", time.Hour, "no new mutant is tried after this time; those left out are counted")
	flag.Parse()
	all, err := load(*lists)
	if err == nil {
		err = check(all)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		return 2
	}
	picked, err := pick(all, flag.Arg(0), *base)
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		return 2
	}
	ctx, cancel := context.WithTimeout(context.Background(), *limit)
	defer cancel()
	if err := baseline(picked); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		return 2
	}
	return try(ctx, picked)
}

// try tries the mutants, as many at a time as there are processors, and reports.
func try(ctx context.Context, picked []mutant) int {
	var mu sync.Mutex
	count := map[fate]int{}
	var alive []string // said again at the end: of a long run only the last lines may be kept
	next := make(chan mutant)
	var workers sync.WaitGroup
	for range runtime.NumCPU() {
		workers.Go(func() {
			for m := range next {
				begin := time.Now()
				f, why := m.try()
				mu.Lock()
				count[f]++
				fmt.Printf("%-8s %5.1f s  %s\n", f, time.Since(begin).Seconds(), m.Name)
				if f != killed {
					fmt.Printf("         %s: %s must fail\n%s", m.File, m.Test, why)
					alive = append(alive, fmt.Sprintf("%s: %s (%s: %s must fail)", f, m.Name, m.File, m.Test))
				}
				mu.Unlock()
			}
		})
	}
	left := 0
	for _, m := range picked {
		select {
		case <-ctx.Done():
			left++
			continue
		default:
		}
		next <- m
	}
	close(next)
	workers.Wait()
	for _, line := range alive {
		fmt.Println(line)
	}
	fmt.Printf("%d mutants: %d killed, %d survived, %d broken, %d left out when the time was up\n",
		len(picked), count[killed], count[survived], count[broken], left)
	switch {
	case count[broken] > 0:
		return 2
	case count[survived] > 0:
		return 1
	}
	return 0
}
