package ke

import (
	"fmt"
	"hash/maphash"
	"net/netip"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func lineOf(places int) *line { l := newLine(places); return &l }

// prefixes are n different ones that share no row of the line's table.
func (l *line) prefixes(n int) []netip.Prefix {
	var all []netip.Prefix
	taken := map[uint64]bool{}
	for a := netip.MustParseAddr("192.0.2.0"); len(all) < n; a = a.Next() {
		p := netip.PrefixFrom(a, 32)
		if row := maphash.Comparable(l.known.seed, p) % standingRows; !taken[row] {
			taken[row] = true
			all = append(all, p)
		}
	}
	return all
}

// TestLine_Order is the table of who goes first.
func TestLine_Order(t *testing.T) {
	for _, row := range []struct {
		name  string
		queue string // who joins, one letter for a prefix
		known func(l *line, p []netip.Prefix)
		order string // who is served
	}{
		{"newest first within a prefix", "aab", nil, "baa"},
		{"first come first across prefixes", "abc", nil, "abc"},
		{"fewest in line first", "baaa", nil, "baaa"},
		{"one that was worked for in vain is last", "ba", func(l *line, p []netip.Prefix) {
			l.known.of(p[0], 0).begin()
			l.known.of(p[0], 0).end(false)
		}, "ba"},
		{"one that finished is first", "ab", func(l *line, p []netip.Prefix) {
			l.known.of(p[0], 0).begin()
			l.known.of(p[0], 0).end(true)
		}, "ab"},
		{"with handshakes under way after one without", "ba", func(l *line, p []netip.Prefix) { l.known.of(p[0], 0).begin() }, "ba"},
		{"turns alternate as they are charged", "aaabbb", nil, "ababab"},
	} {
		t.Run(row.name, func(t *testing.T) {
			l := lineOf(1)
			p := l.prefixes(5)
			if row.known != nil {
				row.known(l, p[1:])
			}
			first := &ticket{prefix: p[0]}
			l.join(first, 0)
			if got, _ := l.serve(0); got != first {
				t.Fatal("a free place was not given")
			}
			names := map[*ticket]byte{}
			for i := range row.queue {
				x := &ticket{prefix: p[1+row.queue[i]-'a']}
				names[x] = row.queue[i]
				l.join(x, 0)
				if got, _ := l.serve(0); got != nil {
					t.Fatal("a place too many")
				}
			}
			var order []byte
			now := time.Duration(0)
			for at := first; at != nil; {
				l.leave(at, now)
				wait := time.Duration(0)
				if at, wait = l.serve(now); wait > 0 {
					now += wait
					at, _ = l.serve(now)
				}
				if at != nil {
					order = append(order, names[at])
				}
			}
			if string(order) != row.order || l.busy != 0 || l.size != 0 || len(l.groups) != 0 {
				t.Errorf("served %s, want %s; %d busy, %d in line", order, row.order, l.busy, l.size)
			}
		})
	}
}

// TestLine_Overdue: who came first goes first while the wait is short, and the newest when it is long.
func TestLine_Overdue(t *testing.T) {
	for _, row := range []struct {
		came  [3]time.Duration
		order string
	}{
		{[3]time.Duration{900, 950, 999}, "abc"}, {[3]time.Duration{100, 200, 300}, "cba"}, {[3]time.Duration{100, 800, 900}, "bca"},
	} {
		l := lineOf(1)
		p := l.prefixes(4)
		at := &ticket{prefix: p[3]}
		l.join(at, 0)
		_, _ = l.serve(0)
		for i, came := range row.came {
			l.join(&ticket{prefix: p[i]}, came*time.Millisecond)
		}
		var order []byte
		for range row.came {
			l.leave(at, time.Second)
			at, _ = l.serve(time.Second)
			order = append(order, byte('a'+slices.Index(p, at.prefix)))
		}
		if string(order) != row.order {
			t.Errorf("%v: %s, want %s", row.came, order, row.order)
		}
	}
}

// TestLine_NewestOfAPrefix: of one prefix the newest goes first; the older ones may as well be gone.
func TestLine_NewestOfAPrefix(t *testing.T) {
	l := lineOf(1)
	p := l.prefixes(1)[0]
	at := &ticket{prefix: p}
	l.join(at, 0)
	_, _ = l.serve(0)
	older, newer := &ticket{prefix: p}, &ticket{prefix: p}
	l.join(older, 0)
	l.join(newer, 0)
	for _, want := range []*ticket{newer, older} {
		l.leave(at, 0)
		if at, _ = l.serve(0); at != want {
			t.Fatal("the older one went first")
		}
	}
}

// TestLine_DebtGetsATenth: those in debt get a tenth of the time although nobody else wants it, and whoever is not comes
// at once.
func TestLine_DebtGetsATenth(t *testing.T) {
	const cost = 19 * time.Millisecond
	l := lineOf(1)
	p := l.prefixes(2)
	l.known.of(p[0], 0).begin()
	l.known.of(p[0], 0).end(false)
	now, worked := time.Duration(0), time.Duration(0)
	for now < 30*time.Second {
		x := &ticket{prefix: p[0]}
		l.join(x, now)
		got, wait := l.serve(now)
		if got == nil {
			other := &ticket{prefix: p[1]}
			l.join(other, now)
			if next, _ := l.serve(now); next != other {
				t.Fatal("one without debt had to wait for the pause of others")
			}
			l.leave(other, now)
			l.known.of(p[1], now).end(true)
			now += wait
			if got, _ = l.serve(now); got != x {
				t.Fatalf("not served after %v", wait)
			}
		}
		now += cost
		worked += cost
		l.leave(x, now)
		l.known.of(p[0], now).end(false)
	}
	if share := worked.Seconds() / now.Seconds(); share < 0.09 || share > 0.11 {
		t.Errorf("%.3f of the time", share)
	}
}

// TestLine_Holds: never more than the places are busy, nobody is served twice or after quitting, and no place stays
// empty while somebody waits.
func TestLine_Holds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := lineOf(rapid.IntRange(1, 3).Draw(t, "places"))
		prefixes := l.prefixes(4)
		waiting, working := map[*ticket]bool{}, []*ticket{}
		var now time.Duration
		serve := func() {
			for {
				x, wait := l.serve(now)
				if x == nil {
					if wait > 0 {
						now += wait // nobody has credit or debt here, but many are under way
						continue
					}
					return
				}
				if !waiting[x] {
					t.Fatal("served without waiting")
				}
				delete(waiting, x)
				working = append(working, x)
			}
		}
		var last *ticket
		for _, act := range rapid.SliceOfN(rapid.IntRange(0, 99), 1, 200).Draw(t, "acts") {
			now += time.Duration(act) * time.Second
			switch {
			case act < 50:
				last = &ticket{prefix: prefixes[act%4]}
				waiting[last] = true
				l.join(last, now)
			case act < 80 && len(working) > 0:
				l.leave(working[0], now)
				working = working[1:]
			case last != nil:
				if l.quit(last) != waiting[last] {
					t.Fatal("quit does not know who waits")
				}
				delete(waiting, last)
			}
			serve()
			if n := len(working); l.busy != n || n > l.places || n < l.places && len(waiting) > 0 {
				t.Fatalf("%d busy, %d working of %d, %d waiting", l.busy, n, l.places, len(waiting))
			}
		}
	})
}

