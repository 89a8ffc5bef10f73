package record

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ntp-daemon/internal/nts/aead"
	"ntp-daemon/internal/secret"
)

// unhex reads the notation of docs/rules/pool.md#vectors: blanks between the parts, K for 00..3f.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	var k strings.Builder
	for i := range 64 {
		fmt.Fprintf(&k, "%02x", i)
	}
	s = strings.NewReplacer(" ", "", "|", "", "K", k.String()).Replace(s)
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// keyK is the key material of the vectors.
func keyK() secret.Bytes {
	k := make(secret.Bytes, 64)
	for i := range k {
		k[i] = byte(i)
	}
	return k
}

var (
	both = []aead.Algorithm{aead.SIVCMAC512, aead.SIVCMAC256}
	v4   = []Protocol{NTPv4}
)

const hexV1 = "80010002 0000 80040004 0011000f 80000000"

// requestVectors are the requests of docs/rules/pool.md#vectors with the value that both directions must agree on.
func requestVectors() []struct {
	id, hex string
	rules   Rules
	want    Request
} {
	front := Rules{FrontEnd: true}
	token := secret.Bytes("hi")
	return []struct {
		id, hex string
		rules   Rules
		want    Request
	}{
		{"V1 user request", hexV1, front, Request{Protocols: v4, Algorithms: both}},
		{"V4 protocols of two kinds", "80010004 80010000 80040004 0011000f 80000000", front,
			Request{Protocols: []Protocol{0x8001, NTPv4}, Algorithms: both}},
		{"V5 support era C", "000e0002 6869 800a0000 80090000 00080000 80000000", Rules{},
			Request{Kind: Support, Dialect: IANA, Token: token, WantAlgorithms: true, WantProtocols: true, KeepAlive: true}},
		{"V6 support era B", "40050002 6869 c0010000 c0040000 40000000 80000000", Rules{},
			Request{Kind: Support, Dialect: Token4000, Token: token, WantAlgorithms: true, WantProtocols: true, KeepAlive: true}},
		{"V7 support era A", "c0010000 80000000", Rules{},
			Request{Kind: Support, Dialect: Cert4000, WantAlgorithms: true}},
		{"V11 fixed key era C", "000e0002 6869 800c0040 K 80010002 0000 80040002 000f 00080000 80000000", Rules{},
			Request{Kind: FixedKey, Dialect: IANA, Token: token, Keys: keyK(), Protocols: v4,
				Algorithms: []aead.Algorithm{aead.SIVCMAC256}, KeepAlive: true}},
		{"V12 fixed key era B", "40050002 6869 c0020040 K 80010002 0000 80040002 000f 40000000 80000000", Rules{},
			Request{Kind: FixedKey, Dialect: Token4000, Token: token, Keys: keyK(), Protocols: v4,
				Algorithms: []aead.Algorithm{aead.SIVCMAC256}, KeepAlive: true}},
		{"V13 fixed key era A", "80010002 0000 00040002 000f c0020040 K 80000000", Rules{},
			Request{Kind: FixedKey, Dialect: Cert4000, Keys: keyK(), Protocols: v4,
				Algorithms: []aead.Algorithm{aead.SIVCMAC256}}},
		{"V19 monitor", "000e0003 6b6579 cf010004 75756964 80010002 0000 80040004 0011000f 80000000", front,
			Request{Token: secret.Bytes("key"), UUID: "uuid", Protocols: v4, Algorithms: both}},
		{"V21 AEAD 30 offer", "80010002 0000 80040004 001e000f 04000000 80000000", front,
			Request{Protocols: v4, Algorithms: []aead.Algorithm{aead.GCMSIV128, aead.SIVCMAC256}, CompliantExport: true}},
	}
}

// equalSecrets lets cmp look into secrets.
var equalSecrets = cmp.Comparer(func(a, b secret.Bytes) bool { return (a == nil) == (b == nil) && bytes.Equal(a, b) })

