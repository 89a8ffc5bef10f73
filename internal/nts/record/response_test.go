package record

import (
	"encoding/hex"
	"runtime"
	"strings"
	"testing"

	"ntp-daemon/internal/nts/aead"
)

// offered is what the client of the tests asked for.
var offered = Offer{Protocols: v4, Algorithms: both}

const (
	hexNP, hexAE, hexEOM = "80010002 0000", "80040002 000f", "80000000"
	hexCookie            = "00050004 01020304"
)

// TestParseResponse_Faults is one case per rule of the acceptance rows KC.
func TestParseResponse_Faults(t *testing.T) {
	server := func(name string) string {
		return hexNP + hexAE + hexCookie + hex.EncodeToString(Append(nil, Record{Type: TypeServer, Critical: true, Body: []byte(name)})) + hexEOM
	}
	port := func(rest string) string { return hexNP + hexAE + hexCookie + rest + hexEOM }
	for _, tc := range []struct {
		name, hex string
		want      Fault
	}{
		{"good", hexNP + hexAE + hexCookie + hexEOM, None},
		{"good in another order", hexCookie + hexAE + hexNP + hexEOM, None},
		{"KC04 no end", hexNP + hexAE + hexCookie, Truncated},
		{"KC04 truncated record", hexNP + hexAE + "00050004 0102", Truncated},
		{"KC04 end not critical", hexNP + hexAE + hexCookie + "00000000", BadEnd},
		{"KC04 end with body", hexNP + hexAE + hexCookie + "80000003 010203", BadEnd},
		{"KC04 bytes behind the end", hexNP + hexAE + hexCookie + hexEOM + "00", Trailing},
		{"KC05 error", "80020002 0002" + hexEOM, PeerError},
		{"KC05 error beside a good answer", hexNP + hexAE + hexCookie + "80020002 0009" + hexEOM, PeerError},
		{"KC05 error of one byte", "80020001 00" + hexEOM, Malformed},
		{"KC06 warning", hexNP + hexAE + hexCookie + "80030002 0000" + hexEOM, PeerWarning},
		{"KC07 unknown critical", hexNP + hexAE + hexCookie + "c1230000" + hexEOM, UnknownCritical},
		{"KC07 unknown non-critical", hexNP + hexAE + hexCookie + "41230000" + hexEOM, None},
		{"KC08 next protocol missing", hexAE + hexCookie + hexEOM, Missing},
		{"KC08 next protocol twice", hexNP + hexNP + hexAE + hexCookie + hexEOM, Duplicate},
		{"KC08 next protocol empty", "80010000" + hexAE + hexCookie + hexEOM, NoCommonProtocol},
		{"KC08 two ids", "80010004 00000000" + hexAE + hexCookie + hexEOM, ListSize},
		{"KC08 id not offered", "80010002 8001" + hexAE + hexCookie + hexEOM, NotOffered},
		{"KC08 not critical", "00010002 0000" + hexAE + hexCookie + hexEOM, NotCritical},
		{"KC08 odd", "80010001 00" + hexAE + hexCookie + hexEOM, Malformed},
		{"KC09 AEAD missing", hexNP + hexCookie + hexEOM, Missing},
		{"KC09 AEAD empty", hexNP + "80040000" + hexCookie + hexEOM, NoCommonAlgorithm},
		{"KC09 two ids", hexNP + "80040004 000f0011" + hexCookie + hexEOM, ListSize},
		{"KC09 id not offered", hexNP + "80040002 001e" + hexCookie + hexEOM, NotOffered},
		{"KC09 odd", hexNP + "80040003 000f00" + hexCookie + hexEOM, Malformed},
		{"KC09 twice", hexNP + hexAE + hexAE + hexCookie + hexEOM, Duplicate},
		{"KC09 not critical is allowed", hexNP + "00040002 000f" + hexCookie + hexEOM, None},
		{"KC10 no cookie", hexNP + hexAE + hexEOM, NoCookies},
		{"KC10 empty cookies only", hexNP + hexAE + "00050000" + "00050001 00" + hexEOM, NoCookies},
		{"KC11 IPv4", server("192.0.2.1"), None},
		{"KC11 IPv6", server("2001:db8::1"), None},
		{"KC11 FQDN", server("Time.Example.net"), None},
		{"KC11 FQDN with dot", server("time.example.net."), None},
		{"KC11 single label", server("localhost"), None},
		{"KC11 empty", server(""), BadServer},
		{"KC11 NUL", server("a\x00b"), BadServer},
		{"KC11 space", server("a b"), BadServer},
		{"KC11 newline", server("a\n"), BadServer},
		{"KC11 zone", server("fe80::1%eth0"), BadServer},
		{"KC11 300 bytes", server(strings.Repeat("a.", 150)), BadServer},
		{"KC11 label of 64", server(strings.Repeat("a", 64) + ".test"), BadServer},
		{"KC11 UTF-8", server("zeit.exämple"), BadServer},
		{"KC11 brackets", server("[::1]"), BadServer},
		{"KC11 mistyped address", server("1.2.3"), BadServer},
		{"KC11 leading hyphen", server("-a.test"), BadServer},
		{"KC11 twice", strings.ReplaceAll(server("a.test"), hexCookie, hexCookie+"80060001 61"), Duplicate},
		{"KC12 port 0", port("80070002 0000"), BadPort},
		{"KC12 one byte", port("80070001 7b"), BadPort},
		{"KC12 three bytes", port("80070003 007b00"), BadPort},
		{"KC12 four bytes", port("80070004 0000007b"), BadPort},
		{"KC12 twice", port("80070002 007b 80070002 007b"), Duplicate},
		{"KC12 port 65535", port("80070002 ffff"), None},
		{"B3 keep alive and token are nothing to a client", port("00080000 000e0001 61 40000000 40050001 61"), None},
		{"B3 supported list", port("800a0000"), Forbidden},
		{"B3 old supported list", port("c0010000"), Forbidden},
		{"B3 fixed key", port("800c0000"), Forbidden},
		{"B3 deny", port("000d0001 61"), Forbidden},
		{"record 1024 with a body", port("04000001 00"), Malformed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, fault := ParseResponse(unhex(t, tc.hex), offered); fault != tc.want {
				t.Errorf("got %v, want %v", fault, tc.want)
			}
		})
	}
}

