package record

import (
	"fmt"
	"strings"
	"testing"
)

// TestParseRequest_Faults is one row per rule for what a request must not be. Rows with an id are those of
// docs/rules/pool.md#faults and the acceptance rows.
func TestParseRequest_Faults(t *testing.T) {
	const (
		np, ae, eom = "80010002 0000", "80040002 000f", "80000000"
		fixed       = "800c0040 K"
		token       = "000e0002 6869"
	)
	source, front := Rules{}, Rules{FrontEnd: true}
	for _, tc := range []struct {
		name  string
		rules Rules
		hex   string
		want  Fault
	}{
		{"KS05 lone end", source, eom, Missing},
		{"KS06 next protocol twice", source, np + np + ae + eom, Duplicate},
		{"KS06 next protocol without critical bit", source, "00010002 0000" + ae + eom, NotCritical},
		{"KS06 next protocol empty", source, "80010000" + ae + eom, Malformed},
		{"KS06 next protocol of three bytes", source, "80010003 000000" + ae + eom, Malformed},
		{"KS06 next protocol absent", source, ae + eom, Missing},
		{"KS06 AEAD twice", source, np + ae + ae + eom, Duplicate},
		{"KS06 AEAD absent", source, np + eom, Missing},
		{"KS06 AEAD empty", source, np + "80040000" + eom, Malformed},
		{"KS06 AEAD of three bytes", source, np + "80040003 000f00" + eom, Malformed},
		{"KS02 AEAD absent without NTPv4", source, "80010002 ffff" + eom, None},
		{"KS07 unknown critical", source, np + ae + "c1230000" + eom, UnknownCritical},
		{"KS07 unknown critical in an incomplete request", source, "c1230000" + eom, UnknownCritical},
		{"unknown non-critical", source, np + ae + "41230003 010203" + eom, None},
		{"KS08 error", source, np + ae + "80020002 0000" + eom, Forbidden},
		{"KS08 warning", source, np + ae + "80030002 0000" + eom, Forbidden},
		{"KS08 cookie", source, np + ae + "00050004 00000000" + eom, Forbidden},
		{"KS24 server and port of a client", source, np + ae + "00060002 6869 00070002 007b" + eom, None},
		{"KS24 unusable server and port", source, np + ae + "80060001 00 80070001 00 80060000 80070002 0000" + eom, None},
		{"end without critical bit", source, np + ae + "00000000", BadEnd},
		{"end with body", source, np + ae + "80000003 010203", BadEnd},
		{"bytes behind the end", source, np + ae + eom + "00", Trailing},
		{"no end", source, np + ae, Truncated},
		{"truncated body", source, np + "80040002 00", Truncated},
		{"truncated header", source, np + ae + "8000", Truncated},
		{"B6 record 1024 with a body", source, np + ae + "04000001 00" + eom, Malformed},

		{"keep alive in a plain request", source, np + ae + "00080000" + eom, None},
		{"token in a plain request", source, np + ae + token + eom, None},
		{"token twice", source, token + token + np + ae + eom, Duplicate},
		{"token in two dialects", source, token + "40050002 6869" + np + ae + eom, Duplicate},
		{"deny is nothing to a time source, whatever it holds", source, np + ae + "000d0001 ff" + eom, None},

		{"P12 one key only", source, token + "800c0020" + strings.Repeat("00", 32) + np + ae + eom, KeySize},
		{"P12 odd length", source, token + "800c0003 000000" + np + ae + eom, KeySize},
		{"P12 no key", source, token + "800c0000" + np + ae + eom, KeySize},
		{"P12 key of another algorithm", source, token + fixed + np + "80040002 0011" + eom, KeySize},
		{"P12 unknown algorithm", source, token + fixed + np + "80040002 0004" + eom, KeySize},
		{"P12 two algorithms", source, token + fixed + np + "80040004 000f0011" + eom, ListSize},
		{"P12 two protocols", source, token + fixed + "80010004 00008001" + ae + eom, ListSize},
		{"P12 with a support record", source, token + fixed + "800a0000" + np + ae + eom, Mixed},
		{"no protocol", source, token + fixed + ae + eom, Missing},
		{"no algorithm", source, token + fixed + np + eom, Missing},
		{"fixed key twice", source, token + fixed + fixed + np + ae + eom, Duplicate},
		{"support with next protocol", source, token + "800a0000" + np + eom, Mixed},
		{"support with AEAD", source, token + "80090000" + ae + eom, Mixed},
		{"support twice", source, token + "800a0000 800a0000" + eom, Duplicate},
		{"support in two dialects", source, token + "800a0000 c0010000" + eom, Duplicate},
		{"two lists in two dialects", source, token + "800a0000 c0040000" + eom, Mixed},
		{"audit 13 token behind what it protects", source, "800a0000" + token + eom, Order},
		{"audit 13 token behind the key", source, fixed + token + np + ae + eom, Order},
		{"list body is ignored", source, token + "800a0003 000001" + eom, None},
		{"all three lists", source, token + "800a0000 80090000 800b0000 00080000" + eom, None},
		{"keep alive with a body", source, token + "800a0000 80080002 0003" + eom, None},

		{"E9 fixed key at the front end", front, token + fixed + np + ae + eom, Forbidden},
		{"E9 support at the front end", front, "800a0000" + eom, Forbidden},
		{"E9 old support at the front end", front, "c0010000" + np + ae + eom, Forbidden},
		{"E9 list names at the front end", front, "800b0000" + eom, Forbidden},
		{"deny that is no text", front, np + ae + "000d0002 fffe" + eom, Malformed},
		{"deny empty or too long", front, np + ae + "000d0000 000d0100" + strings.Repeat("61", 256) + eom, None},
		{"B4 uuid before the token", front, "cf010004 75756964" + token + np + ae + eom, Order},
		{"B4 uuid without a token", front, "cf010004 75756964" + np + ae + eom, Order},
		{"B4 uuid twice", front, token + "cf010001 61 cf010001 62" + np + ae + eom, Duplicate},
		{"B4 uuid with deny", front, token + "cf010001 61 000d0001 61" + np + ae + eom, Mixed},
		{"uuid empty", front, token + "cf010000" + np + ae + eom, Malformed},
		{"uuid at a time source", source, token + "cf010004 75756964" + np + ae + eom, UnknownCritical},

		{"P17 old numbers off, list", Rules{NoOldNumbers: true}, "c0010000" + eom, UnknownCritical},
		{"P17 old numbers off, key", Rules{NoOldNumbers: true}, np + ae + "c0020040 K" + eom, UnknownCritical},
		{"P17 old numbers off, keep alive", Rules{NoOldNumbers: true}, np + ae + "40000000 40050002 6869" + eom, None},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, fault := ParseRequest(unhex(t, tc.hex), tc.rules); fault != tc.want {
				t.Errorf("got %v, want %v", fault, tc.want)
			}
		})
	}
}

