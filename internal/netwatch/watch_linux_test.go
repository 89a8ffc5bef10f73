package netwatch

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// message is one netlink message: header and body, padded.
func message(kind uint16, body []byte) []byte {
	b := make([]byte, unix.SizeofNlMsghdr, 256)
	binary.NativeEndian.PutUint32(b, uint32(unix.SizeofNlMsghdr+len(body)))
	binary.NativeEndian.PutUint16(b[4:], kind)
	b = append(b, body...)
	for len(b)%unix.NLMSG_ALIGNTO != 0 {
		b = append(b, 0)
	}
	return b
}

func link(kind uint16, index, flags uint32) []byte {
	body := make([]byte, unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(body[4:], index)
	binary.NativeEndian.PutUint32(body[8:], flags)
	return message(kind, body)
}

// moved is a link that asks to be announced.
func moved(index, flags, event uint32) []byte {
	body := make([]byte, unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(body[4:], index)
	binary.NativeEndian.PutUint32(body[8:], flags)
	return message(unix.RTM_NEWLINK, append(body, attribute(unix.IFLA_EVENT, binary.NativeEndian.AppendUint32(nil, event))...))
}

func addr(kind uint16, index uint32, last byte) []byte {
	body := make([]byte, unix.SizeofIfAddrmsg)
	body[0] = unix.AF_INET
	binary.NativeEndian.PutUint32(body[4:], index)
	cache := append(attribute(unix.IFA_CACHEINFO, make([]byte, 16)), attribute(unix.IFA_ADDRESS, []byte{192, 0, 2, last})...)
	return message(kind, append(body, cache...))
}

func attribute(kind uint16, value []byte) []byte {
	b := make([]byte, unix.SizeofRtAttr)
	binary.NativeEndian.PutUint16(b, uint16(unix.SizeofRtAttr+len(value)))
	binary.NativeEndian.PutUint16(b[2:], kind)
	return append(b, value...)
}

func route(kind uint16, flags uint32) []byte {
	body := make([]byte, unix.SizeofRtMsg)
	binary.NativeEndian.PutUint32(body[8:], flags)
	return message(kind, body)
}

// TestAnythingNew: what comes up is news once, until it has gone; what the kernel repeats is none.
func TestAnythingNew(t *testing.T) {
	s := newSeen()
	for i, step := range []struct {
		b    []byte
		want bool
	}{
		{link(unix.RTM_NEWLINK, 2, unix.IFF_UP), false},
		{link(unix.RTM_NEWLINK, 2, unix.IFF_UP|unix.IFF_RUNNING), true},
		{link(unix.RTM_NEWLINK, 2, unix.IFF_UP|unix.IFF_RUNNING), false}, // a radio link's statistics
		{link(unix.RTM_NEWLINK, 3, unix.IFF_UP|unix.IFF_RUNNING), true},
		{moved(3, unix.IFF_UP|unix.IFF_RUNNING, eventPeers), true}, // the machine was restored from a saved state
		{moved(3, unix.IFF_UP|unix.IFF_RUNNING, 2), false},         // features
		{moved(4, unix.IFF_UP, eventPeers), false},
		{link(unix.RTM_NEWLINK, 2, unix.IFF_UP), false},
		{link(unix.RTM_NEWLINK, 2, unix.IFF_UP|unix.IFF_RUNNING), true},
		{link(unix.RTM_DELLINK, 2, unix.IFF_UP|unix.IFF_RUNNING), false},
		{addr(unix.RTM_NEWADDR, 2, 1), true},
		{addr(unix.RTM_NEWADDR, 2, 1), false}, // a router advertisement
		{addr(unix.RTM_NEWADDR, 2, 2), true},
		{addr(unix.RTM_NEWADDR, 3, 1), true},
		{addr(unix.RTM_DELADDR, 2, 1), false},
		{addr(unix.RTM_NEWADDR, 2, 1), true},
		{route(unix.RTM_NEWROUTE, 0), true},
		{route(unix.RTM_NEWROUTE, unix.RTM_F_CLONED), false},
		{route(unix.RTM_DELROUTE, 0), false},
		{bytes.Join([][]byte{route(unix.RTM_DELROUTE, 0), addr(unix.RTM_NEWADDR, 9, 9), addr(unix.RTM_DELADDR, 9, 9)}, nil), true},
		{message(unix.RTM_NEWLINK, []byte{1, 2}), false},
		{[]byte{1, 2, 3}, false},
	} {
		if got := s.anythingNew(step.b); got != step.want {
			t.Errorf("step %d: news %v, want %v", i, got, step.want)
		}
	}
	for i := range uint32(2 * maxSeen) {
		s.anythingNew(link(unix.RTM_NEWLINK, i, unix.IFF_RUNNING))
	}
	if len(s.up) > maxSeen {
		t.Errorf("%d entries", len(s.up))
	}
}

// TestPace: changes are told at once, four of them; a network that never rests every five seconds, until it has rested.
func TestPace(t *testing.T) {
	var p pace
	now := time.Unix(1000, 0)
	for i := range 12 {
		at := p.next(now)
		d := at.Sub(now)
		switch {
		case i == 0 && d != settle, i > 0 && i < burst && d != gap, i > burst && d != spacing, i == burst && d < spacing/2:
			t.Errorf("call %d after %v", i, d)
		}
		p.called(at)
		now = at
	}
	now = now.Add(time.Minute)
	if d := p.next(now).Sub(now); d != settle {
		t.Errorf("after a minute's rest %v", d)
	}
}

func FuzzAnythingNew(f *testing.F) {
	f.Add(addr(unix.RTM_NEWADDR, 2, 1))
	f.Add(link(unix.RTM_NEWLINK, 2, unix.IFF_RUNNING))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := newSeen()
		s.anythingNew(b)
		s.anythingNew(b)
	})
}

// TestWatch: in a network namespace of its own, addresses that come up bring a call soon, further ones no flood of calls, and
// the end of the context the end.
func TestWatch(t *testing.T) {
	calls, done, where := make(chan time.Time, 100), make(chan error, 1), make(chan string, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine, and the namespace with it
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			close(where)
			return
		}
		where <- fmt.Sprintf("--net=/proc/%d/task/%d/ns/net", os.Getpid(), unix.Gettid())
		done <- Watch(ctx, func() { calls <- time.Now() })
	}()
	namespace, ok := <-where
	if !ok {
		t.Skip("needs root for a network namespace of its own")
	}
	began, n := time.Now(), 0
	for len(calls) == 0 && time.Since(began) < 20*time.Second {
		n++
		out, err := exec.Command("nsenter", namespace, "ip", "addr", "add", fmt.Sprintf("192.0.2.%d/32", n), "dev", "lo").CombinedOutput()
		if err != nil {
			t.Skipf("nsenter ip: %v %s", err, out)
		}
		time.Sleep(100 * time.Millisecond)
	}
	if len(calls) == 0 {
		t.Fatalf("no call after %d new addresses", n)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) || len(calls) > burst+int(time.Since(began)/spacing) {
		t.Errorf("%v, %d calls in %v", err, len(calls), time.Since(began))
	}
}
