package program

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
)

// world is what a part finds: what stands in its way, and how often it looked.
type world struct {
	obstacle error
	tries    int
	serving  int
	lost     chan error
	log      strings.Builder
	*Part
}

func newWorld(obstacle error) *world {
	w := &world{obstacle: obstacle, lost: make(chan error)}
	w.Part = NewPart("the thing", zerolog.New(&w.log), func() error { w.tries++; return w.obstacle }, func(ctx context.Context) error {
		w.serving++
		defer func() { w.serving-- }()
		select {
		case <-ctx.Done():
			return nil
		case err := <-w.lost:
			return err
		}
	})
	return w
}

// TestPart_DownAndUp: what is missing is tried again at growing gaps, said once for each reason, and served once it comes.
func TestPart_DownAndUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(errors.New("no folder; make it"))
		if w.Try() == nil || w.Down() == nil || w.Down().Reason != "no folder; make it" {
			t.Fatalf("%+v", w.Down())
		}
		since := w.Down().Since
		ctx, end := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); _ = w.Run(ctx) }()
		time.Sleep(time.Hour)
		synctest.Wait()
		if w.tries < 60 || w.tries > 70 { // the first minute's doubling, then one a minute
			t.Errorf("%d tries in an hour", w.tries)
		}
		if n := strings.Count(w.log.String(), "is down"); n != 1 || !w.Down().Since.Equal(since) {
			t.Errorf("said %d times, down since %v", n, w.Down().Since.Sub(since))
		}
		w.obstacle = errors.New("another reason")
		time.Sleep(lastPartGap)
		synctest.Wait()
		if n := strings.Count(w.log.String(), "is down"); n != 2 || w.Down().Reason != "another reason" || !w.Down().Since.Equal(since) {
			t.Errorf("said %d times: %+v", n, w.Down())
		}
		w.obstacle = nil
		w.Again()
		synctest.Wait()
		if w.Down() != nil || w.serving != 1 || !strings.Contains(w.log.String(), "is up again") {
			t.Fatalf("%+v, %d: %s", w.Down(), w.serving, w.log.String())
		}
		w.lost <- errors.New("lost")
		synctest.Wait()
		if d := w.Down(); d == nil || d.Reason != "lost" || w.serving != 0 {
			t.Errorf("%+v", d)
		}
		time.Sleep(firstPartGap)
		synctest.Wait()
		if w.Down() != nil || w.serving != 1 {
			t.Errorf("not taken up again after its loss: %+v", w.Down())
		}
		end()
		<-done
		if w.serving != 0 {
			t.Error("still served")
		}
	})
}

// TestPart_Reminder: one that stays down is said again once a day.
func TestPart_Reminder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(errors.New("no address"))
		_ = w.Try()
		ctx, end := context.WithTimeout(t.Context(), 49*time.Hour)
		defer end()
		_ = w.Run(ctx)
		if n := strings.Count(w.log.String(), "is down"); n != 3 {
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
