package loadgen

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"
)

// echo answers every request on loopback until the test ends.
func echo(t *testing.T) netip.AddrPort {
	t.Helper()
	return hear(t, func([]byte, netip.Addr) {})
}

// hear is echo, and tells of each request, in its own goroutine.
func hear(t *testing.T, each func(request []byte, from netip.Addr)) netip.AddrPort {
	t.Helper()
	pc, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { _ = pc.Close(); <-done })
	go func() {
		defer close(done)
		buf := make([]byte, largest)
		for {
			n, from, err := pc.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			b := buf[:n]
			each(b, from.Addr())
			b[0], b[atStratum] = 4<<3|modeServer, 1
			copy(b[atOrigin:], b[atTransmit:])
			b[atReceive] = 1 // our receive stamp: the next request of this client is an interleaved one
			_, _ = pc.WriteToUDPAddrPort(b, from)
		}
	}()
	return pc.LocalAddr().(*net.UDPAddr).AddrPort()
}

// TestLoad: requests go out as asked for, and all answers are counted.
func TestLoad(t *testing.T) {
	target := echo(t)
	for name, l := range map[string]Load{
		"rate":   {Target: target, Rate: 1000, Burst: 4, Ports: 2, Length: 50 * time.Millisecond},
		"window": {Target: target, Window: 8, Burst: 2, Ports: 2, WarmUp: 5 * time.Millisecond, Length: 50 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := l.Run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if r.Valid == 0 || r.Unmatched+r.Malformed+r.Repeated+r.Unsynced+r.Kiss != 0 || r.Server != nil {
				t.Errorf("%+v", r)
			}
			if name == "rate" && r.Sent+r.Late > 50 {
				t.Errorf("%d sent in 50 ms at 1000/s", r.Sent)
			}
		})
	}
}

// TestLoad_ManyAddresses: each port has an address of its own, and an interleaving client keeps its.
func TestLoad_ManyAddresses(t *testing.T) {
	of := map[uint64]netip.Addr{} // address by client; hear's
	clients := map[netip.Addr]int{}
	repeated := 0
	ctx, enough := context.WithCancel(t.Context())
	t.Cleanup(func() { // runs when hear has ended
		for i := range byte(16) {
			if a := netip.AddrFrom4([4]byte{127, 0, 1, 16 + i}); clients[a] != interleavedPlaces/16 {
				t.Errorf("%d clients at %v", clients[a], a)
			}
		}
		if repeated < interleavedPlaces {
			t.Errorf("%d requests of clients that had asked before", repeated)
		}
	})
	target := hear(t, func(b []byte, from netip.Addr) {
		client := binary.BigEndian.Uint64(b[atTransmit:]) % interleavedPlaces
		if was, ok := of[client]; ok && was != from {
			t.Errorf("client %d was at %v and is at %v", client, was, from)
		} else if ok {
			if repeated++; repeated == interleavedPlaces {
				enough()
			}
		} else {
			clients[from]++
		}
		of[client] = from
	})
	l := Load{Target: target, Window: 64, Burst: 32, Ports: 16, From: netip.MustParsePrefix("127.0.1.16/28"), Interleaved: true, Length: time.Minute}
	if _, err := l.Run(ctx); err != nil {
		t.Fatal(err)
	}
}

// TestLoad_Impossible: what cannot be measured is said before anything is sent.
func TestLoad_Impossible(t *testing.T) {
	good := Load{Target: netip.MustParseAddrPort("127.0.0.1:9"), Window: 8, Burst: 2, Ports: 1, Length: 1}
	for name, spoil := range map[string]func(*Load){
		"no burst":       func(l *Load) { l.Burst = 0 },
		"long burst":     func(l *Load) { l.Burst = batch + 1 },
		"no port":        func(l *Load) { l.Ports = 0 },
		"small window":   func(l *Load) { l.Window = 1 },
		"large window":   func(l *Load) { l.Window = interleavedPlaces },
		"no length":      func(l *Load) { l.Length = 0 },
		"no target":      func(l *Load) { l.Target = netip.AddrPort{} },
		"few addresses":  func(l *Load) { l.Ports, l.From = 3, netip.MustParsePrefix("127.0.1.0/31") },
		"another family": func(l *Load) { l.From = netip.MustParsePrefix("2001:db8::/64") },
		"wandering":      func(l *Load) { l.Interleaved, l.Ports, l.From = true, 3, netip.MustParsePrefix("127.0.1.0/30") },
		"both at a time": func(l *Load) { l.Interleaved, l.NTS = true, &Exchange{} },
	} {
		l := good
		spoil(&l)
		if _, err := l.Run(t.Context()); !errors.Is(err, errLoad) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestUsage: this process has used a processor and has memory, and a number is found by its key alone.
func TestUsage(t *testing.T) {
	u := ReadUsage([]int{os.Getpid()})
	if u.CPU <= 0 || u.Voluntary <= 0 || u.ResidentKiB <= 0 || u.AnonKiB <= 0 || u.AnonKiB > u.ResidentKiB {
		t.Errorf("%+v", u)
	}
	text := []byte("nonvoluntary_ctxt_switches:\t7\nvoluntary_ctxt_switches:\t5\n")
	if got := value(text, "voluntary_ctxt_switches:"); got != 5 {
		t.Error(got)
	}
	if got := value(text, "VmRSS:"); got != 0 {
		t.Error(got)
	}
}
