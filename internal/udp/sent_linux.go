package udp

import (
	"encoding/binary"
	"errors"
	"unsafe"

	"golang.org/x/sys/unix"

	"ntp-daemon/internal/ntp"
)

// FirstStamp is the least id that AnswerStamped takes. The kernel's own counters start at zero: a stamp with a lower
// id is none that was asked for.
const FirstStamp = 0x1000

// sentStamps makes the kernel report when a datagram left that asks for it, without the datagram and with its id. How
// it reports the moment is left to SO_TIMESTAMPNS, which the socket has for receiving: asked for here as well
// (SOF_TIMESTAMPING_SOFTWARE), every received datagram would carry its stamp twice.
const sentStamps = unix.SOF_TIMESTAMPING_OPT_ID | unix.SOF_TIMESTAMPING_OPT_TSONLY

// scmTSOptID is SCM_TS_OPT_ID (linux/socket.h, Linux 6.13): the id of one datagram, a uint32.
const scmTSOptID = 0x51

// sentKinds tells what a kernel takes in a datagram's control messages.
type sentKinds uint8

const (
	noSent  sentKinds = iota // no request for the stamp of one datagram (before Linux 4.7)
	counted                  // such requests; the kernel numbers the stamps
	named                    // such requests, each with an id of ours
)

// sentRing is how many stamps of counted ids may be awaited at once; one that comes later is lost.
const sentRing = 256

// sentIDs turns the kernel's numbers into the ids that were asked for. It belongs to the socket's goroutine.
type sentIDs struct {
	kinds sentKinds
	next  uint32           // counted: the kernel's number for the next datagram with a stamp
	ring  [sentRing]uint32 // counted: our id of number n at n modulo sentRing; 0 once its stamp came
	stale [sentRing]bool   // counted: a stamp of such a number may still come from before a restart
}

// unsure stands in the ring for a number that two stamps may have.
const unsure = 1

// sent notes that a datagram with our id left.
func (s *sentIDs) sent(id uint32) {
	if s.kinds == counted {
		n := s.next % sentRing
		if s.stale[n] {
			id = unsure
		}
		s.ring[n], s.stale[n] = id, false
		s.next++
	}
}

// ours returns our id for the kernel's, which is taken at most once; false if there is none.
func (s *sentIDs) ours(kernel uint32) (uint32, bool) {
	if s.kinds == named {
		return kernel, kernel >= FirstStamp
	}
	if d := s.next - kernel; d == 0 || d > sentRing {
		return 0, false
	}
	id := &s.ring[kernel%sentRing]
	ours := *id
	if ours < FirstStamp {
		return 0, false
	}
	*id = 0
	return ours, true
}

// restart notes that the kernel counts from zero again. Stamps that are still awaited are given up, and may yet come with a
// number that is then another answer's: neither of the two is believed.
func (s *sentIDs) restart() {
	for n, id := range s.ring {
		s.stale[n] = s.stale[n] || id != 0
	}
	s.ring, s.next = [sentRing]uint32{}, 0
}

// probeSent finds out what this kernel takes, on a throw-away socket that sends nothing to anybody but itself. Only an
// unknown control message is "invalid argument"; whatever else may go wrong comes after the messages were read.
func probeSent() sentKinds {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.IPPROTO_UDP)
	if err != nil {
		return noSent // a host without IPv4 does without
	}
	defer unix.Close(fd)
	if unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}) != nil || !enableSent(fd) {
		return noSent
	}
	self, err := unix.Getsockname(fd)
	if err != nil {
		return noSent
	}
	var words [sentControlWords]uint64
	ctl := unsafe.Slice((*byte)(unsafe.Pointer(&words)), len(words)*8)
	for kinds := named; kinds > noSent; kinds-- {
		err := unix.Sendmsg(fd, nil, ctl[:putSentRequest(ctl, kinds, FirstStamp)], self, unix.MSG_DONTWAIT)
		if !errors.Is(err, unix.EINVAL) {
			return kinds
		}
	}
	return noSent
}

// enableSent sets the option, or sets it anew: that makes the kernel count from zero.
func enableSent(fd int) bool {
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPING_NEW, 0)
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPING_NEW, sentStamps) == nil {
		return true
	}
	if unix.SizeofPtr != 8 { // the kernel would write stamps in a form that isTimestamp does not take
		return false
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPING_OLD, 0)
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPING_OLD, sentStamps) == nil
}

// sentControlWords is the room that putSentRequest needs, in 8-byte words.
const sentControlWords = 6