// TestLine_Flood is what the gate is for, in virtual time: handshakes of 19 ms (RSA with 4096 bits) for one second of
// patience, a flood of 1000 per second that is never finished, from one address or 250, and honest users of one
// address, of many, or with a load just below what can be computed.
func TestLine_Flood(t *testing.T) {
	const (
		cost     = 19 * time.Millisecond
		patience = time.Second
		seconds  = 60
	)
	for _, attackers := range []int{1, 250} {
		for _, every := range []time.Duration{500 * time.Millisecond, 22 * time.Millisecond} {
			for _, users := range []int{1, 50} {
				t.Run(fmt.Sprintf("%d addresses, %d users every %v", attackers, users, every), func(t *testing.T) {
					f := flood{line: lineOf(1), cost: cost, patience: patience, open: 512}
					f.run(attackers, users, every, seconds*time.Second)
					t.Logf("%d of %d honest handshakes in time", f.done, f.asked)
					if f.done*100 < f.asked*90 {
						t.Error("less than 90 %")
					}
				})
			}
		}
	}
}

// flood is a line under attack.
type flood struct {
	line           *line
	cost, patience time.Duration
	open           int // connections that the accept loop lets wait

	asked, done int
}

// one is an attacker's or a user's handshake.
type one struct {
	t      *ticket
	honest bool
	since  time.Duration
}

// run simulates in steps of a millisecond, in which one attacker arrives.
func (f *flood) run(attackers, users int, every, length time.Duration) {
	prefixes := f.line.prefixes(attackers + users)
	all := map[*ticket]*one{}
	var crowd []*one // attackers' connections, oldest first
	var current *one
	var busyUntil, nextUser time.Duration
	var failing []*one // those worked for in vain, whose connections end when the patience does
	serve := func(now time.Duration) {
		if next, _ := f.line.serve(now); next != nil {
			current, busyUntil = all[next], now+f.cost
		}
	}
	join := func(prefix netip.Prefix, honest bool, now time.Duration) *one {
		o := &one{t: &ticket{prefix: prefix}, honest: honest, since: now}
		all[o.t] = o
		f.line.join(o.t, now)
		serve(now)
		return o
	}
	for now := time.Duration(0); now < length; now += time.Millisecond {
		for len(failing) > 0 && now-failing[0].since > f.patience {
			f.line.known.of(failing[0].t.prefix, now).end(false)
			failing = failing[1:]
		}
		for current != nil && now >= busyUntil {
			if current.honest {
				f.line.known.of(current.t.prefix, now).end(true)
				if now-current.since <= f.patience {
					f.done++
				}
			} else {
				failing = append(failing, current)
			}
			delete(all, current.t)
			f.line.leave(current.t, now)
			current = nil
			serve(now)
		}
		if current == nil && now >= f.line.pause {
			serve(now)
		}
		crowd = append(crowd, join(prefixes[int(now/time.Millisecond)%attackers], false, now))
		if len(crowd) > f.open {
			f.line.quit(crowd[0].t)
			delete(all, crowd[0].t)
			crowd = crowd[1:]
		}
		if now >= nextUser {
			f.asked++
			join(prefixes[attackers+f.asked%users], true, now)
			nextUser += every
		}
	}
}
