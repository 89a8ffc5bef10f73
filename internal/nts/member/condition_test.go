package member

import (
	"testing"
	"time"
)

func TestMeter(t *testing.T) {
	var m Client
	if m.RTT() != 0 || m.InFlight() != 0 {
		t.Error("something was measured before the first request")
	}
	m.meter.rtt.sample(80 * time.Millisecond)
	if got := m.RTT(); got != 80*time.Millisecond {
		t.Errorf("after the first sample %v", got)
	}
	m.meter.rtt.sample(160 * time.Millisecond)
	if got := m.RTT(); got != 90*time.Millisecond {
		t.Errorf("an eighth of the difference makes %v", got)
	}
	for range 100 {
		m.meter.rtt.sample(time.Nanosecond)
	}
	if got := m.RTT(); got <= 0 || got > time.Millisecond {
		t.Errorf("after many short ones %v", got)
	}
}

// TestClient_Measures: a request counts while it is under way, and its answer makes the time.
func TestClient_Measures(t *testing.T) {
	var m *Client
	f := startServer(t, func(int, int, []byte) ([]byte, bool) {
		if n := m.InFlight(); n != 1 {
			t.Errorf("%d requests under way", n)
		}
		return eraCList, true
	}, nil)
	m = f.member(t, nil)
	if _, err := m.Supports(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if m.RTT() <= 0 || m.InFlight() != 0 {
		t.Errorf("afterwards %v, %d under way", m.RTT(), m.InFlight())
	}
}
