package pool

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"
)

func TestRoster_HoldsNamesAsWritten(t *testing.T) {
	now := time.Unix(1000, 0)
	var r Roster
	if got := r.Missing(2); got != 2 {
		t.Fatalf("an empty roster misses %d of 2", got)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(r.Add("TS1.Example.", netip.MustParseAddr("192.0.2.1")))
	must(r.Add("ts2.example", netip.Addr{}))
	if got := r.Deny(now); !slices.Equal(got, []string{"TS1.Example.", "ts2.example"}) {
		t.Errorf("deny names are not those received: %q", got)
	}
	if err := r.Add("ts1.example", netip.MustParseAddr("192.0.2.9")); !errors.Is(err, ErrNameHeld) {
		t.Errorf("D3-32: same name: %v", err)
	}
	if err := r.Add("other.example", netip.MustParseAddr("::ffff:192.0.2.1")); !errors.Is(err, ErrAddressHeld) {
		t.Errorf("D3-50: same address: %v", err)
	}
	must(r.Add("no-address.example", netip.Addr{})) // unknown addresses are not equal
	if r.Held() != 3 || r.Missing(2) != 0 {
		t.Errorf("holds %d, misses %d of 2", r.Held(), r.Missing(2))
	}
	r.Remove("TS2.EXAMPLE")
	if got := r.Deny(now); !slices.Equal(got, []string{"TS1.Example.", "no-address.example"}) {
		t.Errorf("after Remove: %q", got)
	}
}

func TestRoster_FailedNamesAreDeniedForAWhile(t *testing.T) {
	now := time.Unix(1000, 0)
	var r Roster
	if err := r.Add("Dead.example", netip.MustParseAddr("192.0.2.1")); err != nil {
		t.Fatal(err)
	}
	r.Fail(now, "dead.example")
	r.Fail(now.Add(time.Minute), "worse.example")
	if r.Held() != 0 {
		t.Error("a failed name is still held")
	}
	if got := r.Deny(now.Add(2 * time.Minute)); !slices.Equal(got, []string{"worse.example", "dead.example"}) {
		t.Errorf("deny: %q", got)
	}
	if got := r.Deny(now.Add(failedMemory)); !slices.Equal(got, []string{"worse.example"}) {
		t.Errorf("after %v: %q", failedMemory, got)
	}
	if err := r.Add("WORSE.example", netip.Addr{}); err != nil {
		t.Errorf("a pool that insists is believed: %v", err)
	}
	if got := r.Deny(now); !slices.Equal(got, []string{"WORSE.example"}) {
		t.Errorf("a name held again is listed twice: %q", got)
	}
}

func TestRoster_Bounded(t *testing.T) {
	now := time.Unix(1000, 0)
	var r Roster
	for i := range 100 {
		r.Fail(now, fmt.Sprintf("f%d.example", i))
		if err := r.Add(fmt.Sprintf("h%d.example", i), netip.Addr{}); err != nil {
			t.Fatal(err)
		}
	}
	if len(r.failed) != maxFailed || len(r.Deny(now)) != maxDenied {
		t.Errorf("%d failures, %d deny names", len(r.failed), len(r.Deny(now)))
	}
}
