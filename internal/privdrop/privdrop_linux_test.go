package privdrop

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// dropEnv makes this binary the process that drops.
const dropEnv = "PRIVDROP_KEEP"

func TestMain(m *testing.M) {
	if os.Getenv(dropEnv) != "" {
		dropAndReport()
	}
	os.Exit(m.Run())
}

// someUser is the user that is named in the environment; nil: none.
func someUser() *User {
	if os.Getenv(dropEnv) == "user" {
		return &User{Name: "u", UID: 4711, GID: 4712, Groups: []int{4713}}
	}
	return nil
}

// dropAndReport keeps the two capabilities and prints what every thread has then.
func dropAndReport() {
	for range 4 { // threads that exist before
		go func() { runtime.LockOSThread(); time.Sleep(time.Hour) }()
	}
	time.Sleep(10 * time.Millisecond)
	if err := Keep(someUser(), SysTime, NetBindService); err != nil {
		fmt.Println("error:", err, errors.Is(err, ErrCgo))
		os.Exit(0)
	}
	for range 2 { // and some that start after
		go func() { runtime.LockOSThread(); time.Sleep(time.Hour) }()
	}
	time.Sleep(10 * time.Millisecond)
	tasks, _ := filepath.Glob("/proc/self/task/*/status")
	for _, task := range tasks {
		status, _ := os.ReadFile(task)
		fmt.Println("thread", strings.Join(strings.Fields(pick(string(status))), " "))
	}
	ok, err := has(SysTime)
	fmt.Println("SysTime", ok, err)
	_, err = exec.Command("/bin/true").CombinedOutput()
	fmt.Println("child", err)
	os.Exit(0)
}

// pick returns the values that privileges show in.
func pick(status string) (values string) {
	for _, l := range strings.Split(status, "\n") {
		key, value, _ := strings.Cut(l, ":")
		switch key {
		case "Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs":
			values += " " + key + "=" + strings.Join(strings.Fields(value), "/")
		}
	}
	return values
}

func TestKeep(t *testing.T) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	testKeep(t, "same", identity(string(status)))
}

// TestKeep_User: the same capabilities stay in force, on every thread, for a process that becomes another user.
func TestKeep_User(t *testing.T) {
	testKeep(t, "user", "Uid=4711/4711/4711/4711 Gid=4712/4712/4712/4712 Groups=4713")
}

// identity is the part of pick that tells of user and groups.
func identity(status string) string {
	text, _, _ := strings.Cut(pick(status), " CapInh")
	return strings.TrimSpace(text)
}

func testKeep(t *testing.T, who, identity string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("skipped: dropping capabilities needs some, run as root")
	}
	ok, err := has(SysTime)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), dropEnv+"="+who)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	text := string(out)
	if strings.HasPrefix(text, "error:") {
		if strings.Contains(text, ErrCgo.Error()+" true") {
			t.Skipf("skipped: this test binary is built with cgo (race detector); it was refused politely: %s", text)
		}
		t.Fatal(text)
	}
	if !ok {
		t.Skipf("skipped the comparison: this environment lacks CAP_SYS_TIME: %s", text)
	}
	const kept = "0000000002000400"
	want := "thread " + identity + " CapInh=0000000000000000 CapPrm=" + kept + " CapEff=" + kept + " CapBnd=" + kept + " CapAmb=0000000000000000 NoNewPrivs=1"
	threads := 0
	for _, l := range strings.Split(text, "\n") {
		if strings.HasPrefix(l, "thread") {
			threads++
			if l != want {
				t.Errorf("got %s\nwant %s", l, want)
			}
		}
	}
	if threads < 6 || !strings.Contains(text, "SysTime true <nil>") || !strings.Contains(text, "child <nil>") {
		t.Errorf("%d threads: %s", threads, text)
	}
}

// TestAs: one thread sees the files as the user does, and is as before afterwards.
func TestAs(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("skipped: root alone can look with the eyes of others")
	}
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		err := As(&User{Name: "u", UID: 4711, GID: 4712, Groups: []int{4713}}, func() error {
			f, err := os.Open(path)
			if err == nil {
				_ = f.Close()
			}
			return err
		})
		if !errors.Is(err, unix.EACCES) {
			t.Errorf("a file of root's: %v", err)
		}
		if _, err := os.ReadFile(path); err != nil {
			t.Errorf("the process has not kept its access: %v", err)
		}
	}
	tasks, _ := filepath.Glob("/proc/self/task/*/status")
	for _, task := range tasks {
		if status, err := os.ReadFile(task); err == nil && pick(string(status)) != pick(string(before)) {
			t.Errorf("a thread stays another user: %s", pick(string(status)))
		}
	}
	if d, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0); err != nil || d != 1 {
		t.Errorf("dumpable is %d, %v", d, err)
	}
}

// The test for the clock's privilege sees a missing one, in a process that never had it.
func TestK07_HasSeesMissingCapability(t *testing.T) {
	if os.Geteuid() != 0 {
		if ok, err := has(SysTime); err != nil || ok {
			t.Skipf("skipped: not root, and yet: %v %v", ok, err)
		}
		return
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // this thread gives up the capability and ends with the goroutine
		sets, err := get()
		if err == nil {
			i, bit := slot(SysTime)
			sets[i].Effective &^= bit
			hdr := header()
			err = unix.Capset(&hdr, &sets[0])
		}
		if err == nil {
			var ok bool
			if ok, err = has(SysTime); ok {
				err = errors.New("reports a capability that is not in force")
			}
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestCapabilityNumbers(t *testing.T) {
	if SysTime != unix.CAP_SYS_TIME || NetBindService != unix.CAP_NET_BIND_SERVICE {
		t.Error("numbers differ from the kernel's")
	}
}

// has reports whether the calling thread may use the capability now.
func has(c Capability) (bool, error) {
	sets, err := get()
	if err != nil {
		return false, err
	}
	i, bit := slot(c)
	return sets[i].Effective&bit != 0, nil
}
