package program

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
)

// testPart is a part together with what stands in its way, how often it looked, and what it logged.
type testPart struct {
	mu       sync.Mutex
	obstacle error
	tries    int
	serving  int
	log      strings.Builder
	lost     chan error
	*Part
}

func newTestPart(obstacle error) *testPart {
	w := &testPart{obstacle: obstacle, lost: make(chan error)}
	open := func() error {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.tries++
		return w.obstacle
	}
	w.Part = NewPart("the thing", zerolog.New(w), open, func(ctx context.Context) error {
		w.serves(1)
		defer w.serves(-1)
		select {
		case <-ctx.Done():
			return nil
		case err := <-w.lost:
			return err
		}
	})
	return w
}

func (w *testPart) serves(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.serving += n
}

// Write takes a line of the log.
func (w *testPart) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.Write(b)
}

// meet makes err what stands in the way; nil: nothing.
func (w *testPart) meet(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.obstacle = err
}

// seen returns the tries so far, how many serve now, and the log.
func (w *testPart) seen() (tries, serving int, log string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.tries, w.serving, w.log.String()
}

// times counts a text in the log.
func (w *testPart) times(text string) int {
	_, _, log := w.seen()
	return strings.Count(log, text)
}

// TestPart_DownAndUp: what is missing is tried again at growing gaps, said once for each reason, and served once it comes.
func TestPart_DownAndUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTestPart(errors.New("no folder; make it"))
		if w.Try() == nil || w.Down() == nil || w.Down().Reason != "no folder; make it" {
			t.Fatalf("%+v", w.Down())
		}
		since := w.Down().Since
		ctx, end := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); _ = w.Run(ctx) }()
		time.Sleep(time.Hour)
		synctest.Wait()
		if tries, _, _ := w.seen(); tries < 60 || tries > 70 { // the first minute's doubling, then one a minute
			t.Errorf("%d tries in an hour", tries)
		}
		if n := w.times("is down"); n != 1 || !w.Down().Since.Equal(since) {
			t.Errorf("said %d times, down since %v", n, w.Down().Since.Sub(since))
		}
		w.meet(errors.New("another reason"))
		time.Sleep(lastPartGap)
		synctest.Wait()
		if n := w.times("is down"); n != 2 || w.Down().Reason != "another reason" || !w.Down().Since.Equal(since) {
			t.Errorf("said %d times: %+v", n, w.Down())
		}
		w.meet(nil)
		w.Again()
		synctest.Wait()
		if _, serving, log := w.seen(); w.Down() != nil || serving != 1 || !strings.Contains(log, "is up again") {
			t.Fatalf("%+v, %d: %s", w.Down(), serving, log)
		}
		w.lost <- errors.New("lost")
		synctest.Wait()
		_, serving, _ := w.seen()
		if d := w.Down(); d == nil || d.Reason != "lost" || serving != 0 {
			t.Errorf("%+v", d)
		}
		time.Sleep(firstPartGap)
		synctest.Wait()
		if _, serving, _ := w.seen(); w.Down() != nil || serving != 1 {
			t.Errorf("not taken up again after its loss: %+v", w.Down())
		}
		end()
		<-done
		if _, serving, _ := w.seen(); serving != 0 {
			t.Error("still served")
		}
	})
}

// TestPart_Ends: of an obstacle that ends the start nobody says that everything else runs; once it runs, all are said.
func TestPart_Ends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		taken := errors.New("taken")
		w := newTestPart(taken)
		w.Ends = func(err error) bool { return errors.Is(err, taken) }
		if err := w.Try(); !errors.Is(err, taken) || w.times("is down") != 0 {
			t.Errorf("%v, said %d times", err, w.times("is down"))
		}
		ctx, end := context.WithTimeout(t.Context(), 2*firstPartGap)
		defer end()
		_ = w.Run(ctx)
		if n := w.times("is down"); n != 1 {
			t.Errorf("said %d times", n)
		}
		other := newTestPart(errors.New("absent"))
		other.Ends = w.Ends
		if _ = other.Try(); other.times("is down") != 1 {
			t.Error("not said")
		}
	})
}

// TestBound: what keeps a program from an address comes with what helps, and stays what it was for the exit code.
func TestBound(t *testing.T) {
	for err, want := range map[error]string{
		syscall.EADDRINUSE: "end who has it", syscall.EACCES: "CAP_NET_BIND_SERVICE", syscall.EADDRNOTAVAIL: "[::] for all", syscall.ENOMEM: "",
	} {
		got := Bound(fmt.Errorf("listen: %w", err), "listen of [[server]]")
		if !errors.Is(got, err) || !strings.Contains(got.Error(), want) || (want != "") != strings.Contains(got.Error(), "listen of [[server]]") {
			t.Errorf("%v: %v", err, got)
		}
	}
	if Bound(nil, "listen") != nil {
		t.Error("an error of nothing")
	}
}

// TestPart_Reminder: one that stays down is said again once a day.
func TestPart_Reminder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTestPart(errors.New("no address"))
		_ = w.Try()
		ctx, end := context.WithTimeout(t.Context(), 49*time.Hour)
		defer end()
		_ = w.Run(ctx)
		if n := w.times("is down"); n != 3 {
			t.Errorf("said %d times in 49 h", n)
		}
	})
}

// TestPart_Close: what was opened and never served is given up.
func TestPart_Close(t *testing.T) {
	ended := false
	p := NewPart("x", zerolog.Nop(), func() error { return nil }, func(ctx context.Context) error { ended = ctx.Err() != nil; return nil })
	if p.Close(); ended {
		t.Error("served before it was opened")
	}
	if err := p.Try(); err != nil || p.Down() != nil {
		t.Fatal(err, p.Down())
	}
	if p.Close(); !ended {
		t.Error("not given up")
	}
}
