package vmtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"ntp-daemon/internal/suite"
)

// machine is one virtual machine; its console is the log of the process.
type machine struct {
	*suite.Proc
	settings
	kernel, initramfs string
	port              *port  // to the agent in the guest
	before            string // the console of processes that ended when the machine's state was saved
}

// settings are what differs between machines.
type settings struct {
	name       string
	dir        string // of the sockets
	rtc        string // value of -rtc base
	mac        string
	here, peer string // names of the sockets that carry the Ethernet frames
	args       string // kernel command line
}

// boot starts a machine without a disk: kernel, initramfs, one network card, serial console, a port to its agent.
func boot(t *testing.T, kernel, initramfs string, s settings) *machine {
	t.Helper()
	m := &machine{settings: s, kernel: kernel, initramfs: initramfs}
	m.start(t)
	return m
}

// start starts the emulator. The processor is emulated, so that nothing depends on /dev/kvm and the clock is the
// emulator's own: it goes on with the host's, and stands still while the machine is paused.
func (m *machine) start(t *testing.T, more ...string) {
	t.Helper()
	path := func(name string) string { return filepath.Join(m.dir, name) }
	args := []string{
		"-nodefaults", "-no-user-config", "-display", "none", "-monitor", "none", "-serial", "stdio", "-no-reboot",
		"-machine", "q35,accel=tcg,usb=off", "-cpu", "max", "-smp", "1", "-m", "384",
		"-kernel", m.kernel, "-initrd", m.initramfs,
		"-rtc", "base=" + m.rtc,
		"-netdev", fmt.Sprintf("dgram,id=n,local.type=unix,local.path=%s,remote.type=unix,remote.path=%s", path(m.here), path(m.peer)),
		"-device", "virtio-net-pci,netdev=n,romfile=,mac=" + m.mac,
		"-device", "virtio-serial-pci", "-chardev", "socket,id=a,server=on,wait=off,path=" + path(m.here+"-agent"),
		"-device", "virtserialport,chardev=a",
		"-qmp", "unix:" + path(m.here+"-qmp") + ",server=on,wait=off",
		// HPET: the emulator's own nanoseconds. The calibration of an emulated TSC is off by hundreds of ppm.
		// no_timer_check: an emulator that gets no processor for a while would look like a broken timer to the kernel, which panics.
		"-append", "console=ttyS0 panic=-1 quiet loglevel=3 clocksource=hpet no_timer_check net.ifnames=0 random.trust_cpu=on " + m.args,
	}
	p := suite.StartCmd(t, exec.Command("qemu-system-x86_64", append(args, more...)...))
	p.Name = m.name
	m.Proc, m.port = p, newPort(path(m.here+"-agent"))
	t.Cleanup(m.port.close)
}

// console is all that the machine has said, without the terminal's line ends.
func (m *machine) console() string { return m.before + strings.ReplaceAll(m.Log(), "\r", "") }

// lines is the console so far.
func (m *machine) lines() []string { return strings.Split(m.console(), "\n") }

// finish waits until the guest has said all it has to say, and does meanwhile what it asks for. A panic of the kernel,
// an end without the last word and a machine that hangs fail the test.
func (m *machine) finish(t *testing.T, limit time.Duration) {
	t.Helper()
	asked := 0
	for end := time.Now().Add(limit); ; time.Sleep(100 * time.Millisecond) { // polls an outside process
		running := m.Running()
		log := m.console()
		switch wishes := wish.FindAllStringSubmatch(log, -1); {
		case strings.Contains(log, "Kernel panic"):
			t.Errorf("%s: kernel panic", m.name)
			return
		case ended.MatchString(log):
			return
		case !running:
			t.Errorf("%s: the machine ended early", m.name)
			return
		case time.Now().After(end):
			t.Errorf("%s: still running after %v", m.name, limit)
			return
		case len(wishes) > asked:
			m.grant(t, wishes[asked][1], wishes[asked][2])
			asked++
		}
	}
}

var (
	ended  = regexp.MustCompile(`(?m)^VMTEST end (PASS|FAIL) .*\n`)
	result = regexp.MustCompile(`^VMTEST (\S+) (PASS|FAIL) ?(.*)$`)
	wish   = regexp.MustCompile(`(?m)^VMASK (\S+) (\S+)\n`)
	number = regexp.MustCompile(`^VMNUM (\S+) (\S+) (\S+)$`)
)

// prepared returns the folder of the unpacked kernel package, which scripts/vmtest.sh makes.
func prepared(t *testing.T) (kernel, root string) {
	t.Helper()
	root = os.Getenv("NTPD_VM")
	if root == "" {
		t.Skip("NTPD_VM is not set: runs in make vmtest")
	}
	found, err := filepath.Glob(filepath.Join(root, "kernel/boot/vmlinuz-*"))
	if err != nil || len(found) != 1 {
		t.Fatalf("no kernel in %s: %v", root, found)
	}
	return found[0], root
}
