package udp

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ntp-daemon/internal/ntp"
)

// stampedServer opens a socket whose stamps are of the kind, which this kernel must have.
func stampedServer(t *testing.T, address string, kinds sentKinds) (*Server, *Conn) {
	t.Helper()
	s := listen(t, ListenConfig{Address: netip.MustParseAddrPort(address)})[0]
	t.Cleanup(func() { _ = s.Close() })
	if s.ids.kinds < kinds {
		t.Skipf("this kernel has no stamps of kind %d for single datagrams", kinds)
	}
	s.ids.kinds = kinds
	return s, dial(t, local(s.LocalAddr().Port()))
}

// take sends n requests and returns the batch they arrived in.
func take(t *testing.T, s *Server, c *Conn, b *Batch, n int) {
	t.Helper()
	for i := range n {
		if err := c.Send(fmt.Appendf(nil, "request %d", i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Receive(b); err != nil {
		t.Fatal(err)
	}
	if b.Len() != n {
		t.Skipf("%d datagrams came in a batch of %d", n, b.Len())
	}
}

// stamps returns what Sent hands over.
func stamps(s *Server, b *Batch) (ids []uint32, at []ntp.Timestamp) {
	s.Sent(b, func(id uint32, t ntp.Timestamp) { ids, at = append(ids, id), append(at, t) })
	return ids, at
}

// Each answer that asked gets its stamp, under its id and in order, and no other; on sockets of both families and
// whoever numbers.
func TestSent_StampsOfThoseThatAsked(t *testing.T) {
	for _, address := range []string{"0.0.0.0:0", "[::]:0", "127.0.0.1:0"} {
		for _, kinds := range []sentKinds{counted, named} {
			t.Run(fmt.Sprint(address, " ", kinds), func(t *testing.T) {
				s, c := stampedServer(t, address, kinds)
				b := NewBatch()
				for round := range uint32(3) {
					take(t, s, c, b, 4)
					received := b.Datagram(0).Received
					before := testNow()
					b.Answer(0, b.Datagram(0).Data)
					b.AnswerStamped(1, b.Datagram(1).Data, 0xdead0000+round)
					b.AnswerStamped(2, b.Datagram(2).Data, FirstStamp-1) // asks for nothing
					b.AnswerStamped(3, b.Datagram(3).Data, FirstStamp+round)
					if failed := s.Send(b); failed != 0 {
						t.Fatalf("%d answers refused", failed)
					}
					after := testNow()
					ids, at := stamps(s, b)
					if !slices.Equal(ids, []uint32{0xdead0000 + round, FirstStamp + round}) {
						t.Fatalf("stamps of %x", ids)
					}
					if at[0].Before(before) || at[1].Before(at[0]) || after.Before(at[1]) {
						t.Errorf("left at %v and %v, sent between %v and %v", at[0], at[1], before, after)
					}
					if !received.Before(before) {
						t.Errorf("received at %v, after the answer was made at %v", received, before)
					}
					if ids, _ := stamps(s, b); ids != nil {
						t.Errorf("stamps again: %x", ids)
					}
				}
				for range 12 { // the stamps left the answers alone
					if got, _, err := receive(t, c, 2*time.Second); err != nil || len(got) != len("request 0") {
						t.Fatalf("%q, %v", got, err)
					}
				}
			})
		}
	}
}

// A refused answer may or may not have moved the kernel's counter: the answers after it get their own stamps all the same.
func TestSent_RefusedAnswerShiftsNoId(t *testing.T) {
	for _, kinds := range []sentKinds{counted, named} {
		s, c := stampedServer(t, "0.0.0.0:0", kinds)
		b := NewBatch()
		take(t, s, c, b, 4)
		b.AnswerStamped(0, b.Datagram(0).Data, 0x2000)
		b.AnswerStamped(1, make([]byte, 1<<17), 0x2001) // EMSGSIZE
		b.local[2] = netip.MustParseAddr("203.0.113.77")
		b.AnswerStamped(2, b.Datagram(2).Data, 0x2002) // EINVAL: not an address of this host
		b.AnswerStamped(3, b.Datagram(3).Data, 0x2003)
		if failed := s.Send(b); failed != 2 {
			t.Errorf("%d refused, want 2", failed)
		}
		ids, _ := stamps(s, b)
		if len(ids) == 0 || ids[len(ids)-1] != 0x2003 || slices.Contains(ids, 0x2001) || slices.Contains(ids, 0x2002) {
			t.Errorf("kind %d: stamps of %x", kinds, ids)
		}
	}
}

// An answer is never told the time of another one that left before a refusal, whether the stamp of that is taken in between
// or not, and answers after it have stamps again.
func TestSent_RefusedAnswerShiftsNoTime(t *testing.T) {
	for _, kinds := range []sentKinds{counted, named} {
		s, c := stampedServer(t, "0.0.0.0:0", kinds)
		b := NewBatch()
		made := map[uint32]ntp.Timestamp{}
		answer := func(i int, p []byte, id uint32) {
			made[id] = testNow()
			b.AnswerStamped(i, p, id)
			s.Send(b)
		}
		for round := range uint32(3) {
			take(t, s, c, b, 4)
			id := 0x2000 + 0x10*round
			answer(0, b.Datagram(0).Data, id)
			answer(1, make([]byte, 1<<17), id+1) // EMSGSIZE
			answer(2, b.Datagram(2).Data, id+2)
			answer(3, b.Datagram(3).Data, id+3)
			ids, at := stamps(s, b)
			if !slices.Contains(ids, id+3) {
				t.Errorf("kind %d: stamps of %x", kinds, ids)
			}
			for i, id := range ids {
				if at[i].Before(made[id]) {
					t.Errorf("kind %d: %x left %v before it was made", kinds, id, made[id].Sub(at[i]))
				}
			}
		}
	}
}

// A batch that the kernel breaks off before an answer with a stamp was refused that one, whatever comes of the second try.
func TestSent_BrokenOffIsRefused(t *testing.T) {
	s, c := stampedServer(t, "127.0.0.1:0", counted)
	b := NewBatch()
	take(t, s, c, b, 3)
	queue := func(second uint32) {
		b.clear()
		b.AnswerStamped(0, b.Datagram(0).Data, 0x2000)
		b.AnswerStamped(1, b.Datagram(1).Data, second)
		b.AnswerStamped(2, b.Datagram(2).Data, 0x2002)
	}
	queue(0) // asks for nothing, so it moves no counter
	s.noteSent(b, 0, 1)
	if s.ids.next != 1 {
		t.Errorf("next %d, want 1", s.ids.next)
	}
	s.noteSent(b, 1, 3)
	if s.ids.next != 2 {
		t.Errorf("next %d, want 2", s.ids.next)
	}
	queue(0x2001)
	s.noteSent(b, 0, 1)
	if s.ids.next != 0 {
		t.Errorf("next %d after a break, want 0", s.ids.next)
	}
}

// The kernel's clock and ours may differ: stamps of answers are mapped as those of requests.
func TestSent_IsOnTheSteeredClock(t *testing.T) {
	const shift = 1 << 40
	moved := func(t ntp.Timestamp) ntp.Timestamp { return t + shift }
	s := listen(t, ListenConfig{Address: netip.MustParseAddrPort("127.0.0.1:0"), Clock: Clock{Now: testNow, Map: moved}})[0]
	defer s.Close()
	if s.ids.kinds == noSent {
		t.Skip("no stamps of single datagrams")
	}
	c, b := dial(t, s.LocalAddr()), NewBatch()
	take(t, s, c, b, 1)
	before := moved(testNow())
	b.AnswerStamped(0, b.Datagram(0).Data, FirstStamp)
	s.Send(b)
	if _, at := stamps(s, b); len(at) != 1 || at[0].Before(before) || moved(testNow()).Before(at[0]) {
		t.Errorf("stamps %v, answered after %v", at, before)
	}
}

// One call takes a bounded number of stamps, and the next one the others.
func TestSent_IsBounded(t *testing.T) {
	s, c := stampedServer(t, "127.0.0.1:0", named)
	b, id := NewBatch(), uint32(FirstStamp)
	for range 10 {
		take(t, s, c, b, 8)
		for i := range 8 {
			b.AnswerStamped(i, b.Datagram(i).Data, id)
			id++
		}
		s.Send(b)
	}
	first, _ := stamps(s, b)
	rest, _ := stamps(s, b)
	if len(first) != 2*BatchSize || len(rest) != 80-2*BatchSize || rest[0] != first[len(first)-1]+1 {
		t.Errorf("%d, then %d stamps of 80", len(first), len(rest))
	}
}

func TestSent_AllocatesNothing(t *testing.T) {
	s, c := stampedServer(t, "[::]:0", counted)
	b, p, got := NewBatch(), make([]byte, 48), 0
	each := func(uint32, ntp.Timestamp) { got++ }
	n := testing.AllocsPerRun(200, func() {
		if err := c.Send(p); err != nil {
			t.Fatal(err)
		}
		if err := s.Receive(b); err != nil {
			t.Fatal(err)
		}
		b.AnswerStamped(0, append(b.ReplyBuffer(0), b.Datagram(0).Data...), FirstStamp)
		s.Send(b)
		s.Sent(b, each)
	})
	if n != 0 || got < 200 {
		t.Errorf("%v allocations, %d stamps", n, got)
	}
}

// The numbers of the kernel: only what is awaited is ours, and once.
func TestSentIDs(t *testing.T) {
	s := sentIDs{kinds: counted, next: ^uint32(0) - 1} // the counter wraps
	for id := uint32(0x5000); id < 0x5004; id++ {
		s.sent(id)
	}
	for _, row := range []struct {
		kernel, ours uint32
		ok           bool
	}{{^uint32(0), 0x5001, true}, {^uint32(0), 0, false}, {1, 0x5003, true}, {2, 0, false}, {^uint32(0) - 2, 0, false}, {0, 0x5002, true}} {
		if ours, ok := s.ours(row.kernel); ours != row.ours || ok != row.ok {
			t.Errorf("%d: %x, %v", row.kernel, ours, ok)
		}
	}
	for range sentRing { // pushes the first one out
		s.sent(0x6000)
	}
	if id, ok := s.ours(^uint32(0) - 1); ok {
		t.Errorf("an overwritten id: %x", id)
	}
	if id, ok := s.ours(s.next); ok {
		t.Errorf("an id that was not given out yet: %x", id)
	}
	s = sentIDs{kinds: named}
	for _, id := range []uint32{0, 1, FirstStamp - 1} { // a kernel that counts although it took our ids
		if _, ok := s.ours(id); ok {
			t.Errorf("id %x", id)
		}
	}
}

// A stamp of before a restart may come late, and then has the number of another answer: neither is believed, not after a second
// restart either. Whatever was not awaited is believed at once.
func TestSentIDs_Restart(t *testing.T) {
	s := sentIDs{kinds: counted}
	s.sent(0x5000)
	s.sent(0x5001)
	if id, ok := s.ours(0); !ok || id != 0x5000 {
		t.Fatalf("%x, %v", id, ok)
	}
	s.restart() // number 1 is awaited
	if id, ok := s.ours(1); ok {
		t.Errorf("after the restart: %x", id)
	}
	for range 2 {
		s.sent(0x7000)
		s.sent(0x7001)
		s.sent(0x7002)
		for n, want := range []uint32{0x7000, 0, 0x7002} {
			for range 2 {
				if id, ok := s.ours(uint32(n)); ok != (want != 0) || id != want {
					t.Errorf("number %d: %x, %v, want %x", n, id, ok, want)
				}
				want = 0
			}
		}
		s.restart()
	}
	for range sentRing {
		s.sent(0x8000)
	}
	s.sent(0x8001) // 0
	s.sent(0x8002) // 1
	if id, ok := s.ours(sentRing + 1); !ok || id != 0x8002 {
		t.Errorf("a round later: %x, %v", id, ok)
	}
}

// A kernel that cannot do it is found out without a packet that anybody sees.
func TestSent_OldKernel(t *testing.T) {
	s, c := stampedServer(t, "0.0.0.0:0", noSent)
	b := NewBatch()
	take(t, s, c, b, 1)
	b.AnswerStamped(0, b.Datagram(0).Data, FirstStamp)
	if failed := s.Send(b); failed != 0 {
		t.Errorf("%d refused", failed)
	}
	if ids, _ := stamps(s, b); ids != nil {
		t.Errorf("stamps %x", ids)
	}
	if _, _, err := receive(t, c, 2*time.Second); err != nil {
		t.Error(err)
	}
	var words [sentControlWords]uint64
	if n := putSentRequest(copyInto(words[:], make([]byte, len(words)*8)), named, 7); n > len(words)*8 || n != 2*unix.CmsgSpace(4) {
		t.Errorf("%d bytes of control messages", n)
	}
}
