package server

import (
	"testing"
	"unsafe"
)

// Every datagram is received and exactly one of accepted, denied, ignored, rate limited and NAK
// (docs/rules/control.md#metrics), for every verdict there is.
func TestTotals_ExactlyOneClass(t *testing.T) {
	seen := map[string]bool{}
	for _, v := range Verdicts() {
		var c Counters
		var sum Totals
		c.Count(v, 1)
		c.AddTo(&sum)
		if sum.Received != 1 || sum.Accepted+sum.Denied+sum.Ignored+sum.RateLimited+sum.NTSNAK != 1 || sum.ByVerdict[v] != 1 {
			t.Errorf("%v: %+v", v, sum)
		}
		if sum.NTSAccepted+sum.NTSDenied+sum.NTSNAK != sum.NTSReceived {
			t.Errorf("%v: NTS counters %+v", v, sum)
		}
		if v.String() == "" || seen[v.String()] {
			t.Errorf("label %q of verdict %d", v, uint8(v))
		}
		seen[v.String()] = true
	}
	if got := Verdict(200).String(); got != "verdict(200)" {
		t.Errorf("label %q", got)
	}
}

func TestCounters_SumOverWorkers(t *testing.T) {
	var a, b Counters
	a.Count(Answered, 1)
	a.Count(AnsweredNTS, 1)
	b.Count(Answered, 1)
	b.CountSendErrors(3)
	var sum Totals
	a.AddTo(&sum)
	b.AddTo(&sum)
	if sum.Received != 3 || sum.Accepted != 3 || sum.NTSAccepted != 1 || sum.ResponseSendErrors != 3 {
		t.Errorf("%+v", sum)
	}
	if unsafe.Offsetof(a.verdict) < cacheLine || unsafe.Sizeof(a)-unsafe.Offsetof(a.sendErrors) < cacheLine {
		t.Error("counters of two workers can share a cache line")
	}
}
