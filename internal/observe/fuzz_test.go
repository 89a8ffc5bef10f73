package observe

import (
	"bytes"
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// pipes is a listener whose connections are made in memory.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

// dial connects a client.
func (p *pipes) dial() net.Conn {
	near, far := net.Pipe()
	p.conns <- far
	return near
}

// FuzzClients lets clients of the observation socket come, read a little, and go, in any order and number. Whoever
// reads to the end gets one whole snapshot or, where more came than are served at once, nothing; and the server stops.
func FuzzClients(f *testing.F) {
	for _, script := range []string{
		"", "r", "cr", "cccccccccccccr", "cpr", "cPcPcPr", "cx", "ccxxr", "ccccccccrrrrrrrr", "cpxcpxcpxr", "ccccccccccxxxxxxxxxxr",
	} {
		f.Add([]byte(script))
	}
	var whole bytes.Buffer
	if err := Write(&whole, sample()); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		ln := newPipes()
		ctx, cancel := context.WithCancel(context.Background())
		result := make(chan error, 1)
		go func() { result <- Serve(ctx, ln, sample, zerolog.Nop()) }()
		defer func() {
			cancel()
			if err := <-result; err != nil {
				t.Error(err)
			}
		}()
		start, came := time.Now(), 0
		var open []net.Conn
		defer func() {
			for _, c := range open {
				_ = c.Close()
			}
		}()
		for _, b := range script[:min(len(script), 64)] {
			if b == 'c' || len(open) == 0 {
				open = append(open, ln.dial())
				came++
				continue
			}
			i := int(b>>4) % len(open)
			switch b & 3 {
			case 0: // goes away without a word
				_ = open[i].Close()
				open = append(open[:i], open[i+1:]...)
			case 1: // reads a part
				_, _ = io.ReadFull(open[i], make([]byte, int(b)))
				_ = open[i].Close()
				open = append(open[:i], open[i+1:]...)
			default: // reads to the end
				got, err := io.ReadAll(open[i])
				if time.Since(start) > writeTimeout/2 {
					return // a machine this busy makes the server drop clients, as it should
				}
				if err != nil || len(got) != 0 && !bytes.Equal(got, whole.Bytes()) || len(got) == 0 && came <= maxClients {
					t.Fatalf("client %d of %d got %d bytes, %v", i, len(open), len(got), err)
				}
				_ = open[i].Close()
				open = append(open[:i], open[i+1:]...)
			}
		}
	})
}
