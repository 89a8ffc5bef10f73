package daemon

import (
	"encoding/json"
	"net/netip"
	"testing"
	"time"

	"ntp-daemon/internal/assoc"
)

func TestPoolSnapshot(t *testing.T) {
	now := time.Unix(1795600000, 0)
	got, err := json.Marshal(poolSnapshot([]assoc.PoolState{
		{Name: "ke.pool.example:4460", Want: 1, Members: []assoc.PoolMember{{Server: "a.example", Addr: netip.MustParseAddrPort("192.0.2.1:123")}}},
		{Name: "_ntske._tcp.pool.example", SRV: true, Want: 4, Search: now.Add(15 * time.Minute), Reason: "why",
			Failed: []assoc.FailedName{{Name: "gone.example", Until: now}, {Name: "b.example", Until: now.Add(time.Minute)}}},
		{Name: "due.example:4460", Want: 1, Search: now.Add(-time.Minute), Reason: "why"},
	}, now))
	const want = `[{"name":"ke.pool.example:4460","found_by":"key exchange","want":1,"members":[{"server":"a.example","address":"192.0.2.1:123"}],"failed":[],"search_wait":-1,"reason":""},` +
		`{"name":"_ntske._tcp.pool.example","found_by":"SRV","want":4,"members":[],"failed":[{"server":"b.example","seconds":60}],"search_wait":900,"reason":"why"},` +
		`{"name":"due.example:4460","found_by":"key exchange","want":1,"members":[],"failed":[],"search_wait":0,"reason":"why"}]`
	if err != nil || string(got) != want {
		t.Errorf("%v\n%s\nwant\n%s", err, got, want)
	}
}
