package udp

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"ntp-daemon/internal/ntp"
)

func needDestinations(testing.TB) {}

// checkStamps wants kernel stamps on both sides: the loopback device gives them on every kernel we support.
func checkStamps(t *testing.T, tx ntp.Stamp, ok bool, rx ntp.Stamp) {
	t.Helper()
	if !ok || tx.Origin != ntp.OriginKernel {
		t.Errorf("no kernel transmit stamp: %+v", tx)
	}
	if rx.Origin != ntp.OriginKernel {
		t.Logf("no kernel receive stamp: %+v (the kernel may still be switching them on)", rx)
	}
}

// A router may fragment long answers over IPv4, no other ones.
func TestServer_Fragments(t *testing.T) {
	s := listen(t, ListenConfig{Address: local(0)})[0]
	defer s.Close()
	c, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(s.LocalAddr()))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	b := NewBatch()
	for _, row := range []struct{ length, want int }{
		{0, unix.IP_PMTUDISC_PROBE}, {48, unix.IP_PMTUDISC_PROBE}, {548, unix.IP_PMTUDISC_PROBE}, {549, unix.IP_PMTUDISC_OMIT},
		{48, unix.IP_PMTUDISC_PROBE}, {1000, unix.IP_PMTUDISC_OMIT}, {48, unix.IP_PMTUDISC_PROBE},
	} {
		if row.length > 0 {
			if _, err := c.Write(make([]byte, 1000)); err != nil {
				t.Fatal(err)
			}
			if err := s.Receive(b); err != nil {
				t.Fatal(err)
			}
			b.Answer(0, make([]byte, row.length))
			if s.Send(b) != 0 {
				t.Fatal("not sent")
			}
			if n, err := c.Read(make([]byte, 2000)); err != nil || n != row.length {
				t.Fatal(n, err)
			}
		}
		if got, err := unix.GetsockoptInt(s.fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER); err != nil || got != row.want {
			t.Errorf("after %d bytes: %d, %v", row.length, got, err)
		}
	}
}

func TestServer_BatchAllocatesNothing(t *testing.T) {
	for _, address := range []string{"0.0.0.0:0", "[::]:0"} {
		t.Run(address, func(t *testing.T) { batchAllocatesNothing(t, netip.MustParseAddrPort(address)) })
	}
}

func batchAllocatesNothing(t *testing.T, address netip.AddrPort) {
	s := listen(t, ListenConfig{Address: address})[0]
	defer s.Close()
	c := dial(t, local(s.LocalAddr().Port()))
	b, p, total := NewBatch(), make([]byte, 48), 0
	n := testing.AllocsPerRun(200, func() {
		for range 8 {
			if err := c.Send(p); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Receive(b); err != nil {
			t.Fatal(err)
		}
		for i := range b.Len() {
			b.Answer(i, append(b.ReplyBuffer(i), b.Datagram(i).Data...))
		}
		total += b.Len() - s.Send(b)
	})
	if n != 0 || total < 1000 {
		t.Errorf("%v allocations in a batch; %d answers", n, total)
	}
}

// S20: a reply that cannot be sent is counted, and the others still go.
func TestS20_SendErrorsAreCounted(t *testing.T) {
	s := listen(t, ListenConfig{Address: netip.MustParseAddrPort("0.0.0.0:0")})[0]
	defer s.Close()
	c := dial(t, local(s.LocalAddr().Port()))
	for _, p := range []string{"one", "two", "three", "four"} {
		if err := c.Send([]byte(p)); err != nil {
			t.Fatal(err)
		}
	}
	b := NewBatch()
	got := 0
	for got < 4 {
		if err := s.Receive(b); err != nil {
			t.Fatal(err)
		}
		if b.Len() != 4 {
			t.Skipf("the four datagrams came in batches of %d", b.Len())
		}
		got += b.Len()
	}
	huge := make([]byte, 1<<17) // EMSGSIZE
	b.Answer(0, b.Datagram(0).Data)
	b.Answer(1, huge)
	b.local[2] = netip.MustParseAddr("203.0.113.77") // EINVAL: not an address of this host
	b.Answer(2, b.Datagram(2).Data)
	b.Answer(3, b.Datagram(3).Data)
	if failed := s.Send(b); failed != 2 {
		t.Errorf("%d failed, want 2", failed)
	}
	for _, want := range []string{"one", "four"} {
		if got, _, err := receive(t, c, 2*time.Second); err != nil || got != want {
			t.Errorf("%q, %v", got, err)
		}
	}
	if failed := s.Send(b); failed != 0 {
		t.Errorf("sent again")
	}
}

// A directed broadcast is told from a unicast by sockets of either family.
func TestServer_BroadcastIsFlawed(t *testing.T) {
	for _, address := range []string{"0.0.0.0:0", "[::]:0"} {
		s := listen(t, ListenConfig{Address: netip.MustParseAddrPort(address)})[0]
		defer s.Close()
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BROADCAST, 1); err != nil {
			t.Fatal(err)
		}
		b := NewBatch()
		for _, row := range []struct {
			to   [4]byte
			want Flaw
		}{{[4]byte{127, 255, 255, 255}, NotUnicast}, {[4]byte{127, 0, 0, 1}, Sound}, {[4]byte{127, 9, 9, 9}, Sound}} {
			to := &unix.SockaddrInet4{Port: int(s.LocalAddr().Port()), Addr: row.to}
			if err := unix.Sendto(fd, make([]byte, 48), 0, to); err != nil {
				t.Skipf("no broadcast on loopback: %v", err)
			}
			if err := s.Receive(b); err != nil {
				t.Fatal(err)
			}
			if d := b.Datagram(0); d.Flaw != row.want || d.To.Addr() != netip.AddrFrom4(row.to) {
				t.Errorf("%s: datagram to %v: to %v, flaw %d", address, row.to, d.To, d.Flaw)
			}
		}
	}
}

