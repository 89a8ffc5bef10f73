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
	name string
}

// settings are what differs between machines.
type settings struct {
	name       string
	rtc        string // value of -rtc base
	mac        string
	here, peer string // paths of the sockets that carry the Ethernet frames
	args       string // kernel command line
}

// boot starts a machine without a disk: kernel, initramfs, one network card, serial console. The processor is
// emulated, so that nothing depends on /dev/kvm and the clock is the emulator's own.
func boot(t *testing.T, kernel, initramfs string, s settings) *machine {
	t.Helper()
	cmd := exec.Command("qemu-system-x86_64",
		"-nodefaults", "-no-user-config", "-display", "none", "-monitor", "none", "-serial", "stdio", "-no-reboot",
		"-machine", "q35,accel=tcg,usb=off", "-cpu", "max", "-smp", "1", "-m", "384",
		"-kernel", kernel, "-initrd", initramfs,
		"-rtc", "base="+s.rtc,
		"-netdev", fmt.Sprintf("dgram,id=n,local.type=unix,local.path=%s,remote.type=unix,remote.path=%s", s.here, s.peer),
		"-device", "virtio-net-pci,netdev=n,romfile=,mac="+s.mac,
		// HPET: the emulator's own nanoseconds. The calibration of an emulated TSC is off by hundreds of ppm.
		"-append", "console=ttyS0 panic=-1 quiet loglevel=3 clocksource=hpet net.ifnames=0 random.trust_cpu=on "+s.args)
	p := suite.StartCmd(t, cmd)
	p.Name = s.name
	return &machine{Proc: p, name: s.name}
}

// lines is the console so far, without the terminal's line ends.
func (m *machine) lines() []string {
	return strings.Split(strings.ReplaceAll(m.Log(), "\r", ""), "\n")
}

// finish waits until the guest has said all it has to say. A panic of the kernel, an end without the last word and
// a machine that hangs fail the test.
func (m *machine) finish(t *testing.T, limit time.Duration) {
	t.Helper()
	for end := time.Now().Add(limit); ; time.Sleep(100 * time.Millisecond) { // polls an outside process
		running := m.Running()
		switch log := m.Log(); {
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
		}
	}
}

var (
	ended  = regexp.MustCompile(`(?m)^VMTEST end (PASS|FAIL) .*\n`)
	result = regexp.MustCompile(`^VMTEST (\S+) (PASS|FAIL) ?(.*)$`)
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
