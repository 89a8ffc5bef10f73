package poolke

import (
	"testing"
	"time"

	"ntp-daemon/internal/nts/aead"
	"ntp-daemon/internal/nts/record"
)

// TestDrain_ReadinessFirst: a pool that is told to stop is not ready at once, still takes users for its delay, gives one
// under way the time to finish although no new one is taken, and shows all of that meanwhile.
func TestDrain_ReadinessFirst(t *testing.T) {
	w := newTestPool(t)
	w.cfg.DrainDelay, w.cfg.DrainTimeout = 2*time.Second, 20*time.Second
	asked, answer := make(chan struct{}), make(chan struct{})
	w.fake("a.example", func(c, n int, req *record.Request, hung <-chan struct{}) ([]byte, bool) {
		if req.Kind == record.FixedKey && c == 0 {
			close(asked)
			<-answer
		}
		return healthy(c, n, req, hung)
	}, nil)
	w.start()
	eventually(t, func() bool { return w.pool.currentStage() == serving })
	slow := make(chan error)
	go func() { _, err := w.keyExchange([]aead.Algorithm{15}); slow <- err }()
	<-asked
	stopped := time.Now()
	w.stop()
	eventually(t, func() bool { return w.pool.currentStage() == draining })
	if took := time.Since(stopped); took > time.Second {
		t.Errorf("ready for %v", took)
	}
	if _, err := w.keyExchange([]aead.Algorithm{15}); err != nil && time.Since(stopped) < w.cfg.DrainDelay {
		t.Errorf("a user during the delay: %v", err)
	}
	eventually(t, func() bool {
		conn, err := w.dial(t.Context(), "", "")
		if err == nil {
			_ = conn.Close()
		}
		return err != nil
	})
	if took := time.Since(stopped); took < w.cfg.DrainDelay {
		t.Errorf("the listener was closed after %v", took)
	}
	close(answer)
	if err := <-slow; err != nil {
		t.Errorf("the user under way: %v", err)
	}
	if err := <-w.done; err != nil {
		t.Error(err)
	}
	w.done <- nil
}

// TestDrain_TakesLeave: kept connections to time sources end with TLS's close_notify, not with a bare end or a reset.
func TestDrain_TakesLeave(t *testing.T) {
	w := newTestPool(t)
	f := w.fake("a.example", healthy, nil)
	w.start()
	if _, err := w.keyExchange([]aead.Algorithm{15}); err != nil {
		t.Fatal(err)
	}
	w.requireCount(Served, 1)
	requests, _, _ := f.seen()
	before := f.bytes.Load()
	w.stop()
	if err := <-w.done; err != nil {
		t.Error(err)
	}
	w.done <- nil
	const alert = 5 + 2 + 1 + 16 // an encrypted record with an alert: header, alert, its type, tag (RFC 8446 §5.2)
	eventually(t, func() bool { return f.bytes.Load() >= before+alert })
	if after, _, _ := f.seen(); len(after) != len(requests) {
		t.Errorf("%d requests, %d before", len(after), len(requests))
	}
}