// S24: bound before any interface has the address; it appears, goes, comes back, the interface goes down and up.
func TestS24_AddressComesAndGoes(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root for a network namespace")
	}
	ip, err := exec.LookPath("ip")
	if err != nil {
		t.Skip("no ip command")
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // the thread is in the namespace from here on, and ends with the goroutine
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			t.Logf("skipped: no network namespace: %v", err)
			return
		}
		comeAndGo(t, ip)
	}()
	<-done
}

func comeAndGo(t *testing.T, ip string) {
	run := func(args ...string) {
		if out, err := exec.Command(ip, args...).CombinedOutput(); err != nil {
			t.Errorf("ip %v: %v: %s", args, err, bytes.TrimSpace(out))
		}
	}
	run("link", "set", "lo", "up")
	address := netip.MustParseAddrPort("10.77.0.1:12345")
	list, err := Listen(ListenConfig{Address: address, Clock: testClock})
	if err != nil {
		t.Error(err)
		return
	}
	s := list[0]
	defer s.Close()
	if !s.Absent() {
		t.Error("not reported absent")
	}
	b := NewBatch()
	ask := func(when string) {
		c, err := Dial(address, testNow, nil)
		if err != nil {
			t.Errorf("%s: %v", when, err)
			return
		}
		defer c.Close()
		if err := c.Send([]byte(when)); err != nil {
			t.Errorf("%s: %v", when, err)
			return
		}
		for {
			if err := s.Receive(b); err != nil {
				t.Errorf("%s: %v", when, err)
				return
			}
			if string(b.Datagram(0).Data) == when {
				break
			}
		}
		b.Answer(0, b.Datagram(0).Data)
		if s.Send(b) != 0 {
			t.Errorf("%s: answer refused", when)
		}
		if got, _, err := receive(t, c, 2*time.Second); err != nil || got != when {
			t.Errorf("%s: %q, %v", when, got, err)
		}
	}
	run("addr", "add", "10.77.0.1/32", "dev", "lo")
	ask("appeared")
	run("addr", "del", "10.77.0.1/32", "dev", "lo")
	run("addr", "add", "10.77.0.1/32", "dev", "lo")
	ask("came back")
	run("link", "set", "lo", "down")
	run("link", "set", "lo", "up")
	ask("interface went down and up")
}

func TestServer_DroppedIsCounted(t *testing.T) {
	s := listen(t, ListenConfig{Address: local(0)})[0]
	defer s.Close()
	if n := s.Dropped(); n != 0 {
		t.Errorf("%d dropped at the start", n)
	}
	_ = unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 4096)
	c := dial(t, s.LocalAddr())
	for range 200 {
		if err := c.Send(make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
	}
	if s.Dropped() == 0 {
		t.Error("none dropped from a full buffer")
	}
	_ = s.Close()
	if n := s.Dropped(); n != 0 { // whatever has the descriptor now must not be asked
		t.Errorf("%d dropped by a closed socket", n)
	}
}

func FuzzConsumeControl(f *testing.F) {
	f.Add(make([]byte, 64))
	var pkt [64]byte
	n := putSource(pkt[:], netip.MustParseAddr("192.0.2.1"), false, 0)
	f.Add(bytes.Clone(pkt[:n]))
	n = putSource(pkt[:], netip.MustParseAddr("fe80::1"), true, 3)
	f.Add(bytes.Clone(pkt[:n]))
	for _, m := range loopedMessages() {
		f.Add(m)
		f.Add(m[:len(m)-3])
		f.Add(append(bytes.Clone(pkt[:n]), m...))
	}
	f.Fuzz(func(t *testing.T, oob []byte) {
		aligned := make([]uint64, (len(oob)+7)/8+1) // the kernel's buffer is aligned, and so must this be
		b := copyInto(aligned, oob)
		var got, want control
		got.consume(b)
		want.consumeGeneric(b)
		if got != want {
			t.Errorf("%x: %+v, the parser of package unix says %+v", oob, got, want)
		}
	})
}

