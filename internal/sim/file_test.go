package sim

import (
	"math"
	"reflect"
	"strings"
	"testing"
)

// listedCase is a scenario that chrony was measured on.
func listedCase(t testing.TB, id string) *Case {
	t.Helper()
	f, err := Listed()
	if err != nil {
		t.Fatal(err)
	}
	list, err := f.Matching(id)
	if err != nil || len(list) != 1 {
		t.Fatalf("%s: %d scenarios, %v", id, len(list), err)
	}
	return list[0]
}

func mustRun(t testing.TB, c *Case, policy string, seed uint64, o Options) *Result {
	t.Helper()
	r, err := c.Run(policy, seed, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestCase_SameSeed: the same seed gives the same figures and trace, another seed others.
func TestCase_SameSeed(t *testing.T) {
	c := listedCase(t, "C2_4srv_bias")
	o := Options{Duration: 20000, Warmup: 5000, TraceEvery: 1}
	first, again := mustRun(t, c, "P6", 1, o), mustRun(t, c, "P6", 1, o)
	if !reflect.DeepEqual(first, again) {
		t.Errorf("two runs of one seed: %+v and %+v", first, again)
	}
	if other := mustRun(t, c, "P6", 2, o); other.RMS == first.RMS {
		t.Error("two seeds, one result")
	}
	if n := len(first.Trace.Offset); n != 20001 {
		t.Errorf("%d points", n)
	}
}

// TestCase_EventOrder: an expression that counts evaluations to N acts at second N-1, the first is at 0; one that compares with
// the variable time acts at N.
func TestCase_EventOrder(t *testing.T) {
	f, err := LoadScenarios([]byte(`{"scenarios": [{"id": "order", "kind": "steady", "duration_s": 1000,
		"client": {"freq_expr": "(* 1e-6 (equal 0.1 (min (sum 1.0) 100) 100))"},
		"servers": [{"freq_expr": "0", "step_expr": "(* 0.25 (equal 0.1 (sum 1.0) 50))",
			"delay_client_to_server": "(+ 1e-3 (* -1 (equal 0.1 (min time 200) 200)))", "delay_server_to_client": "1e-3"}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	w, err := f.Cases[0].build(Policy{Max: 0}, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	c, r := w.Clients[0], w.References[0]
	for w.seconds < 300 {
		w.RunFor(seconds(1))
		if want := w.seconds >= 99; (c.osc.y != 0) != want {
			t.Fatalf("second %d: the oscillator is off by %g", w.seconds, c.osc.y)
		}
		if off := r.Error(w.Elapsed()); (off != 0) != (w.seconds >= 49) || off != 0 && off != seconds(0.25) {
			t.Fatalf("second %d: the server is off by %v", w.seconds, off)
		}
	}
	if last := r.Served[len(r.Served)-1]; last < seconds(198) || last > seconds(200.002) {
		t.Errorf("the last request came through at %v", last)
	}
	if c.sent() < 200 {
		t.Errorf("%d requests", c.sent())
	}
}

func TestLoadScenarios_Refused(t *testing.T) {
	const good = `{"id": "a", "duration_s": 10, "client": {"freq_expr": "0"}, "servers": [{"freq_expr": "0", "delay_client_to_server": "1", "delay_server_to_client": "1"}]}`
	if _, err := LoadScenarios([]byte(`{"scenarios": [` + good + `]}`)); err != nil {
		t.Fatal(err)
	}
	for _, change := range [][2]string{
		{`"a"`, `""`}, {`10`, `0`}, {`10`, `1e99`}, {`"freq_expr": "0"}, "s`, `"freq_expr": "x"}, "s`}, {`"1", "delay_s`, `"", "delay_s`},
		{`"delay_server_to_client": "1"`, `"step_expr": "("`}, {`]}`, `], "event": {"t": 11}}`},
	} {
		text := strings.Replace(good, change[0], change[1], 1)
		if _, err := LoadScenarios([]byte(`{"scenarios": [` + text + `]}`)); err == nil || text == good {
			t.Errorf("%s is taken", text)
		}
	}
	if _, err := LoadScenarios([]byte(`{"scenarios": [` + good + `,` + good + `]}`)); err == nil {
		t.Error("one identity twice")
	}
}

func TestHistogram(t *testing.T) {
	var h histogram
	for i := range 10000 {
		h.add(float64(i+1) * 1e-9)
	}
	for _, q := range []float64{0.01, 0.5, 0.99} {
		if got := h.quantile(q); math.Abs(got/(q*1e-5)-1) > 0.01 {
			t.Errorf("quantile %g: %g", q, got)
		}
	}
	h.add(0)
	h.add(1e300)
}

// TestSigma: the standard deviation that the client gives itself grows steadily between samples, whatever else it is doing
// meanwhile.
func TestSigma(t *testing.T) {
	c := listedCase(t, "B_lan_w1e-7")
	p, err := NamedPolicy("P6")
	if err != nil {
		t.Fatal(err)
	}
	w, err := c.build(p, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	sampled, before := false, 0.
	w.sampled = func(Sample) { sampled = true }
	grown := 0
	w.second = func() {
		sigma := c.observe(w, w.Clients[0]).sigma
		switch {
		case sampled || w.seconds < 5000:
		case sigma < before || sigma > 1.25*before+1e-6:
			t.Errorf("second %d: from %g to %g without a sample", w.seconds, before, sigma)
		default:
			grown++
		}
		sampled, before = false, sigma
	}
	w.RunFor(seconds(10000))
	if grown < 4000 {
		t.Errorf("%d seconds were looked at", grown)
	}
}
