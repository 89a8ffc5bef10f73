//go:build linux && amd64

package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	wire "ntp-daemon/internal/ntp"
)

const (
	leapPort = "1123"
	// leapEve is how long before the leap second the clocks are set.
	leapEve = 25 * time.Second
)

// leapConfig follows a server that announces a leap second, every second.
const leapConfig = clientHead + serverAddress + ":" + leapPort + everySecond + oneAgrees

// leapList is where the daemon looks for TAI - UTC, knownTAI what it finds.
const (
	leapList = "/usr/share/zoneinfo/leap-seconds.list"
	knownTAI = 37
)

// newYear is when the next year begins.
func newYear() time.Time { return time.Date(time.Now().UTC().Year()+1, 1, 1, 0, 0, 0, 0, time.UTC) }

// writeLeapList makes a list that expires at the end of the year, before the leap second of leapSecond.
func writeLeapList(now time.Time) error {
	const ntpUnix = 2_208_988_800
	if err := os.MkdirAll(filepath.Dir(leapList), 0o755); err != nil {
		return err
	}
	end := time.Date(now.UTC().Year()+1, 1, 1, 0, 0, 0, 0, time.UTC).Add(-time.Hour)
	return os.WriteFile(leapList, fmt.Appendf(nil, "#@ %d\n3692217600 %d # 1 Jan 2017\n", end.Unix()+ntpUnix, knownTAI), 0o644)
}

// leapSecond lets the kernels of both machines insert a leap second: the daemon arms that of the client because the server
// announces it (row K09), takes no sample across it, and steps nothing (row K10).
func leapSecond(t *trial) {
	begin := monotonic()
	var before unix.Timespec
	t.must(unix.ClockGettime(unix.CLOCK_REALTIME, &before), "read clock")
	t.must(tellServer("leap"), "prepare the server")
	t.atEnd(func() {
		t.guard("leap over", func() error {
			if err := tellServer("leap-over"); err != nil {
				return err
			}
			tv := unix.NsecToTimeval(before.Nano() + int64(monotonic()-begin))
			return unix.Settimeofday(&tv)
		})
	})
	t.must(correct(), "correct the clock")
	p := t.run(leapConfig)
	var tx unix.Timex
	var err error
	armed := until(leapEve-2*time.Second, func() bool {
		tx, _, err = kernel()
		return err == nil && tx.Status&unix.STA_INS != 0
	})
	t.need(armed, "K09_leap_armed", "status %#x, %v", tx.Status, err)
	mark := p.mark()
	var states [8]bool
	over := until(leapEve+10*time.Second, func() bool {
		_, state, err := kernel()
		if err == nil && state >= 0 && state < len(states) {
			states[state] = true
		}
		return len(p.find(mark, `leap second done`)) > 0
	})
	t.check(over && states[unix.TIME_OOP], "K10_leap_inserted", "told %v, kernel states %v", over, states)
	time.Sleep(8 * time.Second) // samples count again two seconds after it
	offset, delay, err := measure()
	t.must(err, "measure")
	jumps := p.find(mark, `Jumped offset by|stepped the clock|suspended|stood still`)
	t.check(offset.Abs() < 5*tolerance && len(jumps) == 0, "K10_leap_no_step", "offset %v, delay %v; %s", offset, delay, texts(jumps))
	s := snapshot()
	t.check(s != nil && s.Suite.Synchronized && s.Suite.EstimateKnown, "K10_leap_still_synchronised", "%v", s != nil && s.Suite.Synchronized)
	was := tx.Tai
	tx, state, err := kernel()
	t.must(err, "adjtimex")
	t.check(tx.Tai == was+1, "K10_leap_TAI", "%d s, then %d s", was, tx.Tai)
	t.check(tx.Status&(unix.STA_INS|unix.STA_DEL) == 0, "K09_leap_disarmed", "status %#x, state %d", tx.Status, state)
}

// leapServer is the server machine's part of leapSecond.
type leapServer struct {
	before time.Duration // the clock's reading when it was set, and the monotonic time of that
	at     time.Duration
	socket net.PacketConn
}

// begin sets the clock shortly before the end of the year, arms the leap second and announces it.
func (l *leapServer) begin() error {
	now := time.Now()
	l.before, l.at = time.Duration(now.UnixNano()), monotonic()
	eve := newYear().Add(-leapEve)
	tv := unix.NsecToTimeval(eve.UnixNano())
	if err := unix.Settimeofday(&tv); err != nil {
		return err
	}
	if _, err := unix.Adjtimex(&unix.Timex{Modes: unix.ADJ_STATUS, Status: unix.STA_INS}); err != nil {
		return err
	}
	if l.socket != nil {
		return nil
	}
	c, err := net.ListenPacket("udp", ":"+leapPort)
	if err != nil {
		return err
	}
	l.socket = c
	go l.answer()
	return nil
}

// end takes the clock back to where it would be, and the leap second with it.
func (l *leapServer) end() error {
	_, err := unix.Adjtimex(&unix.Timex{Modes: unix.ADJ_STATUS, Status: unix.STA_UNSYNC})
	if err != nil {
		return err
	}
	tv := unix.NsecToTimeval(int64(l.before + monotonic() - l.at))
	return unix.Settimeofday(&tv)
}

// answer serves the kernel's time, with the warning while the kernel has it.
func (l *leapServer) answer() {
	buf := make([]byte, wire.MaxPacket)
	for {
		n, from, err := l.socket.ReadFrom(buf)
		if err != nil {
			return
		}
		received := wire.FromTime(time.Now())
		h, err := wire.ParseHeader(buf[:n])
		if err != nil {
			continue
		}
		reply := wire.Header{
			Version: h.Version, Mode: wire.ModeServer, Stratum: 1, Precision: -20, RefID: wire.RefIDFromString("LEAP"),
			Reference: received, Origin: h.Transmit, Receive: received,
		}
		if tx, _, err := kernel(); err == nil && tx.Status&unix.STA_INS != 0 {
			reply.Leap = wire.LeapInsert
		}
		reply.Transmit = wire.FromTime(time.Now())
		_, _ = l.socket.WriteTo(reply.AppendTo(nil), from)
	}
}

// order carries out what tellServer asks for.
func (l *leapServer) order(word string) error {
	switch word {
	case "leap":
		return l.begin()
	case "leap-over":
		return l.end()
	}
	return fmt.Errorf("order %q", word)
}