// TestKC10_Cookies: what cannot be carried is skipped, of the rest the first eight are kept.
func TestKC10_Cookies(t *testing.T) {
	answer := func(sizes ...int) []byte {
		b := unhex(t, hexNP+hexAE)
		for i, n := range sizes {
			body := make([]byte, n)
			if n > 0 {
				body[0] = byte(i)
			}
			b = Append(b, Record{Type: TypeCookie, Body: body})
		}
		return appendEnd(b)
	}
	r, fault := ParseResponse(answer(0, 1, 6, 351, 352, 65535, 4, 348), offered)
	if fault != None || len(r.Cookies) != 2 || len(r.Cookies[0]) != 4 || len(r.Cookies[1]) != 348 {
		t.Errorf("%d cookies, %v", len(r.Cookies), fault)
	}
	nine := make([]int, 9)
	many := make([]int, 5000)
	for i := range many {
		many[i] = 104
	}
	copy(nine, many)
	for _, sizes := range [][]int{nine, many[:1000]} {
		r, fault = ParseResponse(answer(sizes...), offered)
		if fault != None || len(r.Cookies) != MaxCookies || r.Cookies[7][0] != 7 {
			t.Errorf("of %d cookies %d kept, %v", len(sizes), len(r.Cookies), fault)
		}
	}
	f := Framer{Limits: ResponseLimits}
	if _, fault = f.Scan(answer(many...)); fault != TooLong {
		t.Errorf("5000 cookies of 104 bytes: %v", fault)
	}
	// What is kept of the longest answer that is taken is bounded, too: by what one session can use.
	for _, size := range []int{0, 1, 4, 104, 348, 65535} {
		sizes := make([]int, ResponseLimits.Bytes/(size+4)-1)
		for i := range sizes {
			sizes[i] = size
		}
		message := answer(sizes...)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, _ = ParseResponse(message, offered)
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 64<<10 {
			t.Errorf("%d cookies of %d bytes: %d bytes allocated", len(sizes), size, n)
		}
	}
}