// loopedMessages are the control messages of transmit stamps as Linux 6.18 gives them on sockets of both families: the
// stamp, and the extended error with id 0x1235 and an empty address behind it.
func loopedMessages() (list [][]byte) {
	message := func(level, kind int32, data []byte) []byte {
		space := unix.CmsgSpace(len(data)) // a multiple of 4 on 32-bit systems
		words := make([]uint64, (space+7)/8)
		b := unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), space)
		h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
		h.Level, h.Type = level, kind
		h.SetLen(unix.CmsgLen(len(data)))
		copy(b[unix.CmsgLen(0):], data)
		return b
	}
	stamp := binary.NativeEndian.AppendUint64(binary.NativeEndian.AppendUint64(nil, 1_800_000_000), 5)
	extended := make([]byte, 16)
	binary.NativeEndian.PutUint32(extended, uint32(unix.ENOMSG))
	extended[4] = unix.SO_EE_ORIGIN_TIMESTAMPING
	binary.NativeEndian.PutUint32(extended[12:], 0x1235)
	for _, row := range []struct {
		level, kind int32
		address     int
	}{{unix.SOL_IP, unix.IP_RECVERR, unix.SizeofSockaddrInet4}, {unix.SOL_IPV6, unix.IPV6_RECVERR, unix.SizeofSockaddrInet6}} {
		list = append(list, append(message(unix.SOL_SOCKET, unix.SO_TIMESTAMPNS_NEW, stamp),
			message(row.level, row.kind, append(extended[:16:16], make([]byte, row.address)...))...))
	}
	return list
}

func TestConsumeControl_TransmitStamp(t *testing.T) {
	for i, m := range loopedMessages() {
		c := consumeControl(m)
		if !c.looped || c.id != 0x1235 || c.stamp != ntp.FromUnix(1_800_000_000, 5) || c.to.IsValid() || c.cast {
			t.Errorf("message %d: %+v", i, c)
		}
		for n := range m { // cut off anywhere, it is no stamp with an id
			aligned := make([]uint64, len(m)/8+1)
			if c := consumeControl(copyInto(aligned, m[:n])); c.looped && n < unix.CmsgSpace(16)+unix.CmsgLen(16) {
				t.Errorf("message %d, %d bytes: %+v", i, n, c)
			}
		}
	}
}

// consumeGeneric is consume with the parser of package unix.
func (c *control) consumeGeneric(oob []byte) {
	for len(oob) >= unix.CmsgLen(0) {
		h, data, rest, err := unix.ParseOneSocketControlMessage(oob)
		if err != nil {
			return
		}
		c.take(&h, data)
		oob = rest
	}
}

// consumeControl returns what the control messages say.
func consumeControl(oob []byte) (c control) {
	c.consume(oob)
	return c
}

func TestPutSource_RoundTrip(t *testing.T) {
	for _, row := range []struct {
		addr string
		v6   bool
	}{{"192.0.2.1", false}, {"192.0.2.1", true}, {"2001:db8::1", true}, {"fe80::1", true}} {
		words := make([]uint64, outControlWords)
		buf := copyInto(words, make([]byte, outControlWords*8))
		n := putSource(buf, netip.MustParseAddr(row.addr), row.v6, 7)
		c := consumeControl(buf[:n])
		if row.v6 { // the index of the interface stands behind the address; only a link-local one needs it
			index := binary.NativeEndian.Uint32(buf[unix.CmsgLen(0)+16:])
			if want := map[bool]uint32{true: 7}[row.addr == "fe80::1"]; index != want {
				t.Errorf("%v: interface %d, want %d", row, index, want)
			}
		}
		if row.v6 && c.to.String() != row.addr {
			t.Errorf("%v: read back %v", row, c.to)
		}
		if !row.v6 && !c.cast { // for sending, only the source is set: read back as if from a broadcast
			t.Errorf("%v: %+v", row, c)
		}
	}
}

// copyInto copies b into aligned memory.
func copyInto(words []uint64, b []byte) []byte {
	dst := unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), len(words)*8)
	return dst[:copy(dst, b)]
}

// TestKernelStamps: what the kernel's clock cannot have shown is no stamp, so that the reader's own clock reading is taken.
func TestKernelStamps(t *testing.T) {
	for _, row := range []struct {
		sec, nsec int64
		want      ntp.Timestamp
	}{
		{0, 0, 0}, {1, -1, 0}, {1, 1e9, 0}, {1, 1 << 62, 0}, {0, 1, ntp.FromUnix(0, 1)}, {1_800_000_000, 999_999_999, ntp.FromUnix(1_800_000_000, 999_999_999)},
		{-1, 5, ntp.FromUnix(-1, 5)},
	} {
		b := binary.NativeEndian.AppendUint64(binary.NativeEndian.AppendUint64(nil, uint64(row.sec)), uint64(row.nsec))
		if got := timespec64(b); got != row.want {
			t.Errorf("%d s and %d ns: %x, want %x", row.sec, row.nsec, got, row.want)
		}
		if got := timespec64(b[:15]); got != 0 {
			t.Errorf("15 bytes: %x", got)
		}
	}
}
