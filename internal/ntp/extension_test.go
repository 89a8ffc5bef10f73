package ntp

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "write testdata/trailer.golden from what Trailer says")

// random is a trailer of n bytes whose bytes 3 and 4 are never the length of a field that fits (row S10).
func random(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	if n >= fieldHeader {
		binary.BigEndian.PutUint16(b[2:], 0xfffd)
	}
	return b
}

// unknown is one well-formed field of n bytes altogether, as far as n bytes can hold one.
func unknown(r *rand.Rand, n int) []byte {
	b := random(r, n)
	if n >= fieldHeader {
		binary.BigEndian.PutUint16(b, 0x2323)
		binary.BigEndian.PutUint16(b[2:], uint16(n))
	}
	return b
}

// TestS10_Trailer: what a trailer of every length from 0 to 64 is, for both versions, compared with a golden
// file. Where the file says MAC or fields, the server answers 48 bytes; where it says malformed, nothing.
func TestS10_Trailer(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var out strings.Builder
	for _, shape := range []struct {
		name string
		make func(*rand.Rand, int) []byte
	}{{"random", random}, {"field", unknown}} {
		for _, version := range []uint8{4, 3} {
			for n := 0; n <= 64; n++ {
				packet := append(make([]byte, HeaderLen), shape.make(r, n)...)
				var f Fields
				err := f.Trailer(packet, version)
				verdict := "end"
				switch {
				case err != nil:
					verdict = "malformed"
				case f.MAC != nil && len(f.All()) == 0:
					verdict = fmt.Sprintf("MAC of %d", len(f.MAC))
				case f.MAC != nil:
					verdict = fmt.Sprintf("%d fields and a MAC of %d", len(f.All()), len(f.MAC))
				case len(f.All()) > 0:
					verdict = fmt.Sprintf("%d field", len(f.All()))
				}
				fmt.Fprintf(&out, "%s v%d %2d %s\n", shape.name, version, n, verdict)
				checkS10(t, shape.name, version, n, err)
			}
		}
	}
	const path = "testdata/trailer.golden"
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if out.String() != string(want) {
		t.Errorf("the table of trailers changed:\n%s", out.String())
	}
}

// checkS10 is the row itself, so that an updated golden file cannot move away from it.
func checkS10(t *testing.T, shape string, version uint8, n int, err error) {
	answered := n == 0 || n == 20 || n == 24
	if shape == "field" && version == 4 {
		answered = answered || n >= 16 && n%4 == 0
	}
	if (err == nil) != answered {
		t.Errorf("%s v%d, %d bytes: %v, want answered %v", shape, version, n, err, answered)
	}
}

