//go:build linux && amd64

package main

import (
	"encoding/binary"
	"fmt"
	"math"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

const (
	rootHandle = 0x10000    // 1:0
	rootParent = 0xffffffff // TC_H_ROOT
	queueLimit = 1000       // packets
	// clockTick is the unit of the traffic control interface (PSCHED_SHIFT 6), ns.
	clockTick = 64
)

// setDelay makes the interface hold back what it sends. What is under way keeps the delay that it was given.
func setDelay(name string, delay time.Duration) error { return setNetem(name, delay, 0) }

// setSilence makes the interface lose all that it sends.
func setSilence(name string) error { return setNetem(name, 0, math.MaxUint32) }

// setNetem sets the delay, and the share of packets to lose as 0 to 1<<32 - 1.
func setNetem(name string, delay time.Duration, loss uint32) error {
	ifi, err := net.InterfaceByName(name)
	if err != nil {
		return err
	}
	order := binary.NativeEndian
	var qopt [24]byte // struct tc_netem_qopt: latency, limit, loss, gap, duplicate, jitter
	order.PutUint32(qopt[0:], uint32(delay/clockTick))
	order.PutUint32(qopt[4:], queueLimit)
	order.PutUint32(qopt[8:], loss)

	var body []byte // struct tcmsg and its attributes
	body = append(body, unix.AF_UNSPEC, 0, 0, 0)
	for _, v := range []uint32{uint32(ifi.Index), rootHandle, rootParent, 0} {
		body = order.AppendUint32(body, v)
	}
	body = appendAttribute(body, unix.TCA_KIND, []byte("netem\x00"))
	body = appendAttribute(body, unix.TCA_OPTIONS, qopt[:])

	msg := make([]byte, unix.NLMSG_HDRLEN, unix.NLMSG_HDRLEN+len(body))
	order.PutUint32(msg[0:], uint32(unix.NLMSG_HDRLEN+len(body)))
	order.PutUint16(msg[4:], unix.RTM_NEWQDISC)
	order.PutUint16(msg[6:], unix.NLM_F_REQUEST|unix.NLM_F_ACK|unix.NLM_F_CREATE)
	order.PutUint32(msg[8:], 1)
	return exchange(append(msg, body...))
}

func appendAttribute(b []byte, kind uint16, value []byte) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(unix.SizeofRtAttr+len(value)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = append(b, value...)
	for len(b)%unix.NLMSG_ALIGNTO != 0 {
		b = append(b, 0)
	}
	return b
}

// exchange sends one request to the kernel and returns its verdict.
func exchange(msg []byte) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Sendto(fd, msg, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	answer := make([]byte, 4096)
	n, _, err := unix.Recvfrom(fd, answer, 0)
	if err != nil {
		return err
	}
	if n < unix.NLMSG_HDRLEN+4 || binary.NativeEndian.Uint16(answer[4:]) != unix.NLMSG_ERROR {
		return fmt.Errorf("netlink: unexpected answer of %d bytes", n)
	}
	if code := int32(binary.NativeEndian.Uint32(answer[unix.NLMSG_HDRLEN:])); code != 0 {
		return unix.Errno(-code)
	}
	return nil
}

const (
	// controlPort is where the server machine takes orders: the delay of what it sends, or a word.
	controlPort = "7077"
	// silent makes the server machine lose all that it sends, speaking ends that and every delay.
	silent, speaking = "silent", "0s"
)

// delayReplies asks the server machine to hold back what it sends from now on. The server says yes before it does.
func delayReplies(delay time.Duration) error { return tellServer(delay.String()) }

// tellServer gives the server machine an order and waits for its answer.
func tellServer(order string) error {
	c, err := net.Dial("udp", net.JoinHostPort(serverAddress, controlPort))
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := c.Write([]byte(order)); err != nil {
		return err
	}
	answer := make([]byte, 64)
	n, err := c.Read(answer)
	if err == nil && string(answer[:n]) != order {
		err = fmt.Errorf("server: %s", answer[:n])
	}
	return err
}

// control serves tellServer.
func control() error {
	c, err := net.ListenPacket("udp", ":"+controlPort)
	if err != nil {
		return err
	}
	var leap leapServer
	go func() {
		for buf := make([]byte, 64); ; {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			answer := func(text string) { _, _ = c.WriteTo([]byte(text), from) }
			if err := obey(&leap, string(buf[:n]), answer); err != nil {
				say("VMTEST netem FAIL %v", err)
			}
		}
	}()
	return nil
}

// obey carries out an order and says so, with the same word or what went wrong. What makes the server late or silent comes after
// the answer, and what ends it before, or the answer would be late, behind the client's next step.
func obey(leap *leapServer, order string, answer func(string)) error {
	delay, err := time.ParseDuration(order)
	switch {
	case order == silent:
		answer(order)
		return setSilence(interfaceName)
	case err != nil:
		if err := leap.order(order); err != nil {
			answer(err.Error())
			return nil
		}
		answer(order)
		return nil
	case delay == 0:
		err := setDelay(interfaceName, 0)
		answer(order)
		return err
	}
	answer(order)
	return setDelay(interfaceName, delay)
}
