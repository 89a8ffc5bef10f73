package record

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ntp-daemon/internal/nts/aead"
)

// seedMessages are the vectors and some damage.
func seedMessages(f *testing.F) {
	for _, v := range requestVectors() {
		f.Add(unhex(f, v.hex))
	}
	for _, s := range []string{
		"800a0008 000f0020 00110040 80090002 0000 00080000 80000000",
		"80010002 0000 80040002 000f 00050004 01020304 80060002 6869 80070002 000f 00080000 80000000",
		"80020002 0001 80000000", "80000003 010203", "80000003 01", "c0050000 80000000", "",
	} {
		f.Add(unhex(f, s))
	}
}

// FuzzRecord: consuming never panics and appending gives back the same bytes.
func FuzzRecord(f *testing.F) {
	seedMessages(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		r, rest, err := Consume(b)
		if err != nil {
			return
		}
		if again := append(Append(nil, r), rest...); !bytes.Equal(again, b) {
			t.Errorf("%x became %x", b, again)
		}
	})
}

// FuzzFramer: the framer agrees with itself byte by byte and keeps its limits.
func FuzzFramer(f *testing.F) {
	seedMessages(f)
	limits := Limits{Bytes: 256, Records: 16}
	f.Fuzz(func(t *testing.T, b []byte) {
		whole := Framer{Limits: limits}
		n, fault := whole.Scan(b)
		if fault == None && (n > len(b) || n > limits.Bytes) || fault != None && n != 0 {
			t.Fatalf("%d of %d bytes, %v", n, len(b), fault)
		}
		slow := Framer{Limits: limits}
		for i := 0; i <= len(b); i++ {
			m, late := slow.Scan(b[:i])
			if late == Truncated && i < len(b) {
				continue
			}
			if m != n || late != fault {
				t.Fatalf("at once %d %v, in %d bytes %d %v", n, fault, i, m, late)
			}
			break
		}
	})
}

// FuzzRequest: a request that parses survives being written and parsed again.
func FuzzRequest(f *testing.F) {
	seedMessages(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, rules := range []Rules{{}, {FrontEnd: true}, {NoOldNumbers: true}} {
			req, fault := ParseRequest(b, rules)
			if fault != None {
				continue
			}
			if len(req.Deny) > MaxDeny {
				t.Fatalf("%d names", len(req.Deny))
			}
			again, fault := ParseRequest(req.Append(nil), rules)
			if d := cmp.Diff(req, again, equalSecrets); fault != None || d != "" {
				t.Errorf("fault %v (-first +second):\n%s", fault, d)
			}
		}
	})
}

// FuzzResponse: the same for answers, with the caps on cookies.
func FuzzResponse(f *testing.F) {
	seedMessages(f)
	offer := Offer{Protocols: []Protocol{NTPv4, 0x8001}, Algorithms: []aead.Algorithm{4, aead.SIVCMAC256, aead.GCMSIV128}}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, parse := range []func([]byte, Offer) (Response, Fault){ParseResponse, ParseFixed} {
			r, fault := parse(b, offer)
			if fault != None {
				continue
			}
			if len(r.Cookies) == 0 || len(r.Cookies) > MaxCookies {
				t.Fatalf("%d cookies", len(r.Cookies))
			}
			again, fault := parse(r.Append(nil), offer)
			if d := cmp.Diff(r, again); fault != None || d != "" {
				t.Errorf("fault %v (-first +second):\n%s", fault, d)
			}
		}
	})
}

// FuzzSupport: the same for lists.
func FuzzSupport(f *testing.F) {
	seedMessages(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, d := range []Dialect{IANA, Token4000, Cert4000} {
			r, fault := ParseSupport(b, d)
			if fault != None {
				continue
			}
			r.Dialect = d
			again, fault := ParseSupport(r.Append(nil), d)
			again.Dialect = d
			if diff := cmp.Diff(r, again); fault != None || diff != "" {
				t.Errorf("fault %v (-first +second):\n%s", fault, diff)
			}
		}
	})
}
