package record

import (
	"bytes"
	"slices"
	"testing"
)

func TestAppendConsume_Identity(t *testing.T) {
	for id := range 1 << 16 {
		want := Record{Type: Type(id &^ criticalBit), Critical: id&criticalBit != 0, Body: []byte{byte(id >> 8), byte(id)}}
		got, rest, err := Consume(append(Append(nil, want), 7))
		if err != nil || got.Type != want.Type || got.Critical != want.Critical || !bytes.Equal(got.Body, want.Body) || len(rest) != 1 {
			t.Fatalf("%+v became %+v, %v", want, got, err)
		}
		if list, ok := uint16s[Protocol](got.Body); !ok || list[0] != Protocol(id) {
			t.Fatalf("list of %d became %v", id, list)
		}
	}
}

func TestAppend_BodyTooLong(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a body of 65536 bytes was cut in silence")
		}
	}()
	Append(nil, Record{Body: make([]byte, MaxBody+1)})
}

func TestFramer(t *testing.T) {
	limits := Limits{Bytes: 20, Records: 3}
	for _, tc := range []struct {
		name, hex string
		n         int
		want      Fault
	}{
		{"empty", "", 0, Truncated},
		{"half a header", "8000", 0, Truncated},
		{"end", "80000000", 4, None},
		{"end and more", "80000000 ffff", 4, None},
		{"end without critical bit ends as well", "00000000", 4, None},
		{"end with a body", "80000003 010203", 7, None},
		{"body missing", "40000003 0102", 0, Truncated},
		{"KS10 announced too long", "4000ffff", 0, TooLong},
		{"announced just too long", "40000011", 0, TooLong},
		{"at the limit without room for an end", "40000010 00000000000000000000000000000000", 0, TooLong},
		{"at the limit", "4000000c 000000000000000000000000 80000000", 20, None},
		{"records at the limit", "40000000 40000000 80000000", 12, None},
		{"too many", "40000000 40000000 40000000 80000000", 0, TooMany},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := unhex(t, tc.hex)
			whole := Framer{Limits: limits}
			if n, fault := whole.Scan(b); n != tc.n || fault != tc.want {
				t.Errorf("at once: %d, %v", n, fault)
			}
			slow := Framer{Limits: limits}
			var n int
			var fault Fault
			for i := 0; i <= len(b); i++ {
				if n, fault = slow.Scan(b[:i]); n > i {
					t.Errorf("a message of %d bytes in %d", n, i)
				}
				if fault != Truncated {
					break
				}
			}
			if n != tc.n || fault != tc.want {
				t.Errorf("byte by byte: %d, %v", n, fault)
			}
		})
	}
}

// TestKS09_ThousandBytes: RFC 8915 §4 wants requests of 1024 bytes taken, however they are padded.
func TestKS09_ThousandBytes(t *testing.T) {
	base := unhex(t, "80010002 0000 80040002 000f")
	one := Append(slices.Clone(base), Record{Type: 0x1234, Body: make([]byte, 1024-len(base)-8)})
	many := slices.Clone(base)
	for len(many) < 1020 {
		many = Append(many, Record{Type: 0x1234})
	}
	for _, b := range [][]byte{appendEnd(one), appendEnd(many)} {
		f := Framer{Limits: RequestLimits}
		if n, fault := f.Scan(b); n != 1024 || fault != None {
			t.Errorf("%d bytes, %v", n, fault)
		}
		if _, fault := ParseRequest(b, Rules{}); fault != None {
			t.Error(fault)
		}
	}
}

// TestKC13_LongResponse: 65536 bytes are taken in any shape.
func TestKC13_LongResponse(t *testing.T) {
	b := unhex(t, hexNP+hexAE+hexCookie)
	for len(b) < 65532 {
		b = Append(b, Record{Type: 0x1234})
	}
	b = appendEnd(b)
	f := Framer{Limits: ResponseLimits}
	if n, fault := f.Scan(b); n != 65536 || fault != None {
		t.Errorf("%d bytes, %v", n, fault)
	}
	if _, fault := ParseResponse(b, offered); fault != None {
		t.Error(fault)
	}
}
