package fastpath

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"
)

const (
	// Renewal is how often the daemon sends its state although nothing has changed.
	Renewal = time.Second
	// Validity is how long a state is answered from: longer than two renewals, so that a busy machine does not rest.
	Validity = 3 * time.Second
	// DefaultPath is the daemon's socket where none is named.
	DefaultPath = "/run/ntp-daemon/xdp"
	// MaxListeners is how many [[server]] tables one interface can have.
	MaxListeners = 64
	// maxMessage bounds a message in bytes: two lists of 100 000 prefixes.
	maxMessage = 8 << 20
)

// Order is a message of the daemon: one of its members is set. With an Error, which says why there is nothing to answer, it is
// the last one.
type Order struct {
	Policy *Policy `json:"policy,omitempty"`
	State  *State  `json:"state,omitempty"`
	Error  string  `json:"error,omitempty"`
}

// Policy is who may be answered, on which interfaces. It replaces the one before as a whole.
type Policy struct {
	Interfaces []Interface `json:"interfaces"`
}

// Interface is one network interface with everything that listens there.
type Interface struct {
	Name      string     `json:"name"`
	Listeners []Listener `json:"listeners"`
}

// Listener is one [[server]]. Those without a fast path are named too: what is sent to them is not the others'.
type Listener struct {
	Address  netip.AddrPort `json:"address"`
	Fast     bool           `json:"fast"`
	Versions uint8          `json:"versions"` // bit n for NTP version n
	Deny     []netip.Prefix `json:"deny,omitempty"`
	Limited  bool           `json:"limited"` // only who is in Allow is let in
	Allow    []netip.Prefix `json:"allow,omitempty"`
}

// Outcome is what became of a request to a listener's address and port, in the order of the program's counters (xdp/ntp.c).
type Outcome uint8

// The outcomes. All but the first mean that the daemon's sockets got the packet.
const (
	Answered Outcome = iota // in the driver
	Resting                 // there was nothing to answer from: no state, an old one, or a clock that was changed since
	Listed                  // the access lists do not let the sender in
	Other                   // no plain request of version 3 or 4, or damaged

	Outcomes // how many
)

// Counts are the packets of one listener on one interface by outcome, since ntp-xdp began.
type Counts struct {
	Address netip.AddrPort   `json:"address"`
	Packets [Outcomes]uint64 `json:"packets"`
}

// Mode is where in the kernel the program runs.
type Mode string

// The modes.
const (
	Driver  Mode = "driver"  // before the kernel makes a packet of it
	Generic Mode = "generic" // behind that, for drivers that cannot
)

// Attached is what ntp-xdp has done with one interface.
type Attached struct {
	Interface string   `json:"interface"`
	Mode      Mode     `json:"mode"`
	Detail    string   `json:"detail,omitempty"` // why not in the driver
	Rests     string   `json:"rests,omitempty"`  // why nothing is answered just now, as far as ntp-xdp knows
	Counts    []Counts `json:"counts"`
}

// Report is a message of ntp-xdp, once a second and after every policy. With an Error it is the last one.
type Report struct {
	Attached []Attached `json:"attached"`
	Error    string     `json:"error,omitempty"`
}

// ErrTooLong says that a message is longer than any of ours.
var ErrTooLong = errors.New("message is too long")

// Write sends one message in a single call.
func Write(w io.Writer, message any) error {
	body, err := json.Marshal(message)
	if err != nil {
		return fmt.Errorf("encode message: %w", err)
	}
	if len(body) > maxMessage {
		return fmt.Errorf("encode message of %d bytes: %w", len(body), ErrTooLong)
	}
	frame := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(body)), uint32(len(body)))
	if _, err := w.Write(append(frame, body...)); err != nil {
		return fmt.Errorf("send message: %w", err)
	}
	return nil
}

// Read receives one message; io.EOF alone says that the other side has ended between two of them. Members that we do not know
// are refused: both programs are of one version.
func Read(r io.Reader, message any) error {
	var prefix [4]byte
	if _, err := io.ReadFull(r, prefix[:]); err != nil {
		if errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return io.EOF
		}
		return fmt.Errorf("receive message: %w", err)
	}
	n := binary.BigEndian.Uint32(prefix[:])
	if n > maxMessage {
		return fmt.Errorf("receive message of %d bytes: %w", n, ErrTooLong)
	}
	body, err := io.ReadAll(io.LimitReader(r, int64(n))) // grows with what comes, not with what is claimed
	if err == nil && uint32(len(body)) < n {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return fmt.Errorf("receive message: %w", err)
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(message); err != nil {
		return fmt.Errorf("decode message: %w", err)
	}
	return nil
}
