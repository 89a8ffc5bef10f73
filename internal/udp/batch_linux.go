package udp

import (
	"encoding/binary"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"

	"ntp-daemon/internal/ntp"
)

// Room for control messages, in 8-byte words so that the kernel's structures in them are aligned.
const (
	inControlWords  = 16                   // a timestamp (32 bytes with header), a packet info of IPv6 (40) and one of IPv4 (32)
	outControlWords = 5 + sentControlWords // a packet info (of IPv6, 40 bytes) and a request for a stamp
)

// Batch is the memory of one worker: everything the batch calls read and write, allocated once, in one object
// that the kernel's pointers may point into. It belongs to one goroutine.
type Batch struct {
	n       int // datagrams in the batch
	dirty   int // receive headers that the last call that received something changed
	out     int // answers queued
	stamped int // how many of them with a stamp
	longest int // length of the longest of them

	grams [BatchSize]Datagram
	local [BatchSize]netip.Addr // address to answer from; zero leaves it to the socket

	in     [BatchSize]unix.Mmsghdr
	inVec  [BatchSize]unix.Iovec
	names  [BatchSize]unix.RawSockaddrInet6 // an IPv4 address fits too
	inCtl  [BatchSize][inControlWords]uint64
	outHdr [BatchSize]unix.Mmsghdr
	outVec [BatchSize]unix.Iovec
	outCtl [BatchSize][outControlWords]uint64
	outID  [BatchSize]uint32 // of the stamp that is asked for; 0 for none

	sent sentBatch

	data  [BatchSize][ntp.MaxPacket]byte
	reply [BatchSize][ntp.MaxPacket]byte
}

// NewBatch returns the memory for batches of BatchSize datagrams.
func NewBatch() *Batch {
	b := &Batch{dirty: BatchSize, sent: sentBatch{used: sentBatchSize}}
	for i := range b.in {
		b.inVec[i].Base = &b.data[i][0]
		b.inVec[i].SetLen(ntp.MaxPacket)
		h := &b.in[i].Hdr
		h.Name = (*byte)(unsafe.Pointer(&b.names[i]))
		h.Iov = &b.inVec[i]
		h.SetIovlen(1)
		h.Control = (*byte)(unsafe.Pointer(&b.inCtl[i]))
	}
	return b
}

// rearm gives the kernel back the lengths it overwrote.
func (b *Batch) rearm() {
	for i := range b.in[:b.dirty] {
		h := &b.in[i].Hdr
		h.Namelen = unix.SizeofSockaddrInet6
		h.SetControllen(inControlWords * 8)
		h.Flags = 0
	}
	b.n, b.dirty = 0, 0
	b.clear()
}

// clear empties the queue of answers.
func (b *Batch) clear() { b.out, b.stamped, b.longest = 0, 0, 0 }

// filled takes over n received datagrams; bound is the socket's own address.
func (b *Batch) filled(n int, bound netip.AddrPort, clock *Clock) {
	b.n, b.dirty = n, n
	var now ntp.Timestamp // read at most once per batch
	for i := range b.in[:n] {
		h := &b.in[i].Hdr
		var c control
		c.consume(b.inControl(i)[:h.Controllen])
		d := &b.grams[i]
		d.Data = b.data[i][:min(int(b.in[i].Len), ntp.MaxPacket)]
		d.From = rawAddrPort(&b.names[i])
		d.To = bound
		if c.to.IsValid() {
			d.To = netip.AddrPortFrom(c.to, bound.Port())
		}
		b.local[i] = c.to
		switch {
		case h.Flags&unix.MSG_TRUNC != 0:
			d.Flaw = Truncated
		case c.cast:
			d.Flaw = NotUnicast
		default:
			d.Flaw = Sound
		}
		switch {
		case c.stamp.IsZero():
			if now.IsZero() {
				now = clock.Now()
			}
			d.Received = now
		case clock.Map != nil:
			d.Received = clock.Map(c.stamp)
		default:
			d.Received = c.stamp
		}
	}
}

func (b *Batch) inControl(i int) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(&b.inCtl[i])), inControlWords*8)
}

// Len is the number of datagrams in the batch.
func (b *Batch) Len() int { return b.n }

// Datagram returns the i-th datagram; valid until the next Receive.
func (b *Batch) Datagram(i int) *Datagram { return &b.grams[i] }

// ReplyBuffer returns the empty buffer for the answer to datagram i; it has room for ntp.MaxPacket bytes.
func (b *Batch) ReplyBuffer(i int) []byte { return b.reply[i][:0] }

// Answer queues p, which must stay unchanged until Send, as the answer to datagram i. At most one per datagram.
func (b *Batch) Answer(i int, p []byte) {
	if len(p) == 0 || b.out == BatchSize {
		return
	}
	o := b.out
	b.out++
	b.outID[o] = 0
	b.longest = max(b.longest, len(p))
	b.outVec[o].Base = &p[0]
	b.outVec[o].SetLen(len(p))
	h := &b.outHdr[o].Hdr
	h.Name, h.Namelen = b.in[i].Hdr.Name, b.in[i].Hdr.Namelen
	h.Iov = &b.outVec[o]
	h.SetIovlen(1)
	h.Control = nil
	h.SetControllen(0)
	if !b.local[i].IsValid() {
		return
	}
	v6 := b.names[i].Family == unix.AF_INET6
	ctl := unsafe.Slice((*byte)(unsafe.Pointer(&b.outCtl[o])), outControlWords*8)
	n := putSource(ctl, b.local[i], v6, b.names[i].Scope_id)
	h.Control = &ctl[0]
	h.SetControllen(n)
}

// AnswerStamped is Answer, and asks the kernel when this answer leaves; Server.Sent tells, with id. An id below
// FirstStamp asks for nothing. On a kernel that cannot tell it is Answer.
func (b *Batch) AnswerStamped(i int, p []byte, id uint32) {
	o := b.out
	b.Answer(i, p)
	if b.out > o && id >= FirstStamp {
		b.outID[o] = id
		b.stamped++
	}
}

// rawAddrPort converts the kernel's address without allocation: no zone, IPv4-mapped addresses unmapped.
func rawAddrPort(sa *unix.RawSockaddrInet6) netip.AddrPort {
	port := binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&sa.Port))[:])
	switch sa.Family {
	case unix.AF_INET:
		sa4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(sa))
		return netip.AddrPortFrom(netip.AddrFrom4(sa4.Addr), port)
	case unix.AF_INET6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).Unmap(), port)
	}
	return netip.AddrPort{}
}
