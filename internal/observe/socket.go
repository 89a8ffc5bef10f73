package observe

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/rs/zerolog"
)

// Limits of the socket (docs/rules/control.md#socket).
const (
	maxClients    = 8                      // simultaneous readers; more are closed at once
	writeTimeout  = 500 * time.Millisecond // a reader that does not read is dropped
	readTimeout   = 2 * time.Second        // for our own tools
	maxSnapshot   = 4 << 20                // bytes that a reader accepts; a pool of 1000 time sources has half as many
	lengthPrefix  = 8
	acceptBackoff = 100 * time.Millisecond // after an accept error such as EMFILE
	bugGap        = time.Minute            // between two lines about panics, which a reader may be able to repeat
)

// ErrOccupied says that the socket path is something that we did not make and must not remove.
var ErrOccupied = errors.New("exists and is not a socket")

// ErrInUse says that another process serves the socket.
var ErrInUse = errors.New("another process serves this socket")

// Listen makes the socket with the given permissions. It is created under a umask that never lets it be wider
// than that, so no chmod by path is needed (row X04). A stale socket is replaced; a file, a link or
// a socket that somebody serves is refused (X03). The folder is made if only that is missing: /run is empty after each
// boot, and a daemon that was started by hand has no unit that makes its folder.
//
// key is the one of the configuration that holds the path, which errors name.
func Listen(key, path string, mode fs.FileMode) (net.Listener, error) {
	fault := func(err error, remedy string) error {
		return fmt.Errorf("%s: socket %s: %w; %s", key, path, err, fmt.Sprintf(remedy, key))
	}
	if err := os.Mkdir(filepath.Dir(path), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fault(err, "create the folder or change %s")
	}
	switch err := removeStale(path); {
	case errors.Is(err, ErrOccupied):
		return nil, fault(err, "change %s, or remove it")
	case errors.Is(err, ErrInUse):
		return nil, fault(err, "change %s, or stop that process")
	case err != nil:
		return nil, fault(err, "let this user write the folder, or change %s")
	}
	old := syscall.Umask(int(^mode & 0o777))
	ln, err := net.Listen("unix", path)
	syscall.Umask(old)
	if err != nil {
		return nil, fault(err, "let this user write the folder, or change %s")
	}
	return ln, nil
}

func removeStale(path string) error {
	st, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if st.Mode()&fs.ModeSocket == 0 {
		return ErrOccupied
	}
	served, err := served(path)
	if err != nil {
		return err
	}
	if served {
		return ErrInUse
	}
	return os.Remove(path)
}

// served reports whether a process has the socket, without that process noticing: an observer that is connected to and
// left at once may end over it (ntpd-rs's does). A datagram socket cannot be connected to a stream socket, and the
// kernel says so only if that socket lives (unix(7): EPROTOTYPE); that of a process that is gone refuses (ECONNREFUSED).
func served(path string) (bool, error) {
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_DGRAM, 0)
	if err != nil {
		return false, fmt.Errorf("look who serves it: %w", err)
	}
	defer syscall.Close(fd)
	switch err := syscall.Connect(fd, &syscall.SockaddrUnix{Name: path}); {
	case err == nil, errors.Is(err, syscall.EPROTOTYPE):
		return true, nil
	case errors.Is(err, syscall.ECONNREFUSED):
		return false, nil
	default:
		return false, fmt.Errorf("look who serves it: %w", err)
	}
}

// answer writes one snapshot. A panic in making it is a bug that costs this reader and nobody else.
func answer(c net.Conn, snapshot func() *Snapshot, log zerolog.Logger) {
	defer c.Close()
	defer func() {
		if p := recover(); p != nil {
			log.Error().Str("panic", fmt.Sprint(p)).Bytes("stack", debug.Stack()).Msg("bug: a reader of the observation socket got nothing")
		}
	}()
	_ = c.SetDeadline(time.Now().Add(writeTimeout))
	_ = Write(c, snapshot())
}

// Serve owns the listener and hands every client one snapshot; it never reads. It stops when ctx ends and then
// waits for its clients, which is writeTimeout at most. log hears of bugs, at most once a minute.
func Serve(ctx context.Context, ln net.Listener, snapshot func() *Snapshot, log zerolog.Logger) error {
	log = log.Sample(&zerolog.BurstSampler{Burst: 1, Period: bugGap})
	stop := context.AfterFunc(ctx, func() { ln.Close() })
	defer stop()
	permits := make(chan struct{}, maxClients)
	defer func() {
		for range maxClients {
			permits <- struct{}{}
		}
	}()
	for {
		c, err := ln.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			if errors.Is(err, net.ErrClosed) {
				return fmt.Errorf("accept on observation socket: %w", err)
			}
			select {
			case <-time.After(acceptBackoff):
			case <-ctx.Done():
			}
			continue
		}
		select {
		case permits <- struct{}{}:
		default:
			c.Close()
			continue
		}
		go func() {
			defer func() { <-permits }()
			answer(c, snapshot, log)
		}()
	}
}

// Write frames one snapshot onto w in a single call.
func Write(w io.Writer, s *Snapshot) error {
	body, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encode snapshot: %w", err)
	}
	msg := binary.BigEndian.AppendUint64(make([]byte, 0, lengthPrefix+len(body)), uint64(len(body)))
	if _, err := w.Write(append(msg, body...)); err != nil {
		return fmt.Errorf("write snapshot: %w", err)
	}
	return nil
}

// Read fetches one snapshot from the socket at path; unknown members are tolerated, more than maxSnapshot is refused.
func Read(ctx context.Context, path string) (*Snapshot, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("open observation socket %s: %w", path, err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(readTimeout))
	s, err := Decode(c)
	if err != nil {
		return nil, fmt.Errorf("observation socket %s: %w", path, err)
	}
	return s, nil
}

// Decode reads one framed snapshot.
func Decode(r io.Reader) (*Snapshot, error) {
	var prefix [lengthPrefix]byte
	if _, err := io.ReadFull(r, prefix[:]); err != nil {
		return nil, fmt.Errorf("read snapshot length: %w", err)
	}
	n := binary.BigEndian.Uint64(prefix[:])
	if n > maxSnapshot {
		return nil, fmt.Errorf("snapshot of %d bytes exceeds %d", n, maxSnapshot)
	}
	body, err := io.ReadAll(io.LimitReader(r, int64(n))) // which grows with what comes, not with what is claimed
	if err == nil && uint64(len(body)) < n {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, fmt.Errorf("read snapshot: %w", err)
	}
	s := new(Snapshot)
	if err := json.Unmarshal(body, s); err != nil {
		return nil, fmt.Errorf("decode snapshot: %w", err)
	}
	return s, nil
}
