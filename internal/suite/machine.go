package suite

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"ntp-daemon/internal/version"
)

// Machine is the rows of a table of two columns: what a measurement ran on.
func Machine() string {
	var b strings.Builder
	line := func(what, value string) { fmt.Fprintf(&b, "| %s | %s |\n", what, value) }
	line("program", "ntp-daemon, nts-pool-ke "+version.Version+", "+runtime.Version()+" "+runtime.GOOS+"/"+runtime.GOARCH)
	cpus, model := 0, ""
	info, _ := os.ReadFile("/proc/cpuinfo")
	for _, l := range strings.Split(string(info), "\n") {
		if name, value, ok := strings.Cut(l, ":"); ok && strings.TrimSpace(name) == "model name" {
			cpus, model = cpus+1, strings.TrimSpace(value)
		}
	}
	line("processors", fmt.Sprintf("%d, %s", cpus, model))
	if kernel, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		line("kernel", strings.TrimSpace(string(kernel)))
	}
	if load, err := os.ReadFile("/proc/loadavg"); err == nil {
		line("load average at the end", strings.Join(strings.Fields(string(load))[:3], " "))
	}
	return b.String()
}

// Family is a process with its children, all of which do the work of one program.
func Family(pid int) []int {
	list := []int{pid}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		b, _ := os.ReadFile(path)
		_, rest, _ := strings.Cut(string(b), ") ") // from the state on, proc_pid_stat(5)
		if f := strings.Fields(rest); len(f) > 1 && f[1] == strconv.Itoa(pid) {
			if child, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil {
				list = append(list, child)
			}
		}
	}
	return list
}
