package poolke

import (
	"sync/atomic"

	"ntp-daemon/internal/nts/aead"
)

// askers has so many users ask again and again, until stop, which fails the test for each that got nothing. served counts exchanges.
func (w *testPool) askers(users int) (served *atomic.Int64, stop func()) {
	over, errs := make(chan struct{}), make(chan error)
	served = new(atomic.Int64)
	for range users {
		go func() {
			for {
				select {
				case <-over:
					errs <- nil
					return
				default:
				}
				if _, err := w.keyExchange([]aead.Algorithm{15}); err != nil {
					errs <- err
					return
				}
				served.Add(1)
			}
		}()
	}
	return served, func() {
		close(over)
		for range users {
			if err := <-errs; err != nil {
				w.t.Errorf("a user was lost: %v", err)
			}
		}
	}
}
