//go:build !linux

package udp

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"ntp-daemon/internal/ntp"
)

// Batch is the memory of one worker; here it holds one datagram.
type Batch struct {
	gram  Datagram
	from  netip.AddrPort // as the system gave it: with its zone, mapped on a dual-stack socket
	n     int
	out   []byte
	data  [ntp.MaxPacket + 1]byte // one more, to see that a datagram was longer
	reply [ntp.MaxPacket]byte
}

// NewBatch returns the memory for one datagram.
func NewBatch() *Batch { return new(Batch) }

// Len is the number of datagrams in the batch.
func (b *Batch) Len() int { return b.n }

// Datagram returns the datagram; valid until the next Receive.
func (b *Batch) Datagram(int) *Datagram { return &b.gram }

// ReplyBuffer returns the empty buffer for the answer; it has room for ntp.MaxPacket bytes.
func (b *Batch) ReplyBuffer(int) []byte { return b.reply[:0] }

// Answer queues p, which must stay unchanged until Send, as the answer.
func (b *Batch) Answer(_ int, p []byte) { b.out = p }

// FirstStamp is the least id that AnswerStamped takes.
const FirstStamp = 0x1000

// AnswerStamped is Answer: the platform does not tell when an answer leaves.
func (b *Batch) AnswerStamped(i int, p []byte, _ uint32) { b.Answer(i, p) }

// Server is one socket over package net: one datagram at a time, clock readings for stamps, and on a wildcard
// address of a host with several addresses the system chooses where replies leave from. Listen on each address
// by itself where that matters.
type Server struct {
	pc      *net.UDPConn
	bound   netip.AddrPort
	clock   Clock
	closing atomic.Bool
}

// Listen opens the socket of one listen address; there is one whatever c.Sockets says.
func Listen(c ListenConfig) ([]*Server, error) {
	addr := netip.AddrPortFrom(c.Address.Addr().Unmap(), c.Address.Port())
	network := "udp"
	if addr.Addr().Is4() {
		network = "udp4"
	} else if c.V6Only {
		network = "udp6"
	}
	pc, err := net.ListenUDP(network, net.UDPAddrFromAddrPort(addr))
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("listen on udp %s: %w", addr, ErrInUse)
	}
	if err != nil {
		return nil, fmt.Errorf("listen on udp %s: %w", addr, cause(err))
	}
	bound := pc.LocalAddr().(*net.UDPAddr).AddrPort()
	bound = netip.AddrPortFrom(bound.Addr().Unmap(), bound.Port())
	return []*Server{{pc: pc, bound: bound, clock: c.Clock}}, nil
}

// LocalAddr is the bound address.
func (s *Server) LocalAddr() netip.AddrPort { return s.bound }

// Absent is always false: an address that no interface has cannot be bound here.
func (s *Server) Absent() bool { return false }

// Receive waits for one datagram. After Interrupt or Close it returns ErrClosed. After other errors the caller
// pauses and calls again.
func (s *Server) Receive(b *Batch) error {
	b.n, b.out = 0, nil
	n, from, err := s.pc.ReadFromUDPAddrPort(b.data[:])
	switch {
	case s.closing.Load(), errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, net.ErrClosed):
		return ErrClosed
	case err != nil:
		return fmt.Errorf("receive: %w", cause(err))
	}
	b.n = 1
	b.from = from
	b.gram = Datagram{
		Data:     b.data[:min(n, ntp.MaxPacket)],
		From:     netip.AddrPortFrom(from.Addr().Unmap().WithZone(""), from.Port()),
		To:       s.bound,
		Received: s.clock.Now(),
	}
	if n > ntp.MaxPacket {
		b.gram.Flaw = Truncated
	}
	return nil
}

// Send sends the queued answer and returns how many were refused (S20).
func (s *Server) Send(b *Batch) (failed int) {
	if len(b.out) == 0 {
		return 0
	}
	p := b.out
	b.out = nil
	if _, err := s.pc.WriteToUDPAddrPort(p, b.from); err != nil {
		return 1
	}
	return 0
}

// Sent has no stamps of answers to hand over: the platform does not tell.
func (s *Server) Sent(*Batch, func(id uint32, at ntp.Timestamp)) {}

// Interrupt makes Receive return ErrClosed, now and from now on.
func (s *Server) Interrupt() {
	s.closing.Store(true)
	_ = s.pc.SetReadDeadline(time.Unix(1, 0))
}

// Close frees the socket. A second call does nothing of use.
func (s *Server) Close() error {
	s.closing.Store(true)
	return s.pc.Close()
}

// Dropped is 0: the platform does not say.
func (s *Server) Dropped() uint64 { return 0 }
