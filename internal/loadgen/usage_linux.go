package loadgen

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// Usage is what some processes have used so far, all their threads together.
type Usage struct {
	CPU         time.Duration // on a processor, user and system, of the threads that are there (schedstat)
	Voluntary   int64         // how often a thread went to sleep by itself
	Involuntary int64         // how often one had to make room
	ResidentKiB int64         // memory, files included
	AnonKiB     int64         // memory of its own
}

// ReadUsage asks the kernel (proc(5)). A process or thread that is gone counts as nothing.
func ReadUsage(pids []int) (u Usage) {
	for _, pid := range pids {
		tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
		for _, task := range tasks {
			if b, err := os.ReadFile(filepath.Join(task, "schedstat")); err == nil {
				u.CPU += time.Duration(number(b))
			}
			if b, err := os.ReadFile(filepath.Join(task, "status")); err == nil {
				u.Voluntary += value(b, "voluntary_ctxt_switches:")
				u.Involuntary += value(b, "nonvoluntary_ctxt_switches:")
			}
		}
		if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid)); err == nil {
			u.ResidentKiB += value(b, "VmRSS:")
			u.AnonKiB += value(b, "RssAnon:")
		}
	}
	return u
}

// value is the number behind a key that begins a line.
func value(text []byte, key string) int64 {
	for line := range bytes.Lines(text) {
		if rest, ok := bytes.CutPrefix(line, []byte(key)); ok {
			return number(rest)
		}
	}
	return 0
}

// number is the first word as a number, 0 if it is none.
func number(b []byte) int64 {
	words := bytes.Fields(b)
	if len(words) == 0 {
		return 0
	}
	n, _ := strconv.ParseInt(string(words[0]), 10, 64)
	return n
}
