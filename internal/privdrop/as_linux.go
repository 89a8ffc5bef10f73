package privdrop

import (
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// As runs look on a thread that has the file access of u and no other, while the rest of the process keeps its own; root alone
// can do that. It is the rehearsal for Keep: an error before look means that the change would fail, too. look must open
// files in its own goroutine only.
//
// The kernel gives every thread credentials of its own, and a change of the filesystem user from root to another also takes
// the capabilities that override permissions (capabilities(7)).
func As(u *User, look func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		restored, err := as(u, look)
		if restored {
			runtime.UnlockOSThread()
		} // else the thread ends with this goroutine, and what is wrong with it
		done <- err
	}()
	return <-done
}

func as(u *User, look func() error) (restored bool, err error) {
	groups, err := unix.Getgroups()
	if err != nil {
		return true, fmt.Errorf("read groups: %w", err)
	}
	// A change of user makes the process as closed to debuggers as a program with setuid; one thread's look is none.
	dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	if err != nil {
		return true, fmt.Errorf("read whether cores are dumped: %w", err)
	}
	if err := unix.Setgroups(u.Groups); err != nil {
		return true, fmt.Errorf("take the groups of user %s: %w", u.Name, err)
	}
	gid, _ := unix.SetfsgidRetGid(u.GID)
	uid, _ := unix.SetfsuidRetUid(u.UID)
	nowGID, _ := unix.SetfsgidRetGid(-1) // -1 changes nothing and tells
	nowUID, _ := unix.SetfsuidRetUid(-1)
	if nowUID == u.UID && nowGID == u.GID {
		err = look()
	} else {
		err = fmt.Errorf("take the files of user %s: %w", u.Name, unix.EPERM)
	}
	_, _ = unix.SetfsuidRetUid(uid)
	_, _ = unix.SetfsgidRetGid(gid)
	nowUID, _ = unix.SetfsuidRetUid(-1)
	nowGID, _ = unix.SetfsgidRetGid(-1)
	back := errors.Join(unix.Setgroups(groups), unix.Prctl(unix.PR_SET_DUMPABLE, uintptr(dumpable&1), 0, 0, 0))
	return back == nil && nowUID == uid && nowGID == gid, err
}