// TestS08_Shapes: hostile lengths and counts are refused, and the work is bounded by the number of fields:
// counted in fields, because a clock would say more about the machine.
func TestS08_Shapes(t *testing.T) {
	field := func(length uint16, total int) []byte {
		b := make([]byte, total)
		binary.BigEndian.PutUint16(b, 0x2323)
		if total >= 4 {
			binary.BigEndian.PutUint16(b[2:], length)
		}
		return b
	}
	for _, length := range []uint16{0, 1, 2, 3, 4, 5, 8, 12, 15, 17, 0xFFFC, 0xFFFF} {
		for _, total := range []int{4, 16, 28, 32, 64, 1024} {
			var f Fields
			if err := f.Trailer(append(make([]byte, HeaderLen), field(length, total)...), 4); err != ErrField {
				t.Errorf("length %#x in %d bytes: %v", length, total, err)
			}
		}
	}
	many := func(n int, each int) []byte { return bytes.Repeat(field(uint16(each), each), n) }
	for _, c := range []struct {
		name string
		b    []byte
		want error
	}{
		{"16 fields", many(16, 28), nil},
		{"17 fields", many(17, 28), ErrFields},
		{"60 kB of 16-byte fields", many(3750, 16), ErrFields},
		{"60 kB of 4-byte fields", many(15000, 4), ErrField},
		{"60 kB of zeros", make([]byte, 60000), ErrField},
		{"60 kB of 0xff", bytes.Repeat([]byte{0xff}, 60000), ErrField},
		{"a field that reaches one word too far", field(32, 28), ErrField},
		{"a MAC after fields", append(many(2, 28), make([]byte, 20)...), nil},
		{"a crypto-NAK", make([]byte, 4), ErrField},
	} {
		var f Fields
		packet := append(make([]byte, HeaderLen), c.b...)
		if err := f.Trailer(packet, 4); err != c.want {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		if len(f.All()) > MaxFields {
			t.Errorf("%s: %d fields", c.name, len(f.All()))
		}
		if n := testing.AllocsPerRun(10, func() { _ = f.Trailer(packet, 4) }); n != 0 {
			t.Errorf("%s: %v allocations", c.name, n)
		}
	}
	var f Fields
	if err := f.Inner(many(15000, 4)); err != ErrFields || len(f.All()) > MaxFields {
		t.Errorf("60 kB of 4-byte inner fields: %v with %d fields", err, len(f.All()))
	}
	if err := f.Trailer(make([]byte, 47), 4); err != ErrShort {
		t.Errorf("47 bytes: %v", err)
	}
}

func TestInner(t *testing.T) {
	for _, c := range []struct {
		name string
		b    []byte
		want int // fields, or -1
	}{
		{"nothing", nil, 0},
		{"an empty field", []byte{2, 4, 0, 4}, 1},
		{"20 bytes are a field, not a MAC", append([]byte{2, 4, 0, 20}, make([]byte, 16)...), 1},
		{"two fields", append([]byte{2, 4, 0, 8, 1, 2, 3, 4}, 2, 4, 0, 4), 2},
		{"three bytes", []byte{2, 4, 0}, -1},
		{"length 0", []byte{2, 4, 0, 0}, -1},
		{"length 3", []byte{2, 4, 0, 3}, -1},
		{"length 6", []byte{2, 4, 0, 6, 1, 2}, -1},
		{"too long", []byte{2, 4, 0, 8, 1, 2}, -1},
		{"rest", []byte{2, 4, 0, 4, 0}, -1},
	} {
		var f Fields
		f.MAC = []byte{1}
		err := f.Inner(c.b)
		if (err != nil) != (c.want < 0) || err == nil && len(f.All()) != c.want || f.MAC != nil {
			t.Errorf("%s: %v with %d fields", c.name, err, len(f.All()))
		}
	}
}

// TestFields_Reuse: a second packet leaves nothing of the first.
func TestFields_Reuse(t *testing.T) {
	var f Fields
	packet := AppendField(AppendField(make([]byte, HeaderLen), FieldUniqueID, make([]byte, 32)), FieldCookie, make([]byte, 100))
	if err := f.Trailer(append(packet, make([]byte, 20)...), 4); err != nil || len(f.All()) != 2 || f.MAC == nil {
		t.Fatalf("%v %v", f.All(), err)
	}
	if err := f.Trailer(make([]byte, HeaderLen), 4); err != nil || len(f.All()) != 0 || f.MAC != nil {
		t.Errorf("%v %v", f.All(), err)
	}
	if err := f.Trailer(make([]byte, 10), 4); err == nil || len(f.All()) != 0 {
		t.Errorf("%v %v", f.All(), err)
	}
}

func TestAppendField_Lengths(t *testing.T) {
	for _, c := range []struct{ value, outer, inner int }{
		{0, 16, 4}, {1, 16, 8}, {4, 16, 8}, {11, 16, 16}, {12, 16, 16}, {13, 20, 20}, {32, 36, 36}, {100, 104, 104}, {101, 108, 108},
	} {
		if got := len(AppendField(nil, FieldCookie, make([]byte, c.value))); got != c.outer {
			t.Errorf("%d bytes made a field of %d, want %d", c.value, got, c.outer)
		}
		if got := len(appendInner(nil, FieldCookie, make([]byte, c.value))); got != c.inner {
			t.Errorf("%d bytes made an inner field of %d, want %d", c.value, got, c.inner)
		}
	}
}

// TestFields_RoundTrip: what AppendField wrote comes back, with its padding, at the offset it was written to.
func TestFields_RoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 120), 0, MaxFields).Draw(t, "values")
		inner := rapid.Bool().Draw(t, "inner")
		b := make([]byte, HeaderLen)
		add, start := AppendField, HeaderLen
		if inner {
			add, start, b = appendInner, 0, nil
		} else if n := len(values); n > 0 && len(values[n-1]) < 24 {
			values[n-1] = make([]byte, 24) // a last field of 20 or 24 bytes would read as a MAC (RFC 7822 §7.5.1.4)
		}
		for i, v := range values {
			b = add(b, FieldType(i), v)
		}
		var f Fields
		err := f.Inner(b)
		if !inner {
			err = f.Trailer(b, 4)
		}
		if err == nil && f.MAC != nil {
			t.Skip("the last two fields look like a MAC")
		}
		if err != nil || len(f.All()) != len(values) {
			t.Fatalf("%d fields and %v, want %d", len(f.All()), err, len(values))
		}
		at := start
		for i, fl := range f.All() {
			if fl.Type != FieldType(i) || fl.Offset != at || !bytes.Equal(fl.Value[:len(values[i])], values[i]) ||
				len(bytes.Trim(fl.Value[len(values[i]):], "\x00")) != 0 {
				t.Fatalf("field %d: %+v, want %x at %d", i, fl, values[i], at)
			}
			at += fieldHeader + len(fl.Value)
		}
		if at != len(b) {
			t.Fatalf("fields end at %d of %d", at, len(b))
		}
	})
}

