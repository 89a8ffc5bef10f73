package privdrop

import (
	"errors"
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxCapability ends the walk over the bounding set; the kernel's own end is found by asking (CAP_LAST_CAP is
// 40 in Linux 6).
const maxCapability = 63

// Keep gives up every capability but those named, on all threads and for good: the bounding, inheritable and
// ambient sets are emptied likewise and no_new_privs is set, so that no program started later regains any.
// Named capabilities that the process lacks stay lacking, without error. Call it once, when privileged sockets
// are open; ErrCgo, with nothing changed, in a binary with cgo. A process of user 0 keeps the access of that user to its own
// files, and loses that to the files of others.
//
// With u the process also becomes that user, with its groups only, which root alone can; nil stays the same. From then on
// it leaves no core and that user's other processes cannot trace it.
func Keep(u *User, keep ...Capability) error {
	have, err := get()
	if err != nil {
		return err
	}
	var want [2]unix.CapUserData
	for _, c := range keep {
		i, bit := slot(c)
		want[i].Permitted |= bit & have[i].Permitted
		want[i].Effective = want[i].Permitted
	}
	if err := prctl("set no_new_privs", unix.PR_SET_NO_NEW_PRIVS, 1, 0); err != nil {
		return err
	}
	if err := dropBounding(have, want); err != nil {
		return err
	}
	if err := prctl("clear ambient capabilities", unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0); err != nil {
		return err
	}
	if u != nil {
		if err := become(u); err != nil {
			return err
		}
	}
	hdr := header()
	_, _, errno := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&hdr)), uintptr(unsafe.Pointer(&want[0])), 0)
	return explain("drop capabilities", errno)
}

// become changes user and groups on all threads. The permitted capabilities stay, and none is in effect.
func become(u *User) error {
	if err := prctl("keep capabilities over the change of user", unix.PR_SET_KEEPCAPS, 1, 0); err != nil {
		return err
	}
	if err := syscall.Setgroups(u.Groups); err != nil {
		return fmt.Errorf("take the groups of user %s: %w", u.Name, err)
	}
	if err := syscall.Setgid(u.GID); err != nil {
		return fmt.Errorf("take the group of user %s: %w", u.Name, err)
	}
	if err := syscall.Setuid(u.UID); err != nil {
		return fmt.Errorf("become user %s: %w", u.Name, err)
	}
	return prctl("keep no more capabilities", unix.PR_SET_KEEPCAPS, 0, 0)
}

// dropBounding removes from the bounding set what is not kept. Without CAP_SETPCAP that is not allowed, and
// with no_new_privs it is not needed.
func dropBounding(have, want [2]unix.CapUserData) error {
	if i, bit := slot(unix.CAP_SETPCAP); have[i].Effective&bit == 0 {
		return nil
	}
	for c := Capability(0); c <= maxCapability; c++ {
		i, bit := slot(c)
		if want[i].Permitted&bit != 0 {
			continue
		}
		inSet, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(c), 0, 0, 0)
		if err != nil {
			return nil // the kernel knows no more
		}
		if inSet == 0 {
			continue
		}
		if err := prctl("shrink bounding set", unix.PR_CAPBSET_DROP, uintptr(c), 0); err != nil {
			return err
		}
	}
	return nil
}

// get reads the capabilities of the calling thread.
func get() ([2]unix.CapUserData, error) {
	var sets [2]unix.CapUserData
	hdr := header()
	if err := unix.Capget(&hdr, &sets[0]); err != nil {
		return sets, fmt.Errorf("read capabilities: %w", err)
	}
	return sets, nil
}

// header asks for the version with 64 capabilities, which fills two structs.
func header() unix.CapUserHeader { return unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3} }

// slot is where a capability lives in the two structs.
func slot(c Capability) (i int, bit uint32) { return int(c) / 32, 1 << (uint(c) % 32) }

// prctl calls prctl(2) on all threads.
func prctl(step string, option int, arg2, arg3 uintptr) error {
	_, _, errno := syscall.AllThreadsSyscall6(unix.SYS_PRCTL, uintptr(option), arg2, arg3, 0, 0, 0)
	return explain(step, errno)
}

// explain adds the step, and says what ENOTSUP means here.
func explain(step string, errno syscall.Errno) error {
	switch {
	case errno == 0:
		return nil
	case errors.Is(errno, unix.ENOTSUP):
		return ErrCgo
	}
	return fmt.Errorf("%s: %w", step, errno)
}
