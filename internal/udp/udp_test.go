package udp

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"ntp-daemon/internal/ntp"
)

func TestExchange_Stamps(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		t.Run(address, func(t *testing.T) {
			if address[0] == '[' {
				haveIPv6(t)
			}
			s := listen(t, ListenConfig{Address: netip.MustParseAddrPort(address)})[0]
			stamps := make(chan ntp.Timestamp, 1)
			echo(t, s, func(d *Datagram) { stamps <- d.Received })
			c := dial(t, s.LocalAddr())
			for range 5 {
				before := testNow()
				if err := c.Send([]byte("hello")); err != nil {
					t.Fatal(err)
				}
				got, rx, err := receive(t, c, 2*time.Second)
				if err != nil || got != "hello" {
					t.Fatalf("%q, %v", got, err)
				}
				after, arrived := testNow(), <-stamps
				tx, ok := c.TxStamp()
				if !ok {
					tx.Time = before
				}
				const tick = 1 * time.Microsecond
				if rx.Time.Sub(tx.Time) < 0 || tx.Time.Sub(before) < -tick || after.Sub(rx.Time) < -tick {
					t.Errorf("before %v, tx %+v %v, rx %+v, after %v", before, tx, ok, rx, after)
				}
				if arrived.Sub(tx.Time) < -tick || rx.Time.Sub(arrived) < -tick {
					t.Errorf("server's stamp is not between the client's")
				}
				checkStamps(t, tx, ok, rx)
			}
		})
	}
}

