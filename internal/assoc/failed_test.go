package assoc

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"ntp-daemon/internal/config"
	"ntp-daemon/internal/nts/record"
	"ntp-daemon/internal/source"
)

// docs/rules/client.md#pool-answers: names are denied as the pool wrote them and compared as DNS does.
func TestDenied_HoldsNamesAsWritten(t *testing.T) {
	now := time.Unix(1000, 0)
	s := &supervisor{src: config.Source{Mode: source.ModeNTSPool}}
	s.members = []*member{{id: 1, name: "TS1.Example."}, {id: 2, name: "ts2.example"}, {id: 3, name: "other.example"}, {id: 4, name: "ts1.example"}}
	if got := s.denied(now, purpose{}); !slices.Equal(got, []string{"TS1.Example.", "ts2.example", "other.example"}) {
		t.Errorf("deny names are not those received: %q", got)
	}
	if got := s.denied(now, purpose{rekey, 1}); !slices.Equal(got, []string{"ts2.example", "other.example"}) {
		t.Errorf("renewal for the first: %q", got)
	}
	for name, want := range map[string]bool{"ts1.example": true, "TS2.EXAMPLE.": true, "ts3.example": false} {
		if s.named(name) != want {
			t.Errorf("%s held: %v", name, !want)
		}
	}
	s.forget(s.members[1])
	if got := s.denied(now, purpose{}); !slices.Equal(got, []string{"TS1.Example.", "other.example"}) {
		t.Errorf("after one has ended: %q", got)
	}
	s.failed.add(now, "Dead.example")
	if got := s.denied(now, purpose{}); !slices.Equal(got, []string{"TS1.Example.", "other.example", "Dead.example"}) {
		t.Errorf("after one has failed: %q", got)
	}
}

func TestFailedNames_DeniedForAWhile(t *testing.T) {
	now := time.Unix(1000, 0)
	var f failedNames
	f.add(now, "dead.example")
	f.add(now.Add(time.Minute), "worse.example")
	if got := f.latest(now.Add(2 * time.Minute)); !slices.Equal(got, []string{"worse.example", "dead.example"}) {
		t.Errorf("deny: %q", got)
	}
	if got := f.latest(now.Add(failedMemory)); !slices.Equal(got, []string{"worse.example"}) {
		t.Errorf("after %v: %q", failedMemory, got)
	}
	f.add(now.Add(2*time.Minute), "Worse.example")
	if got := f.latest(now); !slices.Equal(got, []string{"Worse.example"}) {
		t.Errorf("a name that failed again is listed twice: %q", got)
	}
	f.remove("WORSE.example")
	if got := f.latest(now); len(got) != 0 {
		t.Errorf("a pool that insists is believed: %q", got)
	}
}

func TestDenied_Bounded(t *testing.T) {
	now := time.Unix(1000, 0)
	s := &supervisor{src: config.Source{Mode: source.ModeNTSPool}}
	for i := range 100 {
		s.failed.add(now, fmt.Sprintf("f%d.example", i))
		s.members = append(s.members, &member{name: fmt.Sprintf("h%d.example", i)})
	}
	if len(s.failed.list) != maxFailed || len(s.denied(now, purpose{})) != record.MaxDeny {
		t.Errorf("%d failures, %d deny names", len(s.failed.list), len(s.denied(now, purpose{})))
	}
}