func TestRequestVectors(t *testing.T) {
	lengths := map[string]int{"V1 ": 18, "V4 ": 20, "V5 ": 22, "V6 ": 22, "V7 ": 8, "V11": 94, "V12": 94, "V13": 84, "V19": 33, "V21": 22}
	for _, v := range requestVectors() {
		t.Run(v.id, func(t *testing.T) {
			wire := unhex(t, v.hex)
			if len(wire) != lengths[v.id[:3]] {
				t.Errorf("vector has %d bytes, the list says %d", len(wire), lengths[v.id[:3]])
			}
			f := Framer{Limits: RequestLimits}
			if n, fault := f.Scan(wire); n != len(wire) || fault != None {
				t.Errorf("framed %d bytes, %v", n, fault)
			}
			got, fault := ParseRequest(wire, v.rules)
			if fault != None {
				t.Fatalf("fault: %v", fault)
			}
			if d := cmp.Diff(v.want, got, equalSecrets); d != "" {
				t.Errorf("parsed (-want +got):\n%s", d)
			}
			if b := v.want.Append(nil); !bytes.Equal(b, wire) {
				t.Errorf("appended %x\nwant     %x", b, wire)
			}
		})
	}
}

func TestUserRequestVectors(t *testing.T) {
	for _, v := range []struct {
		id         string
		algorithms []aead.Algorithm
		deny       []string
		hex        string
	}{
		{"V1 and KC01", both, nil, hexV1},
		{"V2 and V3 deny in both numbers", both, []string{"a.test"},
			"80010002 0000 80040004 0011000f 000d0006 612e74657374 40030006 612e74657374 80000000"},
		{"V21 and KC01 with AEAD 30", []aead.Algorithm{aead.GCMSIV128, aead.SIVCMAC256}, nil,
			"80010002 0000 80040004 001e000f 04000000 80000000"},
	} {
		t.Run(v.id, func(t *testing.T) {
			wire := unhex(t, v.hex)
			if got := AppendUser(nil, v.algorithms, "", v.deny); !bytes.Equal(got, wire) {
				t.Errorf("appended %x\nwant     %x", got, wire)
			}
			req, fault := ParseRequest(wire, Rules{FrontEnd: true})
			if fault != None || req.Kind != Plain || !cmp.Equal(req.Deny, v.deny) || !cmp.Equal(req.Algorithms, v.algorithms) {
				t.Errorf("parsed %+v, %v", req, fault)
			}
		})
	}
	t.Run("V2 as on the wire", func(t *testing.T) {
		req, fault := ParseRequest(unhex(t, "80010002 0000 80040004 0011000f 000d0006 612e74657374 80000000"), Rules{FrontEnd: true})
		if fault != None || !cmp.Equal(req.Deny, []string{"a.test"}) {
			t.Errorf("parsed %+v, %v", req, fault)
		}
	})
}

// RFC 8915 §4.1.7: the server that is wanted again is one record, not critical, and never at the cost of the cap.
func TestAppendUser_Prefer(t *testing.T) {
	want := unhex(t, "80010002 0000 80040004 0011000f 00060006 622e74657374 000d0006 612e74657374 40030006 612e74657374 80000000")
	got := AppendUser(nil, both, "b.test", []string{"a.test"})
	if !bytes.Equal(got, want) {
		t.Errorf("appended %x\nwant     %x", got, want)
	}
	for _, rules := range []Rules{{FrontEnd: true}, {}} { // a pool, or a server that knows nothing of pools
		if req, fault := ParseRequest(got, rules); fault != None || req.Server != "b.test" {
			t.Errorf("%+v: parsed %+v, %v", rules, req, fault)
		}
	}
	var deny []string
	for i := range MaxDeny {
		deny = append(deny, fmt.Sprintf("%02d.%s.example", i, strings.Repeat("x", 60)))
	}
	long := strings.Repeat("y", 63) + "." + strings.Repeat("z", 63) + ".example"
	if b := AppendUser(nil, both, long, deny); len(b) > MaxUserRequest || !bytes.Contains(b, []byte(long)) || !bytes.Contains(b, []byte("63.x")) {
		t.Errorf("%d bytes with a preferred server", len(b))
	}
}