// putSentRequest writes the control messages that ask for the stamp of one datagram into buf and returns how many bytes
// they take. The old name of SO_TIMESTAMPING is known to every kernel and means the same here.
func putSentRequest(buf []byte, kinds sentKinds, id uint32) (n int) {
	if kinds == noSent {
		return 0
	}
	n = putWord(buf, unix.SO_TIMESTAMPING_OLD, unix.SOF_TIMESTAMPING_TX_SOFTWARE)
	if kinds == named {
		n += putWord(buf[n:], scmTSOptID, id)
	}
	return n
}

// putWord writes a control message of the socket level with a uint32.
func putWord(buf []byte, kind int32, value uint32) int {
	h := (*unix.Cmsghdr)(unsafe.Pointer(&buf[0]))
	h.Level, h.Type = unix.SOL_SOCKET, kind
	h.SetLen(unix.CmsgLen(4))
	binary.NativeEndian.PutUint32(buf[unix.CmsgLen(0):], value)
	return unix.CmsgSpace(4)
}

// sentBatch is the memory for what one call takes from the error queue.
type sentBatch struct {
	used int // headers that the last call changed; at first all

	hdr [sentBatchSize]unix.Mmsghdr
	ctl [sentBatchSize][controlSpace / 8]uint64
}

// sentBatchSize is how many stamps one call takes from the error queue.
const sentBatchSize = BatchSize

func (b *sentBatch) arm() {
	for i := range b.hdr[:b.used] {
		b.hdr[i].Hdr.Control = (*byte)(unsafe.Pointer(&b.ctl[i]))
		b.hdr[i].Hdr.SetControllen(controlSpace)
	}
	b.used = 0
}

// Sent hands over the stamps of answers that AnswerStamped queued and that have left since the last call, on the
// steered clock, with their ids, in the order in which they left. A software stamp is taken as the datagram is handed
// to the device; so it is mostly there when Send returns, later behind a queueing discipline, and never if the
// datagram was dropped before. It does not wait, takes at most 2*BatchSize and allocates nothing; same goroutine as
// Receive.
func (s *Server) Sent(b *Batch, each func(id uint32, at ntp.Timestamp)) {
	if s.ids.kinds == noSent {
		return
	}
	for range 2 * BatchSize / sentBatchSize {
		b.sent.arm()
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&b.sent.hdr[0])),
			sentBatchSize, unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT, 0, 0)
		if errno != 0 {
			return // nothing there
		}
		b.sent.used = int(n)
		for i := range int(n) {
			ctl := unsafe.Slice((*byte)(unsafe.Pointer(&b.sent.ctl[i])), controlSpace)
			var c control
			c.consume(ctl[:min(int(b.sent.hdr[i].Hdr.Controllen), controlSpace)])
			if !c.looped || c.stamp.IsZero() {
				continue
			}
			if id, ok := s.ids.ours(c.id); ok {
				each(id, s.clock.stamp(c.stamp).Time)
			}
		}
		if n < sentBatchSize {
			return
		}
	}
}

// askSent puts the requests for stamps into the answers that are queued with one.
func (s *Server) askSent(b *Batch) {
	if b.stamped == 0 || s.ids.kinds == noSent {
		return
	}
	for o := range b.out {
		if b.outID[o] == 0 {
			continue
		}
		h := &b.outHdr[o].Hdr
		ctl := unsafe.Slice((*byte)(unsafe.Pointer(&b.outCtl[o])), outControlWords*8)
		used := int(h.Controllen)
		h.Control = &ctl[0]
		h.SetControllen(used + putSentRequest(ctl[used:], s.ids.kinds, b.outID[o]))
	}
}

// noteSent notes that the answers from..to left. Where the kernel went no further than that, the next answer was refused, even
// if it is taken at the second try.
func (s *Server) noteSent(b *Batch, from, to int) {
	if b.stamped == 0 {
		return
	}
	for _, id := range b.outID[from:to] {
		if id != 0 {
			s.ids.sent(id)
		}
	}
	if to < b.out {
		s.noteRefused(b, to)
	}
}

// noteRefused notes that answer o was refused. Kernels differ in whether that moved their counter, so it is set to zero. The
// stamps that are there are taken before, and lost: later their numbers would be those of other answers.
func (s *Server) noteRefused(b *Batch, o int) {
	if b.outID[o] != 0 && s.ids.kinds == counted {
		s.Sent(b, func(uint32, ntp.Timestamp) {})
		s.ids.restart()
		enableSent(s.fd)
	}
}
