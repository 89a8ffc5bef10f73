package vmtest

import (
	"bufio"
	"cmp"
	"fmt"
	"net"
	"strings"
	"time"
)

// port is the host's end of a virtio-serial port: one line to the guest's agent, one back (tools/vminit).
type port struct {
	path string
	conn net.Conn
	in   *bufio.Reader
}

func newPort(path string) *port { return &port{path: path} }

func (p *port) close() {
	if p.conn != nil {
		_ = p.conn.Close()
		p.conn = nil
	}
}

// say sends one line.
func (p *port) say(line string) error {
	if p.conn == nil {
		conn, err := dial(p.path)
		if err != nil {
			return fmt.Errorf("agent: %w", err)
		}
		p.conn, p.in = conn, bufio.NewReader(conn)
	}
	_ = p.conn.SetDeadline(time.Now().Add(time.Minute))
	if _, err := p.conn.Write([]byte(line + "\n")); err != nil {
		return fmt.Errorf("agent: %w", err)
	}
	return nil
}

// ask sends one line and returns the answer.
func (p *port) ask(line string) (string, error) {
	if err := p.say(line); err != nil {
		return "", err
	}
	answer, err := p.in.ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("agent: answer to %q: %w", line, err)
	}
	return strings.TrimSpace(answer), nil
}

// reading is a guest's clock seen from the host.
type reading struct {
	host  time.Time     // monotonic, the middle of the round trip
	clock time.Duration // the guest's CLOCK_REALTIME since 1970
	round time.Duration // the error is at most half of it
}

// roundTrips is how often a clock is asked; the shortest round trip counts.
const roundTrips = 50

// read asks a guest for its time.
func (p *port) read() (best reading, err error) {
	for range roundTrips {
		begin := time.Now()
		answer, err := p.ask("time")
		if err != nil {
			return best, err
		}
		r := reading{round: time.Since(begin)}
		r.host = begin.Add(r.round / 2)
		if _, err := fmt.Sscan(answer, &r.clock); err != nil {
			return best, fmt.Errorf("agent: time %q: %w", answer, err)
		}
		if best.round == 0 || cmp.Compare(r.round, best.round) < 0 {
			best = r
		}
	}
	return best, nil
}
