package assoc

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"ntp-daemon/internal/nts/record"
)

func TestRoster_HoldsNamesAsWritten(t *testing.T) {
	now := time.Unix(1000, 0)
	var r roster
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(r.add("TS1.Example."))
	must(r.add("ts2.example"))
	if got := r.deny(now); !slices.Equal(got, []string{"TS1.Example.", "ts2.example"}) {
		t.Errorf("deny names are not those received: %q", got)
	}
	if err := r.add("ts1.example"); !errors.Is(err, errNameHeld) {
		t.Errorf("D3-32: same name: %v", err)
	}
	must(r.add("other.example"))
	r.remove("TS2.EXAMPLE")
	if got := r.deny(now); !slices.Equal(got, []string{"TS1.Example.", "other.example"}) {
		t.Errorf("after remove: %q", got)
	}
}

func TestRoster_FailedNamesAreDeniedForAWhile(t *testing.T) {
	now := time.Unix(1000, 0)
	var r roster
	if err := r.add("Dead.example"); err != nil {
		t.Fatal(err)
	}
	r.fail(now, "dead.example")
	r.fail(now.Add(time.Minute), "worse.example")
	if len(r.held) != 0 {
		t.Error("a failed name is still held")
	}
	if got := r.deny(now.Add(2 * time.Minute)); !slices.Equal(got, []string{"worse.example", "dead.example"}) {
		t.Errorf("deny: %q", got)
	}
	if got := r.deny(now.Add(failedMemory)); !slices.Equal(got, []string{"worse.example"}) {
		t.Errorf("after %v: %q", failedMemory, got)
	}
	if err := r.add("WORSE.example"); err != nil {
		t.Errorf("a pool that insists is believed: %v", err)
	}
	if got := r.deny(now); !slices.Equal(got, []string{"WORSE.example"}) {
		t.Errorf("a name held again is listed twice: %q", got)
	}
}

func TestRoster_Bounded(t *testing.T) {
	now := time.Unix(1000, 0)
	var r roster
	for i := range 100 {
		r.fail(now, fmt.Sprintf("f%d.example", i))
		if err := r.add(fmt.Sprintf("h%d.example", i)); err != nil {
			t.Fatal(err)
		}
	}
	if len(r.failed) != maxFailed || len(r.deny(now)) != record.MaxDeny {
		t.Errorf("%d failures, %d deny names", len(r.failed), len(r.deny(now)))
	}
}