// TestMeaning_Collision is the one number with two meanings (docs/rules/pool.md#dialects).
func TestMeaning_Collision(t *testing.T) {
	for _, tc := range []struct {
		hex  string
		want Type
	}{
		{"c0050000", TypeListNames}, {"40050000", TypeToken}, {"c0050001 61", TypeToken}, {"40050001 61", TypeToken},
		{"c0060000", TypeListNames}, {"40060000", TypeListNames},
	} {
		r, _, err := Consume(unhex(t, tc.hex))
		if got, old := meaning(r, true); err != nil || got != tc.want || !old {
			t.Errorf("%s: %d, old %v", tc.hex, got, old)
		}
		if got, old := meaning(r, false); got != r.Type || old {
			t.Errorf("%s without old numbers: %d, old %v", tc.hex, got, old)
		}
	}
	req, fault := ParseRequest(unhex(t, "40050002 6869 c0050000 40000000 80000000"), Rules{})
	if fault != None || !req.WantNames || string(req.Token) != "hi" || req.Dialect != Token4000 {
		t.Errorf("draft -03 list names with a token: %+v, %v", req, fault)
	}
}

func TestDialect_Wire(t *testing.T) {
	for iana := TypeKeepAlive; iana <= TypeToken; iana++ {
		for _, d := range []Dialect{IANA, Token4000, Cert4000} {
			r := Record{Type: d.wire(iana), Critical: poolCritical(iana), Body: []byte{1}}
			got, old := meaning(r, true)
			if got != iana || old != (d != IANA) {
				t.Errorf("%v record %d: read back as %d, old %v", d, iana, got, old)
			}
		}
	}
	if NoDialect.String() != "none" || Cert4000.String() != "cert" || Token4000.String() != "token-4000" || IANA.String() != "iana" {
		t.Error("dialect names differ from the configuration's")
	}
}

// TestDeny_Caps: P10, docs/rules/pool.md#deny.
func TestDeny_Caps(t *testing.T) {
	var b strings.Builder
	b.WriteString("80010002 0000 80040002 000f")
	for i := range 100 {
		name := fmt.Sprintf("%x", fmt.Sprintf("n%03d", i))
		b.WriteString("000d0004" + name + "40030004" + name)
	}
	req, fault := ParseRequest(unhex(t, b.String()+"80000000"), Rules{FrontEnd: true})
	if fault != None || len(req.Deny) != MaxDeny || req.Deny[0] != "n000" || req.Deny[63] != "n063" {
		t.Errorf("%d names, %v", len(req.Deny), fault)
	}
}

func TestSupport_CompliantExport(t *testing.T) {
	want := Request{Kind: Support, Dialect: IANA, WantAlgorithms: true, CompliantExport: true}
	wire := want.Append(nil)
	got, fault := ParseRequest(wire, Rules{})
	if fault != None || !got.CompliantExport || got.Kind != Support || len(wire) != 12 {
		t.Errorf("%x: %+v, %v", wire, got, fault)
	}
}

func TestFault_NamesAndCodes(t *testing.T) {
	seen := map[string]bool{}
	for f := None; f < faults; f++ {
		if f.String() == "" || seen[f.String()] {
			t.Errorf("fault %d has no name of its own: %q", f, f)
		}
		seen[f.String()] = true
		want := CodeBadRequest
		if f == UnknownCritical {
			want = CodeUnrecognizedCritical
		}
		if f.Code() != want {
			t.Errorf("%v: code %d", f, f.Code())
		}
	}
	if None.Err() != nil || Missing.Err() != error(Missing) || Fault(200).String() == "" {
		t.Error("Err")
	}
}
