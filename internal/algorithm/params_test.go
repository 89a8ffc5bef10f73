package algorithm

import (
	"math"
	"reflect"
	"slices"
	"testing"
)

// TestK08_ParamsSane puts every nonsense into every float setting.
func TestK08_ParamsSane(t *testing.T) {
	for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), 1e300, -1e300, -1} {
		p := Defaults()
		v := reflect.ValueOf(&p).Elem()
		for i := range v.NumField() {
			if v.Field(i).Kind() == reflect.Float64 {
				v.Field(i).SetFloat(bad)
			}
		}
		p.PrecisionHysteresis, p.PollIntervalHysteresis, p.MinimumAgreeing = -5, 0, -1
		s := p.sane()
		for name, bound := range map[string]float64{
			"frequency": s.MaximumFrequencySteer, "slew": s.SlewMaximumFrequencyOffset,
		} {
			if !(bound >= 0 && bound <= kernelMaxFrequency) {
				t.Errorf("%v: %s bound is %v", bad, name, bound)
			}
		}
		if !(s.StepThreshold >= 0) || !(s.SlewMinimumDuration > 0) || !(s.InitialWander > 0) || s.MinimumAgreeing < 1 {
			t.Errorf("%v: %+v", bad, s)
		}
	}
	if d := Defaults(); d.sane() != d {
		t.Errorf("the defaults are not sane: %+v", d.sane())
	}
}

func TestWithoutEffect(t *testing.T) {
	if k := WithoutEffect(); !slices.IsSorted(k) || len(k) != 11 {
		t.Errorf("WithoutEffect() = %q", k)
	}
}
