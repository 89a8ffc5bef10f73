package rlimit

import (
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// Check returns a *Short for the first limit that is too low for a program with that many threads, nil if there is
// none. What cannot be read counts as high enough.
func Check(threads int) error {
	if n := limit(unix.RLIMIT_NOFILE); n < leastFiles {
		return &Short{"RLIMIT_NOFILE", n, leastFiles, "raise it with LimitNOFILE= or ulimit -n"}
	}
	if n := limit(unix.RLIMIT_AS); n < leastSpace {
		return &Short{"RLIMIT_AS", n, leastSpace, "raise it with LimitAS= or ulimit -v, and limit memory with MemoryMax= instead"}
	}
	if n := limit(unix.RLIMIT_NPROC); n < checkBelow && !exempt() {
		left := n - min(n, others())
		if need := uint64(max(threads, 0)); left < need {
			return &Short{"RLIMIT_NPROC", left, need, "raise it with LimitNPROC= or ulimit -u"}
		}
	}
	return nil
}

func limit(resource int) uint64 {
	var l unix.Rlimit
	if unix.Prlimit(0, resource, nil, &l) != nil {
		return unix.RLIM_INFINITY
	}
	return l.Cur
}

// exempt reports whether the kernel does not hold this process to RLIMIT_NPROC.
func exempt() bool {
	if os.Getuid() == 0 {
		return true
	}
	h := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var d [2]unix.CapUserData
	if unix.Capget(&h, &d[0]) != nil {
		return false
	}
	return d[0].Effective&(1<<unix.CAP_SYS_RESOURCE|1<<unix.CAP_SYS_ADMIN) != 0
}

// others counts the threads of this user's other processes: they share the limit.
func others() (n uint64) {
	list, _ := os.ReadDir("/proc")
	for _, e := range list {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		info, err := e.Info()
		if err != nil {
			continue
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) == os.Getuid() {
			tasks, _ := os.ReadDir(filepath.Join("/proc", e.Name(), "task"))
			n += uint64(len(tasks))
		}
	}
	return n
}
