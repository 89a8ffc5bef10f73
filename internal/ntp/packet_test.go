package ntp

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// TestHeader_Bytes: every field at its place (RFC 5905 figure 8).
func TestHeader_Bytes(t *testing.T) {
	h := Header{Leap: LeapInsert, Version: 4, Mode: ModeServer, Stratum: 2, Poll: 6, Precision: -23,
		RootDelay: 0x01020304, RootDispersion: 0x05060708, RefID: 0x090a0b0c, Reference: 0x1112131415161718,
		Origin: 0x2122232425262728, Receive: 0x3132333435363738, Transmit: 0x4142434445464748}
	const want = "640206e9" + "01020304" + "05060708" + "090a0b0c" + "1112131415161718" + "2122232425262728" + "3132333435363738" + "4142434445464748"
	if got := hex.EncodeToString(h.AppendTo(nil)); got != want {
		t.Errorf("\n%s, want\n%s", got, want)
	}
	got, err := ParseHeader(h.AppendTo([]byte{}))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(h, got); d != "" {
		t.Error(d)
	}
}

func TestHeader_RoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := rapid.SliceOfN(rapid.Byte(), HeaderLen, HeaderLen).Draw(t, "packet")
		h, err := ParseHeader(b)
		if err != nil {
			t.Fatal(err)
		}
		if got := h.AppendTo(nil); !bytes.Equal(got, b) {
			t.Fatalf("%x, want %x", got, b)
		}
		if h.IsKiss() != (b[1] == 0) {
			t.Fatal("stratum 0 is a kiss, nothing else is")
		}
	})
}

// What cannot be read leaves what is there alone.
func TestHeader_ParseKeeps(t *testing.T) {
	want := Header{Version: 4, Stratum: 3, Origin: 7}
	for _, n := range []int{0, 1, HeaderLen - 1, MaxPacket + 1} {
		h := want
		if err := h.Parse(make([]byte, n)); err == nil || h != want {
			t.Errorf("%d bytes: %v, %+v", n, err, h)
		}
	}
}

func TestHeader_Length(t *testing.T) {
	for _, c := range []struct {
		n    int
		want error
	}{{0, ErrShort}, {1, ErrShort}, {47, ErrShort}, {48, nil}, {MaxPacket, nil}, {MaxPacket + 1, ErrLong}, {65507, ErrLong}} {
		if _, err := ParseHeader(make([]byte, c.n)); err != c.want {
			t.Errorf("%d bytes: %v, want %v", c.n, err, c.want)
		}
	}
}

// TestHeader_OutOfRange: values wider than their bits must not spill into the neighbours.
func TestHeader_OutOfRange(t *testing.T) {
	h := Header{Leap: LeapUnknown, Version: 12, Mode: 0xfb}
	if b := h.AppendTo(nil); b[0] != 0xe3 {
		t.Errorf("first byte %#x", b[0])
	}
	h.Leap = LeapNone
	if b := h.AppendTo(nil); b[0] != 0x23 {
		t.Errorf("first byte %#x", b[0])
	}
}

func TestRefID(t *testing.T) {
	for _, c := range []struct {
		addr string
		want RefID
	}{
		{"192.0.2.1", 0xc0000201},
		{"::ffff:192.0.2.1", 0xc0000201},
		{"::1", 0xcf404dc8},
		{"2001:db8::1", 0x39ab9b37},
	} {
		if got := RefIDFromAddr(netip.MustParseAddr(c.addr)); got != c.want {
			t.Errorf("%s: %#x, want %#x", c.addr, uint32(got), uint32(c.want))
		}
	}
	for _, c := range []struct {
		in   string
		want RefID
		text string
	}{
		{"GPS", 0x47505300, "GPS"}, {"RATE", 0x52415445, "RATE"}, {"XNON!", 0x584e4f4e, "XNON"}, {"", 0, ""},
		{"a\x00b", 0x61006200, "a?b"}, {"\x1b[2J", 0x1b5b324a, "?[2J"}, {"\xff", 0xff000000, "?"},
	} {
		got := RefIDFromString(c.in)
		if got != c.want || got.Text() != c.text {
			t.Errorf("%q: %#x %q, want %#x %q", c.in, uint32(got), got.Text(), uint32(c.want), c.text)
		}
	}
	if KissRATE.Text() != "RATE" || KissDENY.Text() != "DENY" || KissRSTR.Text() != "RSTR" || KissNTSN.Text() != "NTSN" {
		t.Error("a kiss code is misspelt")
	}
}

func TestLeapIndicator_String(t *testing.T) {
	for l, want := range map[LeapIndicator]string{LeapNone: "none", LeapInsert: "insert", LeapDelete: "delete", LeapUnknown: "unsynchronised", 7: "leap(7)"} {
		if got := l.String(); got != want {
			t.Errorf("%d: %q, want %q", l, got, want)
		}
	}
	if got := SourceID(12).String(); got != "SourceId(12)" {
		t.Error(got)
	}
}
