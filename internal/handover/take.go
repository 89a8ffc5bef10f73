package handover

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Running is the process whose sockets were taken and which still serves them.
type Running struct {
	Sockets []Socket
	PID     int

	c *net.UnixConn
}

// Take asks the process that offers its sockets at path for them; nil if there is none. It goes on serving until Serving is
// called, and for good if this process ends before.
func Take(ctx context.Context, path string) (*Running, error) {
	d := net.Dialer{Control: askSender}
	nc, err := d.DialContext(ctx, "unix", path)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("reach the running process: %w", err)
	}
	r := &Running{c: nc.(*net.UnixConn)}
	stop := context.AfterFunc(ctx, func() { _ = r.c.Close() })
	defer stop()
	_ = r.c.SetDeadline(time.Now().Add(oneAnswer))
	if err := r.take(); err != nil {
		r.Close()
		return nil, fmt.Errorf("take the sockets of the running process: %w", err)
	}
	return r, nil
}

// take looks who the other side is and reads its greeting.
func (r *Running) take() error {
	uid, pid, err := peer(r.c)
	if err != nil {
		return fmt.Errorf("look who it is: %w", err)
	}
	r.PID = pid
	// Root trusts whoever it gave the path to: it is about to become that user itself.
	if own := os.Geteuid(); uid != 0 && own != 0 && uid != own {
		return fmt.Errorf("process %d runs as user %d, not as %d", pid, uid, own)
	}
	line, files, from, err := receive(r.c)
	if err != nil {
		return err
	}
	if from != 0 {
		r.PID = from
	}
	defer func() {
		for _, f := range files {
			_ = f.Close()
		}
	}()
	names, ok := strings.CutPrefix(line, greeting)
	list := strings.Fields(names)
	if !ok || len(list) != len(files) {
		return fmt.Errorf("%w %q with %d descriptors; is it another version?", errUnexpected, line, len(files))
	}
	for i, f := range files {
		ln, err := adopt(f)
		if err != nil {
			return fmt.Errorf("descriptor %q: %w", list[i], err)
		}
		r.Sockets = append(r.Sockets, Socket{ln, list[i], Predecessor})
	}
	return nil
}

// receive reads one line and the descriptors that come with it, for the caller to close, also after an error; pid is who sent
// it, 0 if that cannot be told.
func receive(c *net.UnixConn) (line string, files []*os.File, pid int, err error) {
	buf, oob := make([]byte, maxLine), make([]byte, unix.CmsgSpace(4*maxSockets)+senderSpace)
	n := 0
	for {
		more, rights, flags, _, err := c.ReadMsgUnix(buf[n:], oob)
		got, from, errRights := descriptors(oob[:rights])
		files, pid = append(files, got...), max(pid, from)
		n += more
		switch {
		case err != nil && more == 0:
			return "", files, 0, fmt.Errorf("read the greeting: %w", err)
		case errRights != nil:
			return "", files, 0, fmt.Errorf("read the descriptors: %w", errRights)
		case flags&unix.MSG_CTRUNC != 0:
			return "", files, 0, fmt.Errorf("read the descriptors: %w", errUnexpected)
		}
		if line, found := strings.CutSuffix(string(buf[:n]), "\n"); found {
			return line, files, pid, nil
		}
		if n == len(buf) || more == 0 {
			return "", files, 0, errUnexpected
		}
	}
}

// descriptors are those in a control message, and the process that sent them.
func descriptors(oob []byte) (files []*os.File, pid int, err error) {
	messages, err := unix.ParseSocketControlMessage(oob)
	for i := range messages {
		if from := sender(&messages[i]); from != 0 {
			pid = from
			continue
		}
		fds, errRights := unix.ParseUnixRights(&messages[i])
		err = errors.Join(err, errRights)
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "handed over"))
		}
	}
	return files, pid, err
}

// Serving tells the running process that its sockets are served here, and returns when it accepts nobody any more. Its end
// before that is no error: nobody accepts there either.
func (r *Running) Serving(ctx context.Context) error {
	defer r.c.Close()
	stop := context.AfterFunc(ctx, func() { _ = r.c.Close() })
	defer stop()
	_ = r.c.SetDeadline(time.Now().Add(oneAnswer))
	if _, err := r.c.Write([]byte(serving + "\n")); err != nil {
		return nil //nolint:nilerr // see above
	}
	word, err := readLine(r.c)
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return fmt.Errorf("process %d does not say that it has stopped accepting: %w", r.PID, err)
	}
	if err == nil && word != yours {
		return orUnexpected(nil, word)
	}
	return nil
}

// Close breaks off: the running process goes on as if nothing had happened.
func (r *Running) Close() {
	CloseAll(r.Sockets)
	_ = r.c.Close()
}
