package algorithm

import (
	"math"
	"testing"
	"time"

	"ntp-daemon/internal/ntp"
)

func TestJoin(t *testing.T) {
	a := state{origin: 1000, x: 1e-9, y: 1e-6, pxx: 4e-12, pyy: 4e-14}
	b := state{origin: 3000, x: 1e-9, y: 3e-6, pxx: 4e-12, pyy: 12e-14}
	j := join(a, b)
	if x := j.above(0); math.Abs(x-2001e-9) > 1e-15 {
		t.Errorf("offset %v, want the mean", x)
	}
	if math.Abs(j.y-1.5e-6) > 1e-15 {
		t.Errorf("frequency %v, want three parts to one", j.y)
	}
	if math.Abs(j.pxx-2e-12) > 1e-20 || math.Abs(j.pyy-3e-14) > 1e-22 {
		t.Errorf("variances %v, %v", j.pxx, j.pyy)
	}
	r := join(b, a)
	if math.Abs(r.above(0)-j.above(0)) > 1e-15 || math.Abs(r.y-j.y) > 1e-15 || math.Abs(r.pxx-j.pxx) > 1e-20 {
		t.Error("the order matters")
	}
}

// TestFuse_CommonPath: many sources over one path are not surer than the path is symmetric.
func TestFuse_CommonPath(t *testing.T) {
	d := New(loose())
	var paths []*path
	for i := range 8 {
		paths = append(paths, newPath(ntp.SourceID(i+1), 20*ms, us))
	}
	at := feed(d, 0, 60, paths...)
	e := d.Decide(at).Estimate
	if floor := rootDistanceShare * 0.040; math.Sqrt(e.VarOffset) < 0.99*floor {
		t.Errorf("sigma %v s below the floor %v", math.Sqrt(e.VarOffset), floor)
	}
}

// TestFuse_PrefersShortPaths: a source in the house is not outvoted by distant ones that agree.
func TestFuse_PrefersShortPaths(t *testing.T) {
	d := New(loose())
	near := newPath(1, 100*us, 5*us)
	paths := []*path{near}
	for i := range 4 {
		p := newPath(ntp.SourceID(i+2), 20*ms, 100*us)
		p.lie = ms // by asymmetry
		paths = append(paths, p)
	}
	at := feed(d, 0, 60, paths...)
	dec := d.Decide(at)
	if dec.Selected != 5 {
		t.Fatalf("%d selected", dec.Selected)
	}
	if o := dec.Estimate.Offset; o.Abs() > 50*us {
		t.Errorf("offset %v", o)
	}
}

// TestState_Exact: thirty years off, the nanoseconds stay.
func TestState_Exact(t *testing.T) {
	d := New(loose())
	p := newPath(1, 100*us, 0)
	p.lie = 30*365*24*time.Hour + 123456789
	at := feed(d, 0, 20, p)
	if o := d.Decide(at).Estimate.Offset; (o - p.lie).Abs() > 100 {
		t.Errorf("offset %v, want %v", o, p.lie)
	}
}