// TestParseFixed_Cookies: docs/rules/pool.md#time-source-answers, P02, where a pool is stricter than a client.
func TestParseFixed_Cookies(t *testing.T) {
	wrap := func(c string) []byte { return unhex(t, hexNP+hexAE+c+hexEOM) }
	for _, tc := range []struct {
		name string
		msg  []byte
		want Fault
		kept int
	}{
		{"none", wrap(""), NoCookies, 0},
		{"empty", wrap(hexCookie + "00050000"), BadCookie, 1},
		{"too long", wrap("0005015f" + strings.Repeat("00", 351)), BadCookie, 0},
		{"not a multiple of four", wrap("00050003 010203"), None, 1},
		{"unequal", wrap(hexCookie + "00050008 0102030405060708"), None, 2},
		{"nine", wrap(strings.Repeat(hexCookie, 9)), None, 8},
		{"warning", wrap(hexCookie + "80030002 0000"), PeerWarning, 1},
	} {
		r, fault := ParseFixed(tc.msg, offered)
		if fault != tc.want || len(r.Cookies) != tc.kept {
			t.Errorf("%s: %v, %d kept", tc.name, fault, len(r.Cookies))
		}
		if want := map[string]int{"nine": 1}[tc.name]; r.Surplus != want {
			t.Errorf("%s: %d left out", tc.name, r.Surplus)
		}
	}
}

func TestParseSupport_Faults(t *testing.T) {
	for _, tc := range []struct {
		name    string
		dialect Dialect
		hex     string
		want    Fault
	}{
		{"chrony's order", IANA, "80090002 0000 800a0004 000f0020 00080000 80000000", None},
		{"odd protocol list", IANA, "80090003 000001 80000000", Malformed},
		{"odd algorithm list", IANA, "800a0006 000f00200011 80000000", Malformed},
		{"algorithms twice", IANA, "800a0000 800a0000 80000000", Duplicate},
		{"protocols twice in two dialects", IANA, "80090000 c0040000 80000000", Duplicate},
		{"negotiation", IANA, "800a0000 80010002 0000 80000000", Forbidden},
		{"cookies", Token4000, "c0010000 00050004 00000000 80000000", Forbidden},
		{"list names in an answer", IANA, "800b0000 80000000", Forbidden},
		{"deny in an answer", IANA, "000d0001 61 80000000", Forbidden},
		{"warning", IANA, "80030002 0000 80000000", PeerWarning},
		{"unknown critical", IANA, "c1230000 80000000", UnknownCritical},
		{"unknown", IANA, "41230000 80000000", None},
		{"bad name", IANA, "80060000 80000000", BadServer},
		{"port", IANA, "80070002 007b 80000000", None},
		{"error of one byte", IANA, "80020001 00 80000000", Malformed},
		{"bad end", IANA, "00000000", BadEnd},
		{"no end", IANA, "800a0000", Truncated},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, fault := ParseSupport(unhex(t, tc.hex), tc.dialect); fault != tc.want {
				t.Errorf("got %v, want %v", fault, tc.want)
			}
		})
	}
}

// TestP04_KeySizes: a member cannot choose how long exported keys are.
func TestP04_KeySizes(t *testing.T) {
	r, fault := ParseSupport(unhex(t, "800a0020 000f0000 000f1fe1 000fffff 00010020 000f0020 000f0020 001e0010 00100031 80000000"), IANA)
	want := []aead.Algorithm{aead.SIVCMAC256, aead.GCMSIV128}
	if fault != None || len(r.Algorithms) != 2 || r.Algorithms[0] != want[0] || r.Algorithms[1] != want[1] {
		t.Errorf("%v, %v", r.Algorithms, fault)
	}
}

func TestSupportResponse_Names(t *testing.T) {
	want := SupportResponse{Names: []string{"a.test", "192.0.2.1"}, KeepAlive: true, Dialect: Token4000}
	got, fault := ParseSupport(want.Append(nil), Token4000)
	if fault != None || len(got.Names) != 2 || got.Names[0] != "a.test" || got.Algorithms != nil || got.Protocols != nil || !got.KeepAlive {
		t.Errorf("%+v, %v", got, fault)
	}
}
