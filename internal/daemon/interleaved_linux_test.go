package daemon

import (
	"context"
	"testing"
	"time"

	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/server"
	"ntp-daemon/internal/source"
	"ntp-daemon/internal/udp"
)

// stampSocket tells when the worker has heard of a stamp.
type stampSocket struct {
	socket
	heard chan<- ntp.Timestamp
}

func (s stampSocket) Sent(b *udp.Batch, each func(uint32, ntp.Timestamp)) {
	s.socket.Sent(b, func(id uint32, at ntp.Timestamp) {
		each(id, at)
		s.heard <- at
	})
}

// TestS26_WorkerInterleaves asks a worker over loopback, each time from a new port: from the third answer on the kernel's transmit
// stamps come back, and they lie after what a basic answer says.
func TestS26_WorkerInterleaves(t *testing.T) {
	stamped := make(chan ntp.Timestamp, 10)
	s := serve(t, server.Config{Interleaves: server.NewInterleaves([2]uint64{1, 2})}, func(w *worker) {
		w.socket = stampSocket{w.socket, stamped}
	})
	src := source.New(source.Config{ID: 1, Server: s.address, Interleaved: source.InterleaveAlways, PollMin: 4, PollMax: 10}, time.Now())
	rnd := stream(3)
	var interleaved int
	for i := range 6 {
		conn, err := udp.Dial(s.address, hostClock, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		req, err := src.Poll(time.Now(), ntp.Stamp{Time: hostClock()}, 0, rnd)
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.Send(req.Packet); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		buf := make([]byte, 100)
		n, from, rx, err := conn.Receive(ctx, buf)
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		o := src.Receive(time.Now(), buf[:n], from, rx)
		if o.Verdict != source.Accepted {
			t.Fatal(o.Verdict)
		}
		m := &o.Measurement
		if m.Interleaved {
			interleaved++
			if m.T3.Time.Sub(m.T2.Time) <= 0 || m.T4.Time.Sub(m.T3.Time) < -time.Microsecond {
				t.Errorf("answer %d: T2 %x T3 %x T4 %x", i, m.T2.Time, m.T3.Time, m.T4.Time)
			}
		}
		s.await(t, "the count", func(sum server.Totals) bool {
			return sum.Accepted == uint64(i+1) && sum.Interleaved == uint64(interleaved)
		})
		if i == 0 {
			continue // nobody asked for the stamp of the first answer
		}
		select { // the worker reads it after it has answered
		case <-stamped:
		case <-time.After(5 * time.Second):
			t.Fatalf("no transmit stamp of answer %d", i+1)
		}
	}
	if interleaved != 4 {
		t.Errorf("%d of 6 answers were interleaved", interleaved)
	}
}
