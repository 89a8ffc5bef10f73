package poolmonitor

import (
	"bytes"
	"math"
	"strings"
	"testing"
	"time"
)

// restarted is a world after a restart of its pool, which took that long.
func (w *world) restarted(pause time.Duration) {
	w.t.Helper()
	data, err := w.m.Store(w.now)
	if err != nil {
		w.t.Fatal(err)
	}
	w.now = w.now.Add(pause)
	w.m, w.flying = New(Params{}, w.rnd.Float64, w.now), nil
	w.list()
	if err := w.m.Restore(w.now, data); err != nil {
		w.t.Fatal(err)
	}
}

// TestP24_ScoresSurviveARestart: scores, verdicts and history outlive a restart, what was stored fades with its age, and who is listed
// meanwhile is on probation.
func TestP24_ScoresSurviveARestart(t *testing.T) {
	for _, tt := range []struct {
		pause time.Duration
		fades float64
		out   State
		late  State
	}{
		{time.Second, 1, Out, Probation}, {30 * time.Minute, math.Sqrt2 / 2, Out, Probation}, {2 * time.Hour, 0.25, Unknown, Unknown}, {25 * time.Hour, 0, Unknown, Unknown},
		{-time.Hour, 0, Unknown, Unknown},
	} {
		w := newWorld(t, 5)
		w.run(time.Hour)
		w.nodes[4].broken = dead
		w.run(time.Hour)
		before, _ := w.m.Views("m0", w.now)
		w.nodes = append(w.nodes, newNode("late"))
		w.restarted(tt.pause)
		after, _ := w.m.Views("m0", w.now)
		if got, want := after[0].Score, before[0].Score*tt.fades; math.Abs(got-want) > 0.02 {
			t.Errorf("%v: score %v, want %v", tt.pause, got, want)
		}
		gone, _ := w.m.Views("m4", w.now)
		late, _ := w.m.Views("late", w.now)
		if gone[0].State != tt.out || late[0].State != tt.late {
			t.Errorf("%v: %v and %v, want %v and %v", tt.pause, gone[0].State, late[0].State, tt.out, tt.late)
		}
		if tt.out == Out && (gone[0].Reason != "no keys: timeout" || gone[0].Since.After(simStart.Add(62*time.Minute))) {
			t.Errorf("%v: %+v", tt.pause, gone[0])
		}
		if tt.fades > 0 {
			probes := 0
			for _, s := range after[0].History {
				probes += s.Probes
			}
			if probes < 200 {
				t.Errorf("%v: %d probes in the history", tt.pause, probes)
			}
		}
		w.run(5 * time.Minute)
		if v := w.m.Verdict("m4"); v.For(IPv4) {
			t.Errorf("%v: the dead one is %+v", tt.pause, v)
		}
	}
}

// TestRestoreRefuses: what no Monitor wrote changes nothing.
func TestRestoreRefuses(t *testing.T) {
	w := newWorld(t, 2)
	w.run(time.Hour)
	data, err := w.m.Store(w.now)
	if err != nil {
		t.Fatal(err)
	}
	for name, edit := range map[string]func(string) string{
		"cut":      func(s string) string { return s[:len(s)/2] },
		"empty":    func(string) string { return "" },
		"version":  func(s string) string { return strings.Replace(s, `"version":1`, `"version":2`, 1) },
		"family":   func(s string) string { return strings.Replace(s, `"ipv6"`, `"ipx"`, 1) },
		"state":    func(s string) string { return strings.Replace(s, `"usable"`, `"great"`, 1) },
		"score":    func(s string) string { return strings.Replace(s, `"score":`, `"score":9`, 1) },
		"slot":     func(s string) string { return strings.Replace(s, `"slots":[[`, `"slots":[[9`, 1) },
		"failures": func(s string) string { return strings.Replace(s, `,0]`, `,99999]`, 1) },
		"types":    func(s string) string { return strings.Replace(s, `"members":[`, `"members":[7,`, 1) },
	} {
		edited := edit(string(data))
		if edited == string(data) {
			t.Errorf("%s: not edited", name)
		}
		m := New(Params{}, w.rnd.Float64, w.now)
		m.SetMembers(w.now, []Target{{ID: "m0", Wanted: [Families]bool{true, true}}})
		if err := m.Restore(w.now, []byte(edited)); err == nil {
			t.Errorf("%s: accepted", name)
		}
		if v, _ := m.Views("m0", w.now); v[0].Score != 0 || v[0].History != nil || m.seasoned {
			t.Errorf("%s: changed something: %+v", name, v[0])
		}
	}
}

// FuzzRestore: whatever a file holds, a Monitor goes on with sane numbers, and what it then writes is accepted.
func FuzzRestore(f *testing.F) {
	w := newWorld(&testing.T{}, 2)
	w.run(time.Hour)
	data, err := w.m.Store(w.now)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"version":1,"saved":1772373600,"members":[{"id":"m0","views":[{"family":"ipv4","state":"out","score":-1e2,"last_slot":9223372036854775807,"slots":[[1,2,3,1]]}]}]}`))
	f.Add([]byte(`{"version":1,"saved":1772373600,"members":[{"id":"m0","views":[{"family":"ipv4","state":"out","since":-9223372036854775808,"score":0,"last_slot":3,"slots":[[1,2,3,1],[1,2,3,1],[1,2,3,1],[1,2,3,1],[1,2,3,1],[1,2,3,1]]}]}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		now := simStart.Add(time.Hour)
		m := New(Params{}, func() float64 { return 0.5 }, now)
		m.SetMembers(now, []Target{{ID: "m0", Wanted: [Families]bool{true, true}}, {ID: "m1", Wanted: [Families]bool{true, true}}})
		_ = m.Restore(now, data)
		for _, id := range []string{"m0", "m1"} {
			views, _ := m.Views(id, now)
			for _, v := range views {
				if !(v.Score >= scoreLeast && v.Score <= scoreMost) || v.State >= states || len(v.History) > slots {
					t.Fatalf("%+v", v)
				}
			}
		}
		again, err := m.Store(now)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Restore(now, again); err != nil {
			t.Fatalf("%v: %s", err, again)
		}
		if bytes.ContainsRune(again, 0) {
			t.Fatal("NUL")
		}
	})
}
