package loadgen

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Crowd is many key exchanges.
type Crowd struct {
	Exchange
	Count  int // exchanges
	AtOnce int // at one time; each begins as soon as another has ended
	WarmUp int // exchanges before those that are counted
	PIDs   []int
}

// Run makes the exchanges. The error is that of the first one if the server cannot be measured like this: ErrCurve,
// ErrNotOffered. Failures of single exchanges are counted as lost.
func (c *Crowd) Run(ctx context.Context) (Result, error) {
	var warm tally
	warm.crowd(ctx, c, max(c.WarmUp, 1))
	if errors.Is(warm.err, ErrCurve) || errors.Is(warm.err, ErrNotOffered) {
		return Result{}, warm.err
	}
	var t tally
	before, began := ReadUsage(c.PIDs), time.Now()
	t.crowd(ctx, c, c.Count)
	after, took := ReadUsage(c.PIDs), time.Since(began)
	r := Result{
		Seconds: took.Seconds(), Counts: Counts{Sent: t.took.n + t.failed, Valid: t.took.n}, Lost: t.failed,
		PerSecond: float64(t.took.n) / took.Seconds(), Latency: t.took.latency(), Server: cost(c.PIDs, before, after, t.took.n, took),
	}
	if t.err != nil {
		r.Failure = t.err.Error()
	}
	return r, nil
}

// tally collects exchanges of several goroutines.
type tally struct {
	mu     sync.Mutex
	begun  int
	took   histogram
	failed uint64
	err    error // of the first failure
}

// crowd makes n exchanges.
func (t *tally) crowd(ctx context.Context, c *Crowd, n int) {
	var all sync.WaitGroup
	for range min(max(c.AtOnce, 1), n) {
		all.Go(func() {
			for t.another(n) && ctx.Err() == nil {
				began := time.Now()
				_, err := c.run(ctx)
				t.note(time.Since(began), err)
			}
		})
	}
	all.Wait()
}

// another reports whether one more is to be made.
func (t *tally) another(n int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.begun++
	return t.begun <= n
}

func (t *tally) note(took time.Duration, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err == nil {
		t.took.add(took)
		return
	}
	t.failed++
	if t.err == nil {
		t.err = err
	}
}