// TestConn_StampIsOfTheLastDatagram: the stamp of a request is not that of the one before it, however soon it is asked for.
func TestConn_StampIsOfTheLastDatagram(t *testing.T) {
	s := listen(t, ListenConfig{Address: local(0)})[0]
	c := dial(t, s.LocalAddr())
	for range 20 {
		before := testNow()
		if err := c.Send([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		if tx, ok := c.TxStamp(); ok && tx.Time.Sub(before) < -time.Microsecond {
			t.Fatalf("the stamp is %v older than the datagram", before.Sub(tx.Time))
		}
	}
	if err := c.Send(make([]byte, 1<<16)); err == nil {
		t.Fatal("sent more than a datagram can hold")
	}
	if _, ok := c.TxStamp(); ok {
		t.Fatal("what was not sent has a stamp")
	}
}

func TestS19_ReplyLeavesFromTheAddressAsked(t *testing.T) {
	wildcards := []string{"0.0.0.0:0", "[::]:0"}
	for _, wildcard := range wildcards {
		t.Run(wildcard, func(t *testing.T) {
			if wildcard[0] == '[' {
				haveIPv6(t)
			}
			needDestinations(t)
			s := listen(t, ListenConfig{Address: netip.MustParseAddrPort(wildcard)})[0]
			asked := make(chan netip.AddrPort, 1)
			echo(t, s, func(d *Datagram) { asked <- d.To })
			targets := []string{"127.0.0.1", "127.0.0.2", "127.5.6.7"}
			if wildcard[0] == '[' {
				targets = append(targets, "::1")
			}
			for _, target := range targets {
				to := netip.AddrPortFrom(netip.MustParseAddr(target), s.LocalAddr().Port())
				c := dial(t, to) // connected: hears nothing that comes from elsewhere
				if err := c.Send([]byte(target)); err != nil {
					t.Fatal(err)
				}
				if got, _, err := receive(t, c, 2*time.Second); err != nil || got != target {
					t.Fatalf("%s: %q, %v", target, got, err)
				}
				if d := <-asked; d != to {
					t.Errorf("destination %v, want %v", d, to)
				}
			}
		})
	}
}

func TestListen_DualStackAddresses(t *testing.T) {
	haveIPv6(t)
	s := listen(t, ListenConfig{Address: netip.MustParseAddrPort("[::]:0")})[0]
	from := make(chan netip.AddrPort, 1)
	echo(t, s, func(d *Datagram) { from <- d.From })
	c := dial(t, local(s.LocalAddr().Port()))
	if err := c.Send([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if got := <-from; got != c.LocalAddr() || !got.Addr().Is4() {
		t.Errorf("client seen as %v, is %v", got, c.LocalAddr())
	}
}

func TestListen_V6OnlyLeavesIPv4Alone(t *testing.T) {
	haveIPv6(t)
	s6 := listen(t, ListenConfig{Address: netip.MustParseAddrPort("[::]:0"), V6Only: true})[0]
	defer s6.Close()
	s4 := listen(t, ListenConfig{Address: netip.AddrPortFrom(netip.IPv4Unspecified(), s6.LocalAddr().Port())})[0]
	_ = s4.Close()
}

// L04: a second daemon must not silently share the address, whatever sharing the first one uses.
func TestL04_AddressInUse(t *testing.T) {
	for _, sockets := range []int{1, 2} {
		list := listen(t, ListenConfig{Address: local(0), Sockets: sockets})
		for _, again := range []int{1, 2} {
			_, err := Listen(ListenConfig{Address: list[0].LocalAddr(), Sockets: again, Clock: testClock})
			if !errors.Is(err, ErrInUse) {
				t.Errorf("%d sockets on top of %d: %v", again, sockets, err)
			}
		}
		for _, s := range list {
			_ = s.Close()
		}
	}
}

func TestListen_SocketsShareTheLoad(t *testing.T) {
	list := listen(t, ListenConfig{Address: local(0), Sockets: 2})
	for _, s := range list {
		echo(t, s, nil)
	}
	for range 20 { // 20 flows: all are answered, whichever socket they hash to
		c := dial(t, list[0].LocalAddr())
		if err := c.Send([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, _, err := receive(t, c, 2*time.Second); err != nil {
			t.Fatal(err)
		}
	}
}

func TestServer_InterruptWakesReceive(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "0.0.0.0:0"} {
		s := listen(t, ListenConfig{Address: netip.MustParseAddrPort(address)})[0]
		done := make(chan error, 1)
		go func() { done <- s.Receive(NewBatch()) }()
		time.Sleep(20 * time.Millisecond) // most likely waiting by now; right either way
		s.Interrupt()
		select {
		case err := <-done:
			if !errors.Is(err, ErrClosed) {
				t.Errorf("error %v", err)
			}
		case <-time.After(2 * time.Second):
			t.Fatal("still waiting")
		}
		if err := s.Receive(NewBatch()); !errors.Is(err, ErrClosed) {
			t.Errorf("after it: %v", err)
		}
		_ = s.Close()
		s.Interrupt()
		_ = s.Close()
	}
}

func TestServer_LongDatagramIsFlawed(t *testing.T) {
	s := listen(t, ListenConfig{Address: local(0)})[0]
	flaws := make(chan Flaw, 1)
	echo(t, s, func(d *Datagram) { flaws <- d.Flaw })
	c := dial(t, s.LocalAddr())
	for _, row := range []struct {
		length int
		want   Flaw
	}{{0, Sound}, {48, Sound}, {ntp.MaxPacket, Sound}, {ntp.MaxPacket + 1, Truncated}, {60000, Truncated}} {
		if err := c.Send(make([]byte, row.length)); err != nil {
			t.Fatal(err)
		}
		if got := <-flaws; got != row.want {
			t.Errorf("%d bytes: flaw %d", row.length, got)
		}
	}
}

func TestC21_LongReplyIsDropped(t *testing.T) {
	s, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(local(0)))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c := dial(t, s.LocalAddr().(*net.UDPAddr).AddrPort())
	for _, p := range [][]byte{make([]byte, 65507), []byte("good")} {
		if _, err := s.WriteToUDPAddrPort(p, c.LocalAddr()); err != nil {
			t.Fatal(err)
		}
	}
	if got, _, err := receive(t, c, 2*time.Second); err != nil || got != "good" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestC06_OnlyTheServerAskedIsHeard(t *testing.T) {
	s := listen(t, ListenConfig{Address: local(0)})[0]
	echo(t, s, nil)
	c := dial(t, s.LocalAddr())
	for _, stranger := range []string{"127.0.0.1:0", "127.0.0.9:0"} {
		x, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(stranger)))
		if err != nil {
			t.Skipf("no second loopback address: %v", err)
		}
		if _, err := x.WriteToUDPAddrPort([]byte("forged"), c.LocalAddr()); err != nil {
			t.Fatal(err)
		}
		_ = x.Close()
	}
	if err := c.Send([]byte("asked")); err != nil {
		t.Fatal(err)
	}
	if got, _, err := receive(t, c, 2*time.Second); err != nil || got != "asked" {
		t.Errorf("%q, %v", got, err)
	}
}

// C30: a "port unreachable" between request and reply is noise.
func TestC30_PortUnreachableIsNoise(t *testing.T) {
	first := listen(t, ListenConfig{Address: local(0)})[0]
	to := first.LocalAddr()
	_ = first.Close() // nobody there: the kernel answers with ICMP
	c := dial(t, to)
	for range 3 {
		if err := c.Send([]byte("refused")); err != nil {
			t.Fatalf("send after a refusal: %v", err)
		}
	}
	if _, _, err := receive(t, c, 50*time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("refusal reported: %v", err)
	}
	echo(t, listen(t, ListenConfig{Address: to})[0], nil)
	if err := c.Send([]byte("back")); err != nil {
		t.Fatal(err)
	}
	if got, rx, err := receive(t, c, 2*time.Second); err != nil || got != "back" {
		t.Errorf("%q, %v", got, err)
	} else if tx, ok := c.TxStamp(); ok && rx.Time.Before(tx.Time) {
		t.Errorf("transmit stamp of another datagram: %v after %v", tx, rx)
	}
}

func TestC02_FreshPorts(t *testing.T) {
	seen := map[uint16]bool{}
	for range 100 {
		c := dial(t, local(123))
		p := c.LocalAddr().Port()
		if p == 123 {
			t.Error("port 123")
		}
		seen[p] = true
		_ = c.Close()
	}
	if len(seen) < 95 {
		t.Errorf("%d ports in 100", len(seen))
	}
}

func TestConn_ContextEndsReceive(t *testing.T) {
	s := listen(t, ListenConfig{Address: local(0)})[0]
	defer s.Close()
	c := dial(t, s.LocalAddr())
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		_, _, _, err := c.Receive(ctx, make([]byte, 64))
		done <- err
	}()
	cancel()
	select {
	case err := <-done:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	case <-time.After(2 * time.Second):
		t.Fatal("still waiting")
	}
	// The next Receive has its own deadline.
	if _, _, err := receive(t, c, 10*time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
}

func TestConn_MapIsForKernelStampsOnly(t *testing.T) {
	const shift = 1000 * time.Second
	c := Clock{Now: func() ntp.Timestamp { return 7 }, Map: func(k ntp.Timestamp) ntp.Timestamp { return k.Add(shift) }}
	if got := c.stamp(0); got.Time != 7 || got.Origin != ntp.OriginUser {
		t.Errorf("%+v", got)
	}
	k := testNow()
	if got := c.stamp(k); got.Time != k.Add(shift) || got.Origin != ntp.OriginKernel {
		t.Errorf("%+v", got)
	}
}
