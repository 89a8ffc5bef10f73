package assoc

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"ntp-daemon/internal/config"
	"ntp-daemon/internal/nts/aead"
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
	s.failed.add(now, "Dead.example", 0)
	if got := s.denied(now, purpose{}); !slices.Equal(got, []string{"Dead.example", "TS1.Example.", "other.example"}) {
		t.Errorf("after one has failed: %q", got)
	}
}

func TestFailedNames_DeniedForAWhile(t *testing.T) {
	now := time.Unix(1000, 0)
	var f failedNames
	f.add(now, "dead.example", 0)
	f.add(now.Add(time.Minute), "worse.example", 1)
	if got := f.names(now.Add(2 * time.Minute)); !slices.Equal(got, []string{"dead.example", "worse.example"}) {
		t.Errorf("deny: %q", got)
	}
	if got := f.names(now.Add(30*time.Minute - 1)); len(got) != 2 {
		t.Errorf("before half an hour has passed: %q", got)
	}
	if got := f.names(now.Add(30 * time.Minute)); !slices.Equal(got, []string{"worse.example"}) {
		t.Errorf("after half an hour: %q", got)
	}
	f.add(now.Add(2*time.Minute), "Worse.example", 1)
	if got := f.names(now.Add(61 * time.Minute)); !slices.Equal(got, []string{"Worse.example"}) {
		t.Errorf("a name that failed again is listed twice, or forgotten early: %q", got)
	}
	f.remove("WORSE.example")
	if got := f.names(now); len(got) != 0 {
		t.Errorf("a pool that insists is believed: %q", got)
	}
}

func TestDenied_Bounded(t *testing.T) {
	now := time.Unix(1000, 0)
	s := &supervisor{src: config.Source{Mode: source.ModeNTSPool}}
	for i := range 100 {
		s.failed.add(now, fmt.Sprintf("f%d.example", i), 0.5)
	}
	if len(s.failed.list) != maxFailed {
		t.Errorf("%d failures", len(s.failed.list))
	}
	for i := range 50 {
		s.members = append(s.members, &member{name: fmt.Sprintf("h%d.example", i)})
	}
	got := s.denied(now, purpose{})
	if len(got) != record.MaxDeny || got[0] != "f86.example" || got[13] != "f99.example" || got[14] != "h0.example" || got[63] != "h49.example" {
		t.Errorf("%d names, %q", len(got), got) // the failures that are oldest give way
	}
	for i := range 50 {
		s.members[i].name = fmt.Sprintf("h%d.%s.example", i, strings.Repeat("x", 63))
	}
	b := record.AppendUser(nil, []aead.Algorithm{aead.SIVCMAC256}, "", s.denied(now, purpose{}))
	if len(b) > record.MaxUserRequest || bytes.Contains(b, []byte("f86.example")) || !bytes.Contains(b, []byte("h0.")) || !bytes.Contains(b, []byte("f99.")) {
		t.Errorf("%d bytes; what is left out must be the oldest failures", len(b))
	}
}