func TestAppendUser_StaysBelowTheCap(t *testing.T) {
	var deny []string
	for i := range 70 {
		deny = append(deny, fmt.Sprintf("%03d.%s.example", i, strings.Repeat("x", 40)))
	}
	for _, n := range []int{1, 20, 60, 64, 70} {
		b := AppendUser([]byte("head"), both, "", deny[:n])[4:]
		req, fault := ParseRequest(b, Rules{FrontEnd: true})
		if fault != None || len(b) > MaxUserRequest {
			t.Fatalf("%d names: %d bytes, %v", n, len(b), fault)
		}
		if want := deny[max(0, n-MaxDeny):n]; !cmp.Equal(req.Deny, want) {
			t.Errorf("%d names: got %d, want the latest %d", n, len(req.Deny), len(want))
		}
		if old := bytes.Contains(b, []byte{0x40, 0x03}); old != (n <= 20) {
			t.Errorf("%d names: old numbers %v", n, old)
		}
	}
	long := make([]string, 64)
	for i := range long {
		long[i] = fmt.Sprintf("%02d%s", i, strings.Repeat("y", MaxName-2))
	}
	b := AppendUser(nil, both, "", long)
	req, fault := ParseRequest(b, Rules{FrontEnd: true})
	if fault != None || len(b) > MaxUserRequest || !cmp.Equal(req.Deny, long[64-len(req.Deny):]) || len(req.Deny) != 15 {
		t.Errorf("%d bytes, %d names, %v", len(b), len(req.Deny), fault)
	}
}

func TestSupportResponseVectors(t *testing.T) {
	cookies := strings.Repeat("00050068"+strings.Repeat("ab", 104), 8)
	algorithms := []aead.Algorithm{aead.SIVCMAC256, aead.SIVCMAC512}
	for _, v := range []struct {
		id, hex  string
		length   int
		want     SupportResponse
		readOnly bool
	}{
		{"V8 era C", "800a0008 000f0020 00110040 80090002 0000 00080000 80000000", 26,
			SupportResponse{Algorithms: algorithms, Protocols: v4, KeepAlive: true, Dialect: IANA}, false},
		{"V9 era B", "c0010008 000f0020 00110040 c0040002 0000 40000000 80000000", 26,
			SupportResponse{Algorithms: algorithms, Protocols: v4, KeepAlive: true, Dialect: Token4000}, false},
		{"V10 era A with a negotiation of its own",
			"c0010008 00110040 000f0020 80010002 0000 00040002 000f" + cookies + "80000000", 892,
			SupportResponse{Algorithms: both, Dialect: Cert4000}, true},
	} {
		t.Run(v.id, func(t *testing.T) {
			wire := unhex(t, v.hex)
			if len(wire) != v.length {
				t.Errorf("vector has %d bytes, want %d", len(wire), v.length)
			}
			got, fault := ParseSupport(wire, v.want.Dialect)
			if fault != None {
				t.Fatalf("fault: %v", fault)
			}
			got.Dialect = v.want.Dialect
			if d := cmp.Diff(v.want, got); d != "" {
				t.Errorf("parsed (-want +got):\n%s", d)
			}
			if b := v.want.Append(nil); !v.readOnly && !bytes.Equal(b, wire) {
				t.Errorf("appended %x\nwant     %x", b, wire)
			}
		})
	}
}