// FuzzPacket: header and trailer of any bytes. Nothing panics, fields tile the packet without a gap, and
// writing what was read gives the same bytes.
func FuzzPacket(f *testing.F) {
	f.Add(append([]byte{0x23}, make([]byte, 47)...))
	f.Add(append(append([]byte{0x1b}, make([]byte, 47)...), make([]byte, 20)...))
	f.Add(AppendField(AppendField(append([]byte{0x24}, make([]byte, 47)...), FieldUniqueID, make([]byte, 32)), FieldAuthenticator, make([]byte, 40)))
	f.Add([]byte{0xe3})
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := ParseHeader(b)
		if (err == nil) != (len(b) >= HeaderLen && len(b) <= MaxPacket) {
			t.Fatalf("%d bytes: %v", len(b), err)
		}
		if err != nil {
			return
		}
		again := h.AppendTo(nil)
		if !bytes.Equal(again, b[:HeaderLen]) {
			t.Fatalf("header %x became %x", b[:HeaderLen], again)
		}
		var fs Fields
		if fs.Trailer(b, h.Version) != nil {
			return
		}
		for _, fl := range fs.All() {
			if fl.Offset != len(again) || len(fl.Value) < minField-fieldHeader {
				t.Fatalf("field at %d with %d bytes after %d", fl.Offset, len(fl.Value), len(again))
			}
			again = AppendField(again, fl.Type, fl.Value)
		}
		if again = append(again, fs.MAC...); !bytes.Equal(again, b) {
			t.Fatalf("%x became %x", b, again)
		}
	})
}

// FuzzInner is the same for the fields inside an authenticator.
func FuzzInner(f *testing.F) {
	f.Add([]byte{})
	f.Add(appendInner(appendInner(nil, FieldCookie, make([]byte, 100)), FieldCookie, nil))
	f.Add([]byte{2, 4, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		var fs Fields
		if fs.Inner(b) != nil {
			return
		}
		again := []byte{}
		for _, fl := range fs.All() {
			again = appendInner(again, fl.Type, fl.Value)
		}
		if !bytes.Equal(again, b) {
			t.Fatalf("%x became %x", b, again)
		}
	})
}

func appendInner(dst []byte, t FieldType, value []byte) []byte {
	return appendField(dst, t, value, minInnerField)
}
