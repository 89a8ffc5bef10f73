package ke

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"ntp-daemon/internal/nts/record"
)

func TestReader_Messages(t *testing.T) {
	first, second := wire(t, hexKS01), wire(t, hexNP+"123408fc"+string(bytes.Repeat([]byte("00"), 0x8fc))+hexEOM)
	stream := append(bytes.Clone(first), second...)
	for name, in := range map[string]io.Reader{
		"at once":       bytes.NewReader(stream),
		"byte by byte":  iotest.OneByteReader(bytes.NewReader(stream)),
		"in halves":     iotest.HalfReader(bytes.NewReader(stream)),
		"EOF with data": iotest.DataErrReader(bytes.NewReader(stream)),
	} {
		r := NewReader(in, record.RequestLimits)
		for i, want := range [][]byte{first, second} {
			if err := r.Wait(); err != nil {
				t.Errorf("%s, message %d: wait: %v", name, i, err)
			}
			if got, err := r.Next(); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("%s, message %d: %d bytes, %v", name, i, len(got), err)
			}
		}
		if r.Surplus() != 0 {
			t.Errorf("%s: surplus %d", name, r.Surplus())
		}
		if err := r.Wait(); !errors.Is(err, io.EOF) {
			t.Errorf("%s: wait at the end: %v", name, err)
		}
		if _, err := r.Next(); !errors.Is(err, io.EOF) {
			t.Errorf("%s: end: %v", name, err)
		}
	}
}

func TestReader_Ends(t *testing.T) {
	for _, tc := range []struct {
		name, hex string
		want      error
	}{
		{"nothing", "", io.EOF},
		{"half a header", "8001", record.Truncated},
		{"half a message", hexNP, record.Truncated},
		{"announced 65535", "4123ffff", record.TooLong},
		{"too many records", string(bytes.Repeat([]byte("41230000"), 257)), record.TooMany},
	} {
		if _, err := NewReader(bytes.NewReader(wire(t, tc.hex)), record.RequestLimits).Next(); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
	stuck := NewReader(iotest.ErrReader(nil), record.RequestLimits)
	if _, err := stuck.Next(); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("reader without progress: %v", err)
	}
}

// TestReader_Memory: what a peer announces costs nothing, and the buffer stays near the limit.
func TestReader_Memory(t *testing.T) {
	body := bytes.Repeat(wire(t, "41230ffc"+string(bytes.Repeat([]byte("00"), 0xffc))), 4)
	r := NewReader(bytes.NewReader(body), record.RequestLimits)
	if _, err := r.Next(); !errors.Is(err, record.TooLong) {
		t.Error(err)
	}
	if cap(r.buf) > record.RequestLimits.Bytes+firstBuffer {
		t.Errorf("buffer of %d bytes", cap(r.buf))
	}
	r.Wipe()
	if all := r.buf[:cap(r.buf)]; bytes.ContainsAny(all, "\x41") {
		t.Error("not wiped")
	}
}
