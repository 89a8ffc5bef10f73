package observe

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestSnapshot_MembersOfNtpdRs: what ntpd-rs 1.9 writes and its exporter reads, name by name, in its types and order.
func TestSnapshot_MembersOfNtpdRs(t *testing.T) {
	limit, cookies := 2.5, 7
	for _, c := range []struct {
		v    any
		want string // the members of ntpd-rs come first
	}{
		{Program{Version: "1", BuildCommit: "c", BuildCommitDate: "d", UptimeSeconds: 1.5, Now: Time{9}},
			`{"version":"1","build_commit":"c","build_commit_date":"d","uptime_seconds":1.5,"now":{"timestamp":9}}`},
		{System{Stratum: 2, ReferenceID: 3, AccumulatedStepsThreshold: &limit, Precision: 4, RootDelay: 5,
			RootVarianceBaseTime: Time{6}, RootVarianceBase: 7, RootVarianceLinear: 8, RootVarianceQuadratic: 9,
			RootVarianceCubic: 10, LeapIndicator: "NoWarning", AccumulatedSteps: 11},
			`{"stratum":2,"reference_id":3,"accumulated_steps_threshold":2.5,"precision":4,"root_delay":5,` +
				`"root_variance_base_time":{"timestamp":6},"root_variance_base":7,"root_variance_linear":8,"root_variance_quadratic":9,` +
				`"root_variance_cubic":10,"leap_indicator":"NoWarning","accumulated_steps":11}`},
		{System{}, `{"stratum":0,"reference_id":0,"accumulated_steps_threshold":null,`},
		{Source{Offset: 1, Uncertainty: 2, Delay: 3, RemoteDelay: 4, RemoteUncertainty: 5, LastUpdate: Time{6}, UnansweredPolls: 7,
			PollInterval: 8, NTSCookies: &cookies, Name: "n", Address: "a", ID: 9},
			`{"offset":1,"uncertainty":2,"delay":3,"remote_delay":4,"remote_uncertainty":5,"last_update":{"timestamp":6},` +
				`"unanswered_polls":7,"poll_interval":8,"nts_cookies":7,"name":"n","address":"a","id":9,`},
		{Source{}, `{"offset":0,"uncertainty":0,"delay":0,"remote_delay":0,"remote_uncertainty":0,"last_update":{"timestamp":0},` +
			`"unanswered_polls":0,"poll_interval":0,"nts_cookies":null,`},
		{Server{Address: "a", Stats: ServerStats{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}},
			`{"address":"a","stats":{"received_packets":1,"accepted_packets":2,"denied_packets":3,"ignored_packets":4,` +
				`"rate_limited_packets":5,"response_send_errors":6,"nts_received_packets":7,"nts_accepted_packets":8,` +
				`"nts_denied_packets":9,"nts_rate_limited_packets":10,"nts_nak_packets":11},`},
		{Snapshot{Sources: []Source{}, Servers: []Server{}}, `{"program":{`},
	} {
		b, err := json.Marshal(c.v)
		if err != nil || !strings.HasPrefix(string(b), c.want) {
			t.Errorf("%T: %v\n%s\nwant\n%s", c.v, err, b, c.want)
		}
	}
	b, _ := json.Marshal(Snapshot{Sources: []Source{}, Servers: []Server{}, System: System{Stratum: 16}})
	for _, part := range []string{`"system":{`, `"sources":[]`, `"servers":[]`} {
		if !strings.Contains(string(b), part) {
			t.Errorf("%s lacks %s", b, part)
		}
	}
}
