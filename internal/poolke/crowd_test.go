package poolke

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ntp-daemon/internal/nts/aead"
)

// TestD3_18_SlowHandshakes: hello after hello that comes a byte at a time is cut off by the limit of that step, and users who
// come meanwhile are served as if nobody else were there.
func TestD3_18_SlowHandshakes(t *testing.T) {
	w := newTestPool(t)
	w.fake("ts.example", healthy, nil)
	w.cfg.HandshakeTimeout = time.Second
	w.start()
	if _, err := w.keyExchange([]aead.Algorithm{aead.SIVCMAC256}); err != nil { // whoever is the first waits for the lists
		t.Fatal(err)
	}
	const crowd = 50
	var wait sync.WaitGroup
	var cut atomic.Int64
	for range crowd {
		conn, err := w.dial(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		wait.Go(func() {
			defer conn.Close()
			begin := time.Now()
			_ = conn.SetDeadline(begin.Add(10 * time.Second))
			ended := make(chan struct{})
			go func() { _, _ = io.Copy(io.Discard, conn); close(ended) }()
			hello := append([]byte{0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3}, make([]byte, 501)...) // of 512 bytes, announced
			for _, b := range hello {
				select {
				case <-ended:
				case <-time.After(50 * time.Millisecond):
					_, _ = conn.Write([]byte{b})
					continue
				}
				break
			}
			if took := time.Since(begin); took > 9*time.Second {
				t.Errorf("cut off after %v", took)
				return
			}
			cut.Add(1)
		})
	}
	for range 20 {
		if _, err := w.keyExchange([]aead.Algorithm{aead.SIVCMAC256}); err != nil {
			t.Errorf("a user beside them: %v", err)
		}
	}
	wait.Wait()
	if cut.Load() != crowd {
		t.Errorf("%d of %d were cut off", cut.Load(), crowd)
	}
	w.requireCount(TLSFailed, crowd)
}

// TestD3_19_ThousandHandshakes: a thousand users at once are all served where there is room for them; where there is not,
// each is served or closed, at least as many as there is room for are served, and afterwards everybody is again.
func TestD3_19_ThousandHandshakes(t *testing.T) {
	for _, row := range []struct {
		name               string
		users, connections int
	}{{"room for all", 1000, 4096}, {"room for a tenth", 300, 30}} {
		t.Run(row.name, func(t *testing.T) {
			w := newTestPool(t)
			w.fake("ts.example", healthy, nil)
			w.cfg.MaxConnections = row.connections
			w.cfg.Timeout, w.cfg.HandshakeTimeout = time.Minute, time.Minute
			w.start()
			var served, failed atomic.Int64
			var wait sync.WaitGroup
			start := make(chan struct{})
			for range row.users {
				wait.Go(func() {
					<-start
					if _, err := w.patient(); err != nil {
						failed.Add(1)
					} else {
						served.Add(1)
					}
				})
			}
			close(start)
			wait.Wait()
			t.Logf("%d served, %d closed", served.Load(), failed.Load())
			if row.connections > row.users && failed.Load() > 0 {
				t.Errorf("%d of %d users failed", failed.Load(), row.users)
			}
			if served.Load() < int64(min(row.users, row.connections)) {
				t.Errorf("%d users were served, there was room for %d", served.Load(), row.connections)
			}
			if _, err := w.keyExchange([]aead.Algorithm{aead.SIVCMAC256}); err != nil {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
}

// patient is one user who waits for a minute.
func (w *testPool) patient() ([]byte, error) {
	raw, err := net.Dial("tcp", w.addr.String())
	if err != nil {
		return nil, err
	}
	defer raw.Close()
	_ = raw.SetDeadline(time.Now().Add(time.Minute))
	return w.over(raw)
}
