package accept

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// member of the slow model of a crowd: who waits under which prefix since which step.
type member struct {
	c      *Conn
	prefix netip.Prefix
	turn   int
	stage  int
}

// before is the order inside a prefix.
func (m member) before(o member) bool { return m.stage*1000+m.turn < o.stage*1000+o.turn }

// victim is who goes next by the words of crowd's comment.
func victim(all []member, only netip.Prefix) *Conn {
	count := map[netip.Prefix]int{}
	first := map[netip.Prefix]member{}
	for _, m := range all {
		count[m.prefix]++
		if f, ok := first[m.prefix]; !ok || m.before(f) {
			first[m.prefix] = m
		}
	}
	var found *member
	for p, f := range first {
		if only.IsValid() && (p != only || f.stage == late) {
			continue
		}
		if found == nil || count[p] > count[found.prefix] || count[p] == count[found.prefix] && f.before(*found) {
			found = &f
		}
	}
	if found == nil {
		return nil
	}
	return found.c
}

// TestCrowd_IsItsSlowModel: whatever joins, steps on and leaves.
func TestCrowd_IsItsSlowModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var w crowd
		var all []member
		steps := rapid.SliceOfN(rapid.IntRange(0, 3000), 1, 200).Draw(t, "steps")
		for turn, n := range steps {
			prefix := netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(n % 7)}), 32)
			switch act := n / 1000; {
			case act < 2 || len(all) == 0:
				c := new(Conn)
				w.join(c, prefix, early)
				all = append(all, member{c, prefix, turn, early})
			case n%2 == 0: // leaves
				i := n % len(all)
				w.quit(all[i].c)
				w.quit(all[i].c)
				all = append(all[:i], all[i+1:]...)
			default: // takes a step
				m := &all[n%len(all)]
				w.quit(m.c)
				m.turn, m.stage = turn, n/2%2
				w.join(m.c, m.prefix, m.stage)
			}
			if got, want := w.next(), victim(all, netip.Prefix{}); got != want {
				t.Fatalf("next is %p, want %p", got, want)
			}
			if got, want := w.nextOf(prefix), victim(all, prefix); got != want {
				t.Fatalf("next of %v is %p, want %p", prefix, got, want)
			}
			eldest := w.eldest()
			for _, m := range all {
				if eldest == nil || m.c.before(eldest) {
					t.Fatal("not the eldest")
				}
			}
			if w.size != len(all) {
				t.Fatalf("%d of %d", w.size, len(all))
			}
		}
	})
}

// TestEviction_FloodMakesRoomForItself: connections that said something, but let us wait, go before those of others,
// from one address or from many; one byte buys nothing.
func TestEviction_FloodMakesRoomForItself(t *testing.T) {
	for _, addresses := range []int{1, 10} {
		synctest.Test(t, func(t *testing.T) {
			ln := newFakeListener()
			loop, stop := start(t, Config{Permits: 40, Handle: untilClosed}, ln)
			honest, user := dial("203.0.113.1")
			ln.next <- honest
			synctest.Wait()
			_, _ = user.Write([]byte{1})
			var flood []net.Conn
			for i := range 400 {
				c, peer := dial(fmt.Sprintf("192.0.2.%d", 1+i%addresses))
				flood = append(flood, peer)
				ln.next <- c
				go func() { _, _ = peer.Write([]byte{1}) }()
				synctest.Wait()
			}
			if closedByServer(user) {
				t.Errorf("%d addresses: the only connection of its prefix had to go", addresses)
			}
			if c := loop.Counters(); c.Evicted != 361 || c.InUse != 40 {
				t.Errorf("%+v", c)
			}
			for _, p := range append(flood, user) {
				_ = p.Close()
			}
			_ = stop()
		})
	}
}

// TestWaiting_IsCapped: those that are waited for have a limit of their own; a handler that waits for anything else
// learns that its connection is gone.
func TestWaiting_IsCapped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ln := newFakeListener()
		loop, stop := start(t, Config{Permits: 10, Waiting: 2, Handle: func(_ context.Context, c *Conn) {
			if c.Remote() == netip.MustParseAddr("192.0.2.9") {
				c.Hold()
			}
			<-c.Gone()
		}}, ln)
		var peers []net.Conn
		for _, from := range []string{"192.0.2.9", "192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.9"} {
			c, peer := dial(from)
			peers = append(peers, peer)
			ln.next <- c
			synctest.Wait()
			time.Sleep(time.Second)
		}
		if c := loop.Counters(); c.Evicted != 2 || c.InUse != 3 || c.Open != 3 {
			t.Errorf("%+v", c)
		}
		for _, p := range peers {
			_ = p.Close()
		}
		_ = stop()
	})
}