func TestResponseVectors(t *testing.T) {
	const v14 = "80010002 0000 80040002 0004 00050003 010203 00050002 0405 80060002 6869 80070002 000f 00080000 80000000"
	t.Run("V14 codec", func(t *testing.T) {
		wire := unhex(t, v14)
		want := Response{Algorithm: 4, Cookies: [][]byte{{1, 2, 3}, {4, 5}}, Server: "hi", Port: 15, KeepAlive: true}
		got, fault := ParseFixed(wire, Offer{Protocols: v4, Algorithms: []aead.Algorithm{4}})
		if d := cmp.Diff(want, got); fault != None || d != "" || len(wire) != 45 {
			t.Errorf("%d bytes, fault %v (-want +got):\n%s", len(wire), fault, d)
		}
		if b := want.Append(nil); !bytes.Equal(b, wire) {
			t.Errorf("appended %x\nwant     %x", b, wire)
		}
	})
	for _, v := range []struct {
		id, hex string
		code    ErrorCode
	}{
		{"V15 code 0", "80020002 0000 80000000", 0},
		{"V15 code 1", "80020002 0001 80000000", 1},
		{"V15 code 2", "80020002 0002 80000000", 2},
		{"V16 code f000", "80020002 f000 80000000", 0xf000},
		{"V16 code f001", "80020002 f001 80000000", 0xf001},
		{"V16 code f002", "80020002 f002 80000000", 0xf002},
		{"V16 code f003", "80020002 f003 80000000", 0xf003},
		{"V17 error of an era-A pool", "80010002 0000 80020002 0001 80000000", 1},
		{"V17 error of an era-A time source", "80020002 0000 80010002 0000 80000000", 0},
	} {
		t.Run(v.id, func(t *testing.T) {
			wire := unhex(t, v.hex)
			offer := Offer{Protocols: v4, Algorithms: both}
			if r, fault := ParseResponse(wire, offer); fault != PeerError || r.Code != v.code {
				t.Errorf("user: %v, code %d", fault, r.Code)
			}
			if r, fault := ParseFixed(wire, offer); fault != PeerError || r.Code != v.code {
				t.Errorf("fixed: %v, code %d", fault, r.Code)
			}
			for _, d := range []Dialect{IANA, Token4000, Cert4000} {
				if r, fault := ParseSupport(wire, d); fault != PeerError || r.Code != v.code {
					t.Errorf("support %v: %v, code %d", d, fault, r.Code)
				}
			}
			if b := AppendError(nil, v.code); v.id[:3] != "V17" && !bytes.Equal(b, wire) {
				t.Errorf("appended %x", b)
			}
		})
	}
	t.Run("V18 nothing in common", func(t *testing.T) {
		offer := Offer{Protocols: v4, Algorithms: both}
		for _, v := range []struct {
			hex   string
			made  []byte
			fault Fault
		}{
			{"80010000 80000000", AppendNoProtocol(nil), NoCommonProtocol},
			{"80010002 0000 80040000 80000000", AppendNoAlgorithm(nil, NTPv4), NoCommonAlgorithm},
		} {
			if !bytes.Equal(v.made, unhex(t, v.hex)) {
				t.Errorf("appended %x, want %s", v.made, v.hex)
			}
			if _, fault := ParseResponse(v.made, offer); fault != v.fault {
				t.Errorf("%s: %v", v.hex, fault)
			}
		}
	})
	t.Run("V20 and V21 inside an answer", func(t *testing.T) {
		r := Response{Algorithm: aead.GCMSIV128, CompliantExport: true, Cookies: [][]byte{{1, 2, 3, 4}}, Server: "a.test", Port: 123}
		wire := r.Append(nil)
		for _, part := range []string{"80060006 612e74657374 80070002 007b", "04000000"} {
			if !bytes.Contains(wire, unhex(t, part)) {
				t.Errorf("%x lacks %s", wire, part)
			}
		}
		got, fault := ParseResponse(wire, Offer{Protocols: v4, Algorithms: []aead.Algorithm{aead.GCMSIV128}})
		if d := cmp.Diff(r, got); fault != None || d != "" {
			t.Errorf("fault %v (-want +got):\n%s", fault, d)
		}
	})
}
