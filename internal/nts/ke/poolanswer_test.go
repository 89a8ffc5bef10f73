package ke

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"ntp-daemon/internal/nts/record"
)

// hexText is a record of that type with a text for its body.
func hexText(t record.Type, critical bool, text string) string {
	return fmt.Sprintf("%x", record.Append(nil, record.Record{Type: t, Critical: critical, Body: []byte(text)}))
}

// A Server record that a pool hands on is one well-formed name or address, kept as it was written, or the whole answer is
// refused. Where it may point is judged when it is looked up (internal/locate).
func TestD3_27_ServerNamesInAnAnswer(t *testing.T) {
	for name, valid := range map[string]bool{
		"ts1.example": true, "TS1.Example": true, "ts1.example.": true, "xn--bcher-kva.example": true, "_ts.example": true,
		"192.0.2.1": true, "2001:db8::1": true, "::ffff:192.0.2.1": true,
		"": false, " ": false, "ts1 .example": false, "bücher.example": false, "ts1.example\n": false, "ts1\x00.example": false,
		"ts1.example..": false, ".": false, ".ts1.example": false, "ts1/example": false, "ts1.example:123": false, "[2001:db8::1]": false,
		"fe80::1%eth0": false, "192.0.2.256": false, "-ts1.example": false, strings.Repeat("a", 64) + ".example": false,
		strings.Repeat("a.", 127) + "a": true, strings.Repeat("a.", 128) + "a": false, "\xff\xfe": false, "\x1b[2Jts1.example": false,
	} {
		p := startPeer(t, nil, answers(wire(t, hexNP+hexAE15+hexCookie+hexText(record.TypeServer, true, name)+hexEOM)))
		res, err := Exchange(t.Context(), p.client())
		switch {
		case valid && (err != nil || res.Server != name || !res.ServerGiven || res.Port != 123):
			t.Errorf("%q: %+v, %v", name, res, err)
		case !valid && (!errors.Is(err, record.BadServer) || res.Session != nil):
			t.Errorf("%q: %v, session %v", name, err, res.Session != nil)
		}
		if err != nil && strings.ContainsAny(err.Error(), "\n\x1b\x00") {
			t.Errorf("raw bytes of the peer in %q", err)
		}
	}
}

// Port 0, a Port of another length, and a second Server or Port make the whole answer void: no keys are kept.
func TestD3_28_PortsAndRepetitions(t *testing.T) {
	server, other := hexText(record.TypeServer, true, "a.test"), hexText(record.TypeServer, true, "b.test")
	for _, tt := range []struct {
		name, hex string
		port      uint16
		want      error
	}{
		{"none", "", 123, nil},
		{"1", "80070002 0001", 1, nil},
		{"65535", "80070002 ffff", 65535, nil},
		{"not critical", "00070002 1092", 4242, nil},
		{"0", "80070002 0000", 0, record.BadPort},
		{"no body", "80070000", 0, record.BadPort},
		{"one byte", "80070001 7b", 0, record.BadPort},
		{"four bytes", "80070004 0000007b", 0, record.BadPort},
		{"twice", "80070002 007b 80070002 007b", 0, record.Duplicate},
		{"twice, not the same", "80070002 007b 80070002 0001", 0, record.Duplicate},
		{"server twice", server + server, 0, record.Duplicate},
		{"two servers", server + other, 0, record.Duplicate},
	} {
		p := startPeer(t, nil, answers(wire(t, hexNP+hexAE15+hexCookie+tt.hex+hexEOM)))
		res, err := Exchange(t.Context(), p.client())
		if tt.want == nil && (err != nil || res.Port != tt.port) || tt.want != nil && (!errors.Is(err, tt.want) || res.Session != nil) {
			t.Errorf("%s: port %d, %v; want %d, %v", tt.name, res.Port, err, tt.port, tt.want)
		}
	}
}
