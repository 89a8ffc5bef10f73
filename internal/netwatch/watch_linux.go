package netwatch

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// settle is how long a change waits for those that come with it: an address is of no use before its route. A network that
	// returns is used within half a second.
	settle = 50 * time.Millisecond
	// gap is the least time between two calls, spacing between further ones when burst of them came in a row, however much
	// the network changes.
	gap, spacing = 250 * time.Millisecond, 5 * time.Second
	burst        = 4
	// eventPeers is the value of IFLA_EVENT by which a link asks to be announced: the machine was moved, or restored
	// (IFLA_EVENT_NOTIFY_PEERS).
	eventPeers = 4
	// longest is what one read can return; the kernel's messages about links and routes are far below that.
	longest = 64 << 10
)

// groups are the notices that are subscribed to (rtnetlink(7)).
const groups = 1<<(unix.RTNLGRP_LINK-1) | 1<<(unix.RTNLGRP_IPV4_IFADDR-1) | 1<<(unix.RTNLGRP_IPV6_IFADDR-1) |
	1<<(unix.RTNLGRP_IPV4_ROUTE-1) | 1<<(unix.RTNLGRP_IPV6_ROUTE-1)

// Watch calls changed soon after links, addresses or routes have come up, mostly no more often than every five seconds. It returns when ctx
// ends, with its error, or when the kernel cannot be listened to. changed must be quick; it runs on the caller's goroutine.
func Watch(ctx context.Context, changed func()) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("watch network: %w", err)
	}
	f := os.NewFile(uintptr(fd), "rtnetlink")
	defer f.Close()
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		return fmt.Errorf("watch network: %w", err)
	}
	// A deadline in the past ends a Read that is waiting; closing the file could race with its reuse.
	defer context.AfterFunc(ctx, func() { _ = f.SetReadDeadline(time.Unix(1, 0)) })()
	seen, buf := newSeen(), make([]byte, longest)
	var due time.Time // of the next call, zero if nothing has changed
	var pace pace
	for {
		_ = f.SetReadDeadline(due)
		if ctx.Err() != nil { // it may have ended before the deadline was set
			return ctx.Err()
		}
		n, err := f.Read(buf)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, os.ErrDeadlineExceeded):
			due = time.Time{}
			pace.called(time.Now())
			changed()
		case err != nil && !errors.Is(err, unix.ENOBUFS): // ENOBUFS: more came than we could read
			return fmt.Errorf("watch network: %w", err)
		case (err != nil || seen.anythingNew(buf[:n])) && due.IsZero():
			due = pace.next(time.Now())
		}
	}
}

// pace spaces the calls: a bucket of burst calls that fills by one in each spacing.
type pace struct {
	last  time.Time // the latest call; zero before the first
	spent time.Duration
}

// called notes a call.
func (p *pace) called(now time.Time) {
	p.spent, p.last = p.owed(now)+spacing, now
}

// owed is what is left at now of the time that the calls so far stand for.
func (p *pace) owed(now time.Time) time.Duration { return max(p.spent-now.Sub(p.last), 0) }

// next is when to call about a change that comes now.
func (p *pace) next(now time.Time) time.Time {
	wait := max(settle, p.owed(now)-(burst-1)*spacing)
	if soon := p.last.Add(gap); soon.After(now.Add(wait)) {
		return soon
	}
	return now.Add(wait)
}

// maxSeen bounds the memory of links and addresses; a host with more is told of changes more often than needed.
const maxSeen = 4096

// seen is what has been announced and not taken back, so that what the kernel announces again is no news: an address with each
// router advertisement, a radio link with each measurement of its signal.
type seen struct {
	up map[string]struct{} // "link" or "address" messages by what identifies them
}

func newSeen() *seen { return &seen{up: make(map[string]struct{})} }

// anythingNew reads the messages of one datagram and reports whether one of them says that something has come up.
func (s *seen) anythingNew(b []byte) (is bool) {
	for len(b) >= unix.SizeofNlMsghdr {
		size := int(binary.NativeEndian.Uint32(b))
		kind := binary.NativeEndian.Uint16(b[4:])
		if size < unix.SizeofNlMsghdr || size > len(b) {
			return is
		}
		is = s.isNew(kind, b[unix.SizeofNlMsghdr:size]) || is
		b = b[min((size+unix.NLMSG_ALIGNTO-1)&^(unix.NLMSG_ALIGNTO-1), len(b)):]
	}
	return is
}

// isNew judges one message.
func (s *seen) isNew(kind uint16, body []byte) bool {
	switch {
	case (kind == unix.RTM_NEWLINK || kind == unix.RTM_DELLINK) && len(body) >= unix.SizeofIfInfomsg:
		running := kind == unix.RTM_NEWLINK && binary.NativeEndian.Uint32(body[8:])&unix.IFF_RUNNING != 0
		event := find(body[unix.SizeofIfInfomsg:], unix.IFLA_EVENT)
		moved := running && len(event) == 4 && binary.NativeEndian.Uint32([]byte(event)) == eventPeers
		return s.enter("link"+string(body[4:8]), running) || moved
	case (kind == unix.RTM_NEWADDR || kind == unix.RTM_DELADDR) && len(body) >= unix.SizeofIfAddrmsg:
		return s.enter("address"+string(body[:2])+string(body[4:8])+find(body[unix.SizeofIfAddrmsg:], unix.IFA_ADDRESS), kind == unix.RTM_NEWADDR)
	case kind == unix.RTM_NEWROUTE && len(body) >= unix.SizeofRtMsg:
		return binary.NativeEndian.Uint32(body[8:])&unix.RTM_F_CLONED == 0 // a cached route is no new one
	}
	return false
}

// enter notes that something is up or not, and reports whether it has come up by that.
func (s *seen) enter(key string, up bool) bool {
	_, was := s.up[key]
	if !up {
		delete(s.up, key)
	} else if len(s.up) < maxSeen {
		s.up[key] = struct{}{}
	}
	return up && !was
}

// find returns the first attribute of the wanted kind, empty if there is none.
func find(attributes []byte, wanted uint16) string {
	for b := attributes; len(b) >= unix.SizeofRtAttr; {
		size, kind := int(binary.NativeEndian.Uint16(b)), binary.NativeEndian.Uint16(b[2:])
		if size < unix.SizeofRtAttr || size > len(b) {
			break
		}
		if kind == wanted {
			return string(b[unix.SizeofRtAttr:size])
		}
		b = b[min((size+unix.RTA_ALIGNTO-1)&^(unix.RTA_ALIGNTO-1), len(b)):]
	}
	return ""
}
