package fastpath

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"ntp-daemon/internal/ntp"
)

func TestMessages(t *testing.T) {
	sent := Order{Policy: &Policy{Interfaces: []Interface{{Name: "eth0", Listeners: []Listener{{
		Address: netip.MustParseAddrPort("[::]:123"), Fast: true, Versions: 0x18, Limited: true,
		Deny: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, Allow: []netip.Prefix{netip.MustParsePrefix("::/0")},
	}}}}}}
	state := Order{State: &State{Header: make([]byte, ntp.HeaderLen), Reference: math.MaxUint64, Dispersion: 1, Rate: 2, Rests: "why"}}
	var wire bytes.Buffer
	for _, o := range []*Order{&sent, &state} {
		if err := Write(&wire, o); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []Order{sent, state} {
		var got Order
		if err := Read(&wire, &got); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%v: %+v, want %+v", err, got, want)
		}
	}
	if err := Read(&wire, new(Order)); err != io.EOF {
		t.Errorf("the end: %v", err)
	}
}

// TestRead_Damaged: what is no message of ours is refused, and nothing is kept for it.
func TestRead_Damaged(t *testing.T) {
	frame := func(n uint32, body string) string {
		return string(binary.BigEndian.AppendUint32(nil, n)) + body
	}
	for _, tt := range []struct {
		name, wire string
		want       error
	}{
		{"half a length", "\x00\x00", io.ErrUnexpectedEOF},
		{"half a body", frame(10, "{}"), io.ErrUnexpectedEOF},
		{"too long", frame(maxMessage+1, ""), ErrTooLong},
		{"longest claim, nothing behind it", frame(maxMessage, ""), io.ErrUnexpectedEOF},
		{"no JSON", frame(2, "x}"), nil},
		{"unknown member", frame(9, `{"xx": 1}`), nil},
	} {
		err := Read(strings.NewReader(tt.wire), new(Order))
		if err == nil || err == io.EOF || tt.want != nil && !errors.Is(err, tt.want) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// TestNewState: bounds never shrink on the way, and what cannot be told is the largest.
func TestNewState(t *testing.T) {
	for _, tt := range []struct {
		name             string
		view             *ntp.View
		dispersion, rate uint64
		rests            bool
	}{
		{"never synchronised", nil, 0, 0, false},
		{"one nanosecond", &ntp.View{Dispersion: 1, Wander: math.Ldexp(1, -48)}, 5, 1, false},
		{"half a unit more", &ntp.View{Dispersion: time.Second, Wander: math.Ldexp(3, -49)}, 1 << 32, 2, false},
		{"the standard's growth", &ntp.View{}, 0, uint64(math.Ceil(15e-6 * (1 << 48))), false},
		{"more than there is", &ntp.View{Dispersion: math.MaxInt64, Wander: 1e9}, maxDispersion, maxRate, false},
		{"no number", &ntp.View{Wander: math.NaN()}, 0, maxRate, false},
		{"a leap second", &ntp.View{Leap: ntp.LeapInsert, Wander: math.Ldexp(1, -48)}, 0, 1, true},
		{"a leap second less", &ntp.View{Leap: ntp.LeapDelete, Wander: math.Ldexp(1, -48)}, 0, 1, true},
	} {
		s := NewState(ntp.Header{Reference: 77}, tt.view)
		if s.Dispersion != tt.dispersion || s.Rate != tt.rate || (s.Rests != "") != tt.rests || s.Reference != 77 || len(s.Header) != ntp.HeaderLen {
			t.Errorf("%s: %+v", tt.name, s)
		}
	}
}

// FuzzRead: whatever the other side sends costs at most what it is long.
func FuzzRead(f *testing.F) {
	var wire bytes.Buffer
	_ = Write(&wire, &Order{State: &State{Header: make([]byte, ntp.HeaderLen)}})
	f.Add(wire.Bytes())
	f.Fuzz(func(_ *testing.T, b []byte) {
		_ = Read(bytes.NewReader(b), new(Order))
		_ = Read(bytes.NewReader(b), new(Report))
	})
}
