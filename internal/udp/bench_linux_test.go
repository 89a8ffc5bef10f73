package udp

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"ntp-daemon/internal/ntp"
)

// received puts into b what the kernel writes for n datagrams from an IPv4 client to a socket of all addresses: 0.0.0.0,
// or with v6 [::].
func received(b *Batch, n int, v6 bool) {
	for i := range n {
		var to, stamp [16]byte
		binary.NativeEndian.PutUint64(stamp[:], 1_800_000_000)
		binary.NativeEndian.PutUint64(stamp[8:], uint64(i))
		words := b.inCtl[i][:0]
		put := func(level, kind int32, data []byte) {
			at := len(words) * 8
			words = b.inCtl[i][:len(words)+unix.CmsgSpace(len(data))/8]
			ctl := unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), len(words)*8)
			h := (*unix.Cmsghdr)(unsafe.Pointer(&ctl[at]))
			h.Level, h.Type = level, kind
			h.SetLen(unix.CmsgLen(len(data)))
			copy(ctl[at+unix.CmsgLen(0):], data)
		}
		put(unix.SOL_SOCKET, unix.SO_TIMESTAMPNS_NEW, stamp[:])
		info := unix.Inet4Pktinfo{Ifindex: 2, Spec_dst: [4]byte{192, 0, 2, 1}, Addr: [4]byte{192, 0, 2, 1}}
		put(unix.SOL_IP, unix.IP_PKTINFO, unsafe.Slice((*byte)(unsafe.Pointer(&info)), unsafe.Sizeof(info)))
		b.names[i] = unix.RawSockaddrInet6{}
		if v6 {
			to = netip.MustParseAddr("::ffff:192.0.2.1").As16()
			info6 := unix.Inet6Pktinfo{Addr: to, Ifindex: 2}
			put(unix.SOL_IPV6, unix.IPV6_PKTINFO, unsafe.Slice((*byte)(unsafe.Pointer(&info6)), unsafe.Sizeof(info6)))
			b.names[i] = unix.RawSockaddrInet6{Family: unix.AF_INET6, Port: 0x3930, Addr: netip.MustParseAddr("::ffff:192.0.2.77").As16()}
		} else {
			*(*unix.RawSockaddrInet4)(unsafe.Pointer(&b.names[i])) = unix.RawSockaddrInet4{
				Family: unix.AF_INET, Port: 0x3930, Addr: [4]byte{192, 0, 2, 77},
			}
		}
		b.in[i].Len = 48
		b.in[i].Hdr.SetControllen(len(words) * 8)
		b.in[i].Hdr.Flags = 0
	}
}

// BenchmarkBatch is our own part of a datagram's way in and out: everything but the system calls and the answer.
func BenchmarkBatch(b *testing.B) {
	bound := netip.MustParseAddrPort("0.0.0.0:123")
	for name, v6 := range map[string]bool{"IPv4": false, "dual": true} {
		b.Run(name, func(b *testing.B) {
			batch, clock := NewBatch(), Clock{Now: testNow, Map: func(t ntp.Timestamp) ntp.Timestamp { return t }}
			b.ReportAllocs()
			for n := 0; n < b.N; n += BatchSize {
				b.StopTimer()
				received(batch, BatchSize, v6)
				b.StartTimer()
				batch.filled(BatchSize, bound, &clock)
				for i := range BatchSize {
					batch.Answer(i, batch.ReplyBuffer(i)[:48])
				}
				batch.rearm()
			}
		})
	}
}
