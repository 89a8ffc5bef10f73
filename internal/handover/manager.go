package handover

import (
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	sd "github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"
)

// keptPrefix marks the names of descriptors in the service manager's store, which has those of socket units beside them.
const keptPrefix = "kept-"

// FromManager takes the sockets that the service manager passed to this process (sd_listen_fds(3)), and takes the notice of them
// out of the environment. The error names a descriptor that is no listening socket.
func FromManager() ([]Socket, error) {
	var list []Socket
	for _, f := range activation.Files(true) {
		name, origin := f.Name(), Unit
		if kept, ok := strings.CutPrefix(name, keptPrefix); ok {
			name, origin = kept, Store
		}
		ln, err := adopt(f)
		if err != nil {
			CloseAll(list)
			return nil, fmt.Errorf("descriptor %q of the service manager: %w; a socket unit needs ListenStream= and Accept=no", f.Name(), err)
		}
		list = append(list, Socket{ln, name, origin})
	}
	return list, nil
}

// CloseAll closes sockets.
func CloseAll(list []Socket) {
	for i := range list {
		_ = list[i].Close()
	}
}

// tellTime is how long one message to the service manager may take. The queue of its socket is full when it hangs, or is a
// stand-in that nobody reads; whoever waited for that would neither stop nor reload.
const tellTime = time.Second

// Manager is the service manager that started this process, as sd_notify(3) has it. Where there is none, nobody
// listens, or nobody reads for a second, what it is told is lost, which is no error. The zero value is none.
type Manager struct{ socket string }

// TheManager is the one of this process.
func TheManager() Manager { return Manager{os.Getenv("NOTIFY_SOCKET")} }

// Tell says what there is no method for.
func (m Manager) Tell(state string) { _ = m.tell(state) }

// Ready says that users are served, at first and after a reload.
func (m Manager) Ready() { _ = m.tell(sd.SdNotifyReady) }

// Reloading says that a reload begins; Ready ends it. Time and announcement must be one message.
func (m Manager) Reloading() { _ = m.tell(sd.SdNotifyReloading + "\n" + sd.SdNotifyMonotonicUsec()) }

// Stopping says that the end begins.
func (m Manager) Stopping() { _ = m.tell(sd.SdNotifyStopping) }

// Keep leaves a descriptor of the socket in the manager's store, for the process that is started next. A manager without
// FileDescriptorStoreMax= for us ignores it; one that has the socket already keeps it once.
func (m Manager) Keep(s *Socket) error {
	if m.socket == "" {
		return nil
	}
	fd, err := descriptor(s.Listener)
	if err != nil {
		return fmt.Errorf("descriptor for the service manager's store: %w", err)
	}
	defer unix.Close(fd) //nolint:errcheck // a copy
	// FDPOLL=0: a listening socket says nothing to the manager that would mean its end.
	return m.tell("FDSTORE=1\nFDPOLL=0\nFDNAME="+keptPrefix+s.Name, fd)
}

// Forget takes what was left under a name out of the store.
func (m Manager) Forget(name string) {
	_ = m.tell("FDSTOREREMOVE=1\nFDNAME=" + keptPrefix + name)
}

// tell sends one message.
func (m Manager) tell(state string, descriptors ...int) error {
	if m.socket == "" {
		return nil
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: m.socket, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("reach the service manager: %w", err)
	}
	defer c.Close()
	_ = c.SetWriteDeadline(time.Now().Add(tellTime))
	var rights []byte
	if len(descriptors) > 0 {
		rights = unix.UnixRights(descriptors...)
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return fmt.Errorf("tell the service manager: %w", err)
	}
	var errSend error
	if err := raw.Write(func(fd uintptr) bool { // package net refuses messages with descriptors on a connected datagram socket
		errSend = unix.Sendmsg(int(fd), []byte(state), rights, nil, 0)
		return errSend != unix.EAGAIN
	}); err != nil {
		return fmt.Errorf("tell the service manager: %w", err)
	}
	if errSend != nil {
		return fmt.Errorf("tell the service manager: %w", errSend)
	}
	return nil
}
