package sim

import (
	"math"
	"strings"
	"testing"
)

func mustParse(t testing.TB, text string, seed uint64) *Expr {
	t.Helper()
	e, err := ParseExpr(text, Origin{Seed: seed, Scenario: "test", Name: "e", Delay: true, Files: map[string][]float64{"f": {3, 1, 4}}})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func values(e *Expr, n int) (list []float64) {
	for range n {
		list = append(list, e.Next())
	}
	return list
}

func TestExpr_Values(t *testing.T) {
	for _, row := range []struct {
		text string
		want []float64
	}{
		{"2.5e-3", []float64{2.5e-3, 2.5e-3}},
		{"(+ 1 2 (* 3 4))", []float64{15, 15}},
		{"(% 17 10 4)", []float64{3}},
		{"(min 3 1 2)", []float64{1}},
		{"(max 3 1 2)", []float64{3}},
		{"(sum 1.0)", []float64{1, 2, 3, 4}},
		{"(sum 1 10)", []float64{11, 22}},
		{"(equal 0.1 (min (sum 1.0) 3) 3)", []float64{0, 0, 1, 1, 1}}, // a step at the third evaluation
		{"(equal 0.1 (sum 1.0) 3)", []float64{0, 0, 1, 0, 0}},         // an impulse there
		{"(equal 1 0 1 2)", []float64{0}},
		{"(equal 2 0 1 2)", []float64{1}},
		{"(pulse 2 3)", []float64{1, 1, -1, -1, -1, 1, 1, -1}},
		{"(sine 4)", []float64{0, 1, 0, -1, 0}},
		{"(cosine 4)", []float64{1, 0, -1, 0, 1}},
		{"(triangle 4)", []float64{-1, 0, 1, 0, -1}},
		{`(* 2 (file "f"))`, []float64{6, 2, 8, 6}},
	} {
		for i, v := range values(mustParse(t, row.text, 1), len(row.want)) {
			if math.Abs(v-row.want[i]) > 1e-12 {
				t.Errorf("%s: evaluation %d gives %g, want %g", row.text, i+1, v, row.want[i])
			}
		}
	}
	e := mustParse(t, "(+ (equal 300 (% time 3600) 1500) (* from 10) (* to 100) (* port 1000))", 1)
	for at, want := range map[float64]float64{1199: 123210, 1200: 123211, 3600 + 1800: 123211, 1801: 123210} {
		if v := e.At(Vars{Time: at, From: 1, To: 2, Port: 123}); v != want {
			t.Errorf("at %g: %g, want %g", at, v, want)
		}
	}
}

// TestExpr_Distributions compares mean and variance of 200 000 draws.
func TestExpr_Distributions(t *testing.T) {
	for _, row := range []struct {
		text           string
		mean, variance float64
	}{
		{"(uniform)", 0.5, 1. / 12}, {"(normal)", 0, 1}, {"(exponential)", 1, 1}, {"(poisson 4)", 4, 4},
		{"(equal 0.1 (uniform) 0.0)", 0.1, 0.09},
	} {
		const n = 200000
		var sum, sum2 float64
		e := mustParse(t, row.text, 7)
		for range n {
			v := e.Next()
			sum, sum2 = sum+v, sum2+v*v
		}
		mean := sum / n
		variance := sum2/n - mean*mean
		if math.Abs(mean-row.mean) > 4*math.Sqrt(row.variance/n) || math.Abs(variance/row.variance-1) > 0.03 {
			t.Errorf("%s: mean %g, variance %g", row.text, mean, variance)
		}
	}
}

// TestExpr_Streams: each generator has a stream of its own, chosen by seed, scenario, name and place, and by nothing else.
func TestExpr_Streams(t *testing.T) {
	first := values(mustParse(t, "(+ (uniform) (* 0 (normal)))", 1), 5)
	same := func(e *Expr) bool {
		for i, v := range values(e, 5) {
			if v != first[i] {
				return false
			}
		}
		return true
	}
	if !same(mustParse(t, "(+ (uniform) (* 0 (exponential)))", 1)) {
		t.Error("another generator beside it changes a stream")
	}
	if same(mustParse(t, "(+ (uniform) (* 0 (normal)))", 2)) || same(mustParse(t, "(+ 0 (uniform))", 1)) {
		t.Error("the stream depends on neither seed nor place")
	}
	pair := mustParse(t, "(+ (uniform) (* -1 (uniform)))", 1)
	if v := pair.Next(); v == 0 {
		t.Error("two generators share a stream")
	}
}

func TestExpr_Refused(t *testing.T) {
	for _, text := range []string{
		"", "(", ")", "(+ 1", "(+)", "(nothing 1)", "1 2", "(uniform 1)", "(poisson 50)", "(sine 0)", "(sine (uniform))", "(equal 1)",
		`(file "g")`, `(file "g`, "what", "(pulse 1)", strings.Repeat("(+ ", 100) + "1" + strings.Repeat(")", 100),
	} {
		if _, err := ParseExpr(text, Origin{Name: "e"}); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
	if _, err := ParseExpr("(+ time 1)", Origin{Name: "e"}); err == nil {
		t.Error("an oscillator knows the time")
	}
}

func FuzzParseExpr(f *testing.F) {
	f.Add("(+ 1e-05 (sum (* 1e-09 (normal))) (* 2e-7 (sine 3600)))")
	f.Add("(+ 1e-2 (* 1e-4 (exponential)) (* -1 (equal 0.1 (min (% time 10000) 1200) 1200)))")
	f.Fuzz(func(_ *testing.T, text string) {
		if e, err := ParseExpr(text, Origin{Name: "e", Delay: true}); err == nil {
			e.At(Vars{Time: 1})
		}
	})
}
