package algorithm

import (
	"math"
	"math/rand/v2"
	"testing"
)

// matrix is the covariance of a member as it is written in a book.
type matrix [4][4]float64

func (m *member) matrix() matrix {
	return matrix{{m.xx, m.xy, m.xa, m.xb}, {m.xy, m.yy, m.ya, m.yb}, {m.xa, m.ya, m.aa, m.ab}, {m.xb, m.yb, m.ab, m.bb}}
}

func (a matrix) times(b matrix) (c matrix) {
	for i := range 4 {
		for j := range 4 {
			for k := range 4 {
				c[i][j] += a[i][k] * b[k][j]
			}
		}
	}
	return c
}

func (a matrix) transposed() (c matrix) {
	for i := range 4 {
		for j := range 4 {
			c[i][j] = a[j][i]
		}
	}
	return c
}

// close reports whether the member's covariance is that one, to a share of its variances.
func (m *member) close(want matrix) bool {
	got := m.matrix()
	for i := range 4 {
		for j := range 4 {
			if math.Abs(got[i][j]-want[i][j]) > 1e-9*math.Sqrt(want[i][i]*want[j][j])+1e-25 {
				return false
			}
		}
	}
	return true
}

// randomMember has a covariance L L' with random L.
func randomMember(rng *rand.Rand) member {
	var l matrix
	scale := [4]float64{1e-4, 1e-7, 0.1, 1e-3}
	for i := range 4 {
		for j := range i + 1 {
			l[i][j] = rng.NormFloat64() * scale[i]
		}
	}
	p := l.times(l.transposed())
	return member{
		x: rng.NormFloat64() * 1e-3, y: rng.NormFloat64() * 1e-6, a: rng.NormFloat64() * 0.2, b: rng.NormFloat64() * 1e-3,
		xx: p[0][0], xy: p[0][1], xa: p[0][2], xb: p[0][3], yy: p[1][1], ya: p[1][2], yb: p[1][3], aa: p[2][2], ab: p[2][3], bb: p[3][3],
	}
}

// TestMember_Equation2 recomputes the prediction with matrices.
func TestMember_Equation2(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 3))
	for range 1000 {
		m := randomMember(rng)
		dt, q := math.Exp(rng.NormFloat64()*3), math.Exp(rng.NormFloat64()*5-38)
		f := matrix{{1, dt}, {0, 1}, {0, 0, 1}, {0, 0, 0, 1}}
		want := f.times(m.matrix()).times(f.transposed())
		want[0][0] += q * dt * dt * dt / 3
		want[0][1] += q * dt * dt / 2
		want[1][0] = want[0][1]
		want[1][1] += q * dt
		if m.aa > 0.35*0.35 {
			continue // that limit is tested below
		}
		want[2][2] = min(want[2][2]+0.35*0.35*dt/(4*86400), 0.35*0.35)
		x, y := m.x+m.y*dt, m.y
		m.predict(dt, q)
		if !m.close(want) || math.Abs(m.x-x) > 1e-15 || m.y != y {
			t.Fatalf("after %g s: %v, want %v", dt, m.matrix(), want)
		}
	}
	m := member{aa: 0.1, xx: 1}
	m.predict(1e9, 0)
	if m.aa != 0.35*0.35 {
		t.Errorf("the share of delay is uncertain by %v after years", m.aa)
	}
}

// TestMember_Equation3 recomputes the update in Joseph's form.
func TestMember_Equation3(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 4))
	for range 1000 {
		m := randomMember(rng)
		e, r, z := rng.ExpFloat64()*1e-3, math.Exp(rng.NormFloat64()*2-20), rng.NormFloat64()*1e-3
		p := m.matrix()
		h := [4]float64{1, 0, e, 1}
		var ph, k [4]float64
		var s float64
		for i := range 4 {
			for j := range 4 {
				ph[i] += p[i][j] * h[j]
			}
		}
		for i := range 4 {
			s += h[i] * ph[i]
		}
		var ikh, krk matrix
		for i := range 4 {
			k[i] = ph[i] / (s + r)
			for j := range 4 {
				ikh[i][j] = -k[i] * h[j]
			}
			ikh[i][i]++
		}
		for i := range 4 {
			for j := range 4 {
				krk[i][j] = k[i] * r * k[j]
			}
		}
		want := ikh.times(p).times(ikh.transposed())
		for i := range 4 {
			for j := range 4 {
				want[i][j] += krk[i][j]
			}
		}
		d := z - (m.x + e*m.a + m.b)
		state := [4]float64{m.x + k[0]*d, m.y + k[1]*d, m.a + k[2]*d, m.b + k[3]*d}
		expected, g := m.expect(e)
		m.update(&g, z-expected, r)
		if got := [4]float64{m.x, m.y, m.a, m.b}; math.Abs(got[0]-state[0])+math.Abs(got[1]-state[1])+math.Abs(got[2]-state[2])+math.Abs(got[3]-state[3]) > 1e-12 {
			t.Fatalf("state %v, want %v", got, state)
		}
		got := m.matrix()
		for i := range 4 {
			for j := range 4 {
				if math.Abs(got[i][j]-want[i][j]) > 1e-6*math.Sqrt(p[i][i]*p[j][j]) {
					t.Fatalf("covariance %v, want %v", got, want)
				}
			}
		}
	}
}

// TestMember_Positive: whatever intervals, delays and noises follow each other, the covariance stays one.
func TestMember_Positive(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 5))
	for run := range 300 {
		m := member{yy: 1e-8, aa: delayShareSigma * delayShareSigma}
		m.seed(0, 1e-6)
		q := math.Pow(10, -23+float64(run%12))
		for i := range 2000 {
			dt := math.Exp(rng.Float64() * 7)
			if rng.IntN(100) == 0 {
				dt = math.Exp(rng.Float64() * 15) // up to 38 days
			}
			m.predict(dt, q)
			if rng.IntN(200) == 0 {
				m.bb += rng.ExpFloat64() * 1e-4 // another route
			}
			e, g := m.expect(rng.ExpFloat64() * 1e-3)
			m.update(&g, rng.NormFloat64()*1e-5-e, math.Pow(10, -18+rng.Float64()*14))
			if !m.finite() || !positive(m.matrix()) {
				t.Fatalf("run %d, sample %d: %+v", run, i, m)
			}
		}
	}
}

// positive reports whether no combination of the state has a negative variance, but for rounding: Cholesky's decomposition of the
// correlations, with a little on the diagonal.
func positive(p matrix) bool {
	var l matrix
	for i := range 4 {
		for j := range i + 1 {
			scale := math.Sqrt(p[i][i] * p[j][j])
			v := 0.
			if scale > 0 {
				v = p[i][j] / scale
			}
			if i == j {
				v = 1 + 1e-6
			}
			for k := range j {
				v -= l[i][k] * l[j][k]
			}
			if i == j {
				if v < 0 {
					return false
				}
				l[i][i] = math.Sqrt(v)
			} else if l[j][j] > 0 {
				l[i][j] = v / l[j][j]
			}
		}
	}
	return true
}
