package handover

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// The words of a hand-over, each a line. The successor connects and says nothing; then
//
//	predecessor → successor   greeting and the names of the sockets, with a descriptor for each (SCM_RIGHTS, unix(7))
//	successor → predecessor   serving: it accepts connections from now on
//	predecessor → successor   yours: it has stopped accepting
//
// Whoever breaks off before serving leaves everything as it was.
const (
	greeting = "hand-over 1"
	serving  = "serving"
	yours    = "yours"
)

const (
	maxSockets  = 16                     // that are passed at one time: listeners of users in several families, and the operator's
	maxLine     = 2048                   // of one message, in bytes
	preparation = time.Minute            // for the successor between greeting and serving: it reads its files, which is quick
	oneAnswer   = 10 * time.Second       // for every other message, with a margin for a busy machine
	acceptGap   = 100 * time.Millisecond // after an accept error such as EMFILE
)

// Offer is what a running process has for its successor.
type Offer struct {
	Sockets func() []Socket // that are open now
	Serving func()          // called once, when a successor serves; when it returns nobody is accepted here any more
	Failed  func(error)     // hears why a successor got nothing, or did not come so far
}

// Serve owns ln and gives the sockets to whoever connects there and may have them, one after the other, until one of them
// serves (true) or ctx ends. It closes ln, whose own socket may be among those that were given.
func (o *Offer) Serve(ctx context.Context, ln net.Listener) (succeeded bool, err error) {
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer stop()
	defer ln.Close()
	for {
		c, err := ln.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				_ = c.Close()
			}
			return false, nil
		case errors.Is(err, net.ErrClosed):
			return false, fmt.Errorf("accept a successor: %w", err)
		case err != nil:
			select {
			case <-ctx.Done():
			case <-time.After(acceptGap):
			}
			continue
		}
		err = o.give(ctx, c.(*net.UnixConn))
		if err == nil {
			return true, nil
		}
		if ctx.Err() == nil {
			o.Failed(err)
		}
	}
}

// give is one hand-over, done with the word yours.
func (o *Offer) give(ctx context.Context, c *net.UnixConn) error {
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	_ = c.SetDeadline(time.Now().Add(preparation))
	uid, pid, err := peer(c)
	if err != nil {
		return fmt.Errorf("look who the successor is: %w", err)
	}
	if uid != os.Geteuid() && uid != 0 {
		return fmt.Errorf("process %d of user %d may not take over from user %d", pid, uid, os.Geteuid())
	}
	if err := send(c, o.Sockets()); err != nil {
		return fmt.Errorf("give the sockets to process %d: %w", pid, err)
	}
	if word, err := readLine(c); err != nil || word != serving {
		return fmt.Errorf("process %d took the sockets and did not get ready: %w", pid, orUnexpected(err, word))
	}
	stop() // what ends with the service of this process does not end this message
	o.Serving()
	_ = c.SetDeadline(time.Now().Add(oneAnswer))
	_, _ = c.Write([]byte(yours + "\n")) // it serves, whether it hears this or not
	return nil
}

// send writes the greeting.
func send(c *net.UnixConn, list []Socket) error {
	line := greeting
	var fds []int
	defer func() {
		for _, fd := range fds {
			_ = unix.Close(fd)
		}
	}()
	for i := range list[:min(len(list), maxSockets)] {
		fd, err := descriptor(list[i].Listener)
		if err != nil {
			return fmt.Errorf("descriptor of %s: %w", list[i].Name, err)
		}
		fds = append(fds, fd)
		line += " " + list[i].Name
	}
	_, _, err := c.WriteMsgUnix([]byte(line+"\n"), unix.UnixRights(fds...), nil)
	return err
}

// readLine reads the one line that the other side has to say now.
func readLine(c *net.UnixConn) (string, error) {
	var buf [64]byte
	for n := 0; n < len(buf); {
		more, err := c.Read(buf[n:])
		n += more
		if line, found := strings.CutSuffix(string(buf[:n]), "\n"); found {
			return line, nil
		}
		if err != nil {
			return "", err
		}
	}
	return "", errUnexpected
}

var errUnexpected = errors.New("unexpected word")

func orUnexpected(err error, word string) error {
	if err != nil {
		return err
	}
	return fmt.Errorf("%w %q", errUnexpected, word)
}
