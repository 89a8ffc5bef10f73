package e2e_test

import (
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"ntp-daemon/internal/suite"
)

// TestL07_Soak keeps a server with NTS, a pool in front of it and two clients busy: requests as fast as they go, honest
// and forged; key exchanges with both; connections that say nothing; readers of the observation socket; reloads and
// turning cookie keys. Then everything must be as it was before: memory, descriptors, threads, goroutines.
// SOAK=30m sets the time under load; `make soak`.
func TestL07_Soak(t *testing.T) {
	length := 6 * time.Second
	if v := os.Getenv("SOAK"); v != "" {
		d, err := time.ParseDuration(v)
		if err != nil {
			t.Fatal(err)
		}
		length = d
	}
	t.Setenv("GOGC", "100") // without the ballast of a key exchange server, in whose swing a leak would not show
	srv, other := pair(t)   // not parallel: other tests' load would be this one's noise
	conf := strings.Replace(server("server", "[keyset]\nkey-rotation-interval = 2\nstale-key-count = 8\nkey-storage-path = \"{dir}/keys\""),
		"listen = \"0.0.0.0:123\"", "listen = \"0.0.0.0:123\"\nrate-limiting-cache-size = 4096\nrate-limiting-cutoff-ms = 1", 1)
	p := []*suite.Proc{
		srv.start("server", conf), srv.start("pool", poolFront),
		srv.start("viapool", client("viapool", "nts-pool", "localhost:4460")),
		srv.start("direct", client("direct", "server", "127.0.0.1:123")),
	}
	twin := newTestHost(t) // the same programs without load: how many goroutines are right
	twins := []*suite.Proc{
		twin.start("server", conf), twin.start("pool", poolFront),
		twin.start("viapool", client("viapool", "nts-pool", "localhost:4460")),
		twin.start("direct", client("direct", "server", "127.0.0.1:123")),
	}
	for _, s := range []struct {
		*testHost
		p []*suite.Proc
	}{{srv, p}, {twin, twins}} {
		for _, name := range []int{0, 2, 3} {
			s.up(s.p[name])
		}
	}
	var load soakLoad
	load.run(t, srv, other, p, max(length/4, 2*time.Second)) // the first load: what it leaves is the base line
	before := settle(t, p)
	load.run(t, srv, other, p, length)
	t.Logf("%v of load: %d requests forged, %d answered ones, %d key exchanges, %d idle connections, %d snapshots, %d reloads",
		length, load.forged.Load(), load.asked.Load(), load.exchanged.Load(), load.idle.Load(), load.read.Load(), load.reloads.Load())
	after := settle(t, p)
	for i, a := range after {
		b := before[i]
		t.Logf("%-8s before: %v; after: %v", p[i].Name, b, a)
		// 5 %, or what the collector lets a heap of its least size, 4 MiB, swing.
		if limit := max(b.rss*105/100, b.rss+4<<10); a.rss > limit {
			t.Errorf("%s: memory grew from %d to %d KiB", p[i].Name, b.rss, a.rss)
		}
		if a.fds > b.fds+1 { // a kept connection between pool and server may be there or not
			t.Errorf("%s: %d descriptors, %d before", p[i].Name, a.fds, b.fds)
		}
		if a.threads > b.threads+6 { // the runtime starts threads for blocking calls and keeps them
			t.Errorf("%s: %d threads, %d before", p[i].Name, a.threads, b.threads)
		}
		calm(t, p[i])
	}
	for _, i := range []int{0, 2, 3} { // still at work
		srv.up(p[i])
	}
	for i := range p {
		right, now := goroutines(t, twins[i]), goroutines(t, p[i])
		t.Logf("%-8s %d goroutines, %d in the twin without load", p[i].Name, now, right)
		// A kept connection between pool and server may be there or not, and a thread of key exchange keeps eight spare strands.
		if now > right+1+8 {
			t.Errorf("%s: %d goroutines, %d in the twin without load", p[i].Name, now, right)
		}
	}
}

// soakLoad is everything that keeps the programs busy.
type soakLoad struct {
	forged, asked, exchanged, idle, read, reloads atomic.Uint64
}

func (l *soakLoad) run(t *testing.T, srv, other *testHost, p []*suite.Proc, length time.Duration) {
	t.Helper()
	end := make(chan struct{})
	flooded, total := flood(t, other, srv, 1, end)
	var all sync.WaitGroup
	repeat := func(f func()) {
		all.Go(func() {
			for {
				select {
				case <-end:
					return
				default:
					f()
				}
			}
		})
	}
	a := newAsker(t, srv.Namespace, "127.0.0.1:123")
	repeat(func() {
		if a.ask() {
			l.asked.Add(1)
		}
		time.Sleep(2 * time.Millisecond) // slower than the rate limit
	})
	for _, port := range []int{8080, 4460} {
		repeat(func() {
			if _, err := srv.exchange(port, nil); err == nil {
				l.exchanged.Add(1)
			}
			time.Sleep(5 * time.Millisecond) // leaves the others a share of the machine
		})
	}
	repeat(func() {
		for _, port := range []int{8080, 4460} {
			var list []net.Conn
			inside(t, srv.Namespace, func() error {
				for range 20 {
					if c, err := net.DialTimeout("tcp4", fmt.Sprintf("127.0.0.1:%d", port), time.Second); err == nil {
						list = append(list, c)
						l.idle.Add(1)
					}
				}
				return nil
			})
			time.Sleep(50 * time.Millisecond)
			closeAll(list)
		}
	})
	repeat(func() {
		for _, name := range []string{"server", "viapool", "direct"} {
			if suite.Snapshot(srv.socket(name)) != nil {
				l.read.Add(1)
			}
		}
	})
	repeat(func() {
		time.Sleep(500 * time.Millisecond)
		for _, proc := range p {
			_ = proc.Cmd.Process.Signal(syscall.SIGHUP)
			l.reloads.Add(1)
		}
	})
	time.Sleep(length)
	close(end)
	all.Wait()
	flooded.Wait()
	l.forged.Add(total[0])
}

// settle waits until the programs have given back what they do not need, and returns what is left: the least of a few
// looks, because a heap breathes.
func settle(t *testing.T, p []*suite.Proc) []usage {
	t.Helper()
	time.Sleep(1500 * time.Millisecond) // connections end, a collection or two
	least := make([]usage, len(p))
	for look := range 5 {
		for i, proc := range p {
			u := use(t, proc)
			if look == 0 {
				least[i] = u
				continue
			}
			least[i].rss, least[i].fds, least[i].threads = min(least[i].rss, u.rss), min(least[i].fds, u.fds), min(least[i].threads, u.threads)
			least[i].cpu = u.cpu
		}
		time.Sleep(200 * time.Millisecond)
	}
	return least
}
