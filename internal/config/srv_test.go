package config

import (
	"fmt"
	"testing"

	"ntp-daemon/internal/source"
)

// A source that is found by SRV records goes by their name, wherever its address ends; one that is not is as ever.
func TestSource_ServiceRecords(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"enable-srv-resolution = true", "_ntske._tcp.pool.example.org true []"},
		{"enable-srv-resolution = false", "pool.example.org:4460 false []"},
		{"enable-srv-resolution = true\nsrv-resolvers = [\"127.0.0.1\", \"::ffff:192.0.2.53\", \"[2001:db8::53]:5353\"]",
			"_ntske._tcp.pool.example.org true [127.0.0.1:53 192.0.2.53:53 [2001:db8::53]:5353]"},
	} {
		for _, mode := range []source.Mode{source.ModeNTS, source.ModeNTSPool} {
			cfg := parseOK(t, "[[source]]\nmode = \""+mode.String()+"\"\naddress = \"pool.example.org\"\n"+tt.text)
			s := cfg.Sources[0]
			if got := fmt.Sprint(s.Name(), " ", s.SRV, " ", s.SRVResolvers); got != tt.want {
				t.Errorf("%s: %s, want %s", tt.text, got, tt.want)
			}
		}
	}
}
