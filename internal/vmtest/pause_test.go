package vmtest

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"testing"
	"time"
)

// grant does to the machine what its guest asked for on the console, for the given time, and tells the guest when
// that is over.
func (m *machine) grant(t *testing.T, what, length string) {
	t.Helper()
	d, err := time.ParseDuration(length)
	if err != nil {
		t.Errorf("%s: asks for %q: %v", m.name, length, err)
		return
	}
	switch what {
	case "pause":
		err = m.pause(d)
	case "restore":
		err = m.restore(t, d, false)
	case "restore-unplugged":
		err = m.restore(t, d, true)
	default:
		err = errors.New("nobody knows how")
	}
	if err != nil {
		t.Errorf("%s: %s: %v", m.name, what, err)
	}
}

// tellResumed is queued for the guest before it goes on.
func (m *machine) tellResumed() error { return m.port.say("resumed") }

// pause stops the machine, whose clocks stand still meanwhile.
func (m *machine) pause(d time.Duration) error {
	q, err := m.control()
	if err != nil {
		return err
	}
	defer q.close()
	if err := q.do("stop", nil); err != nil {
		return err
	}
	time.Sleep(d) // the pause itself
	return errors.Join(m.tellResumed(), q.do("cont", nil))
}

// restore saves the machine's state in a file, ends the machine, and later goes on from that file in a new process. With
// unplugged it comes back without a network, which returns three seconds later.
func (m *machine) restore(t *testing.T, d time.Duration, unplugged bool) error {
	t.Helper()
	file := filepath.Join(m.dir, m.here+"-state")
	if err := m.save(file, unplugged); err != nil {
		return err
	}
	m.Stop()
	m.before = m.console()
	m.port.close()
	time.Sleep(d) // while the machine is a file
	m.start(t, "-S", "-incoming", "exec:cat "+file)
	q, err := m.control()
	if err != nil {
		return err
	}
	defer q.close()
	if err := q.await("query-migrate", "completed"); err != nil {
		return fmt.Errorf("load state: %w", err)
	}
	if !unplugged {
		return errors.Join(m.tellResumed(), q.do("cont", nil))
	}
	if err := q.do("cont", nil); err != nil {
		return err
	}
	time.Sleep(3 * time.Second) // without a network
	return errors.Join(m.tellResumed(), q.link(true))
}

// save writes the stopped machine's state, that of its cable included.
func (m *machine) save(file string, unplugged bool) error {
	q, err := m.control()
	if err != nil {
		return err
	}
	defer q.close()
	if unplugged {
		if err := q.link(false); err != nil {
			return err
		}
		time.Sleep(time.Second) // for the guest to notice
	}
	if err := errors.Join(
		q.do("stop", nil),
		q.do("migrate-set-parameters", map[string]any{"max-bandwidth": 1 << 33}),
		q.do("migrate", map[string]any{"uri": "exec:cat > " + file}),
	); err != nil {
		return err
	}
	return q.await("query-migrate", "completed")
}

// monitor is a connection to the emulator's monitor (QMP).
type monitor struct {
	conn net.Conn
	in   *bufio.Scanner
}

// control connects to the monitor.
func (m *machine) control() (*monitor, error) {
	conn, err := dial(filepath.Join(m.dir, m.here+"-qmp"))
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(2 * time.Minute))
	q := &monitor{conn: conn, in: bufio.NewScanner(conn)}
	q.in.Scan() // the greeting
	if err := q.do("qmp_capabilities", nil); err != nil {
		q.close()
		return nil, err
	}
	return q, nil
}

func (q *monitor) close() { _ = q.conn.Close() }

// link plugs the machine's cable in, or out.
func (q *monitor) link(up bool) error { return q.do("set_link", map[string]any{"name": "n", "up": up}) }

// do gives an order and waits until it is carried out.
func (q *monitor) do(order string, args map[string]any) error {
	_, err := q.ask(order, args)
	return err
}

// await asks until the answer's status is the wanted one.
func (q *monitor) await(question, status string) error {
	for range 600 {
		answer, err := q.ask(question, nil)
		switch is, _ := answer["status"].(string); {
		case err != nil:
			return err
		case is == status:
			return nil
		case is == "failed":
			return fmt.Errorf("%s: %v", question, answer)
		}
		time.Sleep(50 * time.Millisecond) // polls an outside process
	}
	return fmt.Errorf("%s: never %s", question, status)
}

// ask gives an order and returns what comes back; events in between are nobody's concern.
func (q *monitor) ask(order string, args map[string]any) (map[string]any, error) {
	msg := map[string]any{"execute": order}
	if args != nil {
		msg["arguments"] = args
	}
	b, err := json.Marshal(msg)
	if err != nil {
		return nil, err
	}
	if _, err := q.conn.Write(append(b, '\n')); err != nil {
		return nil, err
	}
	for q.in.Scan() {
		var answer struct {
			Return map[string]any
			Error  *struct{ Desc string }
		}
		switch err := json.Unmarshal(q.in.Bytes(), &answer); {
		case err != nil:
			return nil, fmt.Errorf("%s: %w", order, err)
		case answer.Error != nil:
			return nil, fmt.Errorf("%s: %s", order, answer.Error.Desc)
		case answer.Return != nil:
			return answer.Return, nil
		}
	}
	return nil, fmt.Errorf("%s: no answer: %w", order, q.in.Err())
}

// dial connects to a socket that the emulator is about to make.
func dial(path string) (net.Conn, error) {
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) { // polls an outside process
		conn, err := net.Dial("unix", path)
		if err == nil || time.Now().After(end) {
			return conn, err
		}
	}
}
