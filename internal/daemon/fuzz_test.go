package daemon

import (
	"math"
	"testing"
	"time"
)

// FuzzParseDrift: whatever is in the drift file, what is taken from it is a frequency that the kernel can apply, with
// a doubt that is a number; written again it says the same.
func FuzzParseDrift(f *testing.F) {
	now := time.Unix(1_800_000_000, 0)
	f.Add(drift{Frequency: -12.345678e-6, Sigma: 0.25e-6, Saved: now, StartupSpent: true, Boot: "b-1"}.marshal())
	for _, text := range []string{
		"", driftMagic, driftMagic + "\nend\n", driftMagic + "\nfrequency_ppm NaN\nsigma_ppm 0\nsaved 1800000000\nstartup_spent true\nend\n",
		driftMagic + "\nfrequency_ppm 500\nsigma_ppm 1e300\nsaved 9223372036854775807\nstartup_spent 1\nboot \x00\r\nend",
		driftMagic + "\nfrequency_ppm -0x1p-2\nsigma_ppm Inf\nsaved -1\nstartup_spent F\nend x\n",
		driftMagic + "\nend\nfrequency_ppm 1\nfrequency_ppm 2\nsigma_ppm 3\nsaved 1800000000\nstartup_spent t\n",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		d, err := parseDrift(text, now)
		if err != nil {
			if d != (drift{}) {
				t.Fatalf("%v, and yet %+v", err, d)
			}
			return
		}
		if math.IsNaN(d.Frequency) || math.Abs(d.Frequency) > maxDriftFreq || !(d.Sigma >= 0 && d.Sigma <= math.MaxFloat64) {
			t.Fatalf("taken: %+v", d)
		}
		if u := d.uncertaintyNow("b-1", now); !(u >= restartDoubt) || math.IsInf(u, 0) {
			t.Fatalf("doubt %v", u)
		}
		if now.Sub(d.Saved) > maxDriftAge {
			t.Fatalf("saved %v", d.Saved)
		}
		again, err := parseDrift(d.marshal(), now)
		if err != nil || math.Abs(again.Frequency-d.Frequency) > 1e-12 || again.StartupSpent != d.StartupSpent || again.Saved.Unix() != d.Saved.Unix() {
			t.Fatalf("%+v became %+v, %v", d, again, err)
		}
	})
}
