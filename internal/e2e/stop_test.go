package e2e_test

import (
	"sync"
	"syscall"
	"testing"
	"time"

	"ntp-daemon/internal/suite"
)

// TestL03_StopsUnderLoad: pool, server and client end within two seconds of SIGTERM, with 0, while requests come as fast
// as they can, keys are exchanged with both, and connections that say nothing are open.
func TestL03_StopsUnderLoad(t *testing.T) {
	t.Parallel()
	srv, other := pair(t)
	server, front := srv.start("server", server("server")), srv.start("pool", poolFront)
	srv.up(server)
	front.WaitLog("listening on")
	follower := srv.start("client", client("client", "nts-pool", "localhost:4460"))
	srv.up(follower)
	end := make(chan struct{})
	flooded, _ := flood(t, other, srv, 1, end)
	var all sync.WaitGroup
	for _, port := range []int{8080, 4460, 8080, 4460} {
		all.Go(func() {
			for {
				select {
				case <-end:
					return
				default:
					_, _ = srv.exchange(port, nil) // fails as soon as the program ends
				}
			}
		})
	}
	idle(t, srv, "127.0.0.1:8080", 100)
	idle(t, srv, "127.0.0.1:4460", 100)
	time.Sleep(500 * time.Millisecond) // the load
	for _, p := range []*suite.Proc{front, server, follower} {
		begin := time.Now()
		_ = p.Cmd.Process.Signal(syscall.SIGTERM)
		if code, took := p.Exit(), time.Since(begin); code != 0 || took > 2*time.Second {
			t.Errorf("%s: exit %d after %v", p.Name, code, took)
		} else {
			t.Logf("%s: ended after %v", p.Name, took.Round(time.Millisecond))
		}
		calm(t, p)
	}
	close(end)
	all.Wait()
	flooded.Wait()
}
