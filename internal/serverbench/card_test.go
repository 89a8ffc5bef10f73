//go:build linux && !race

package serverbench_test

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"ntp-daemon/internal/fastpath"
	"ntp-daemon/internal/faultnet"
	"ntp-daemon/internal/suite"
)

// card is an end of a veth pair that is like a network card: a thread of the kernel's own, on a processor of its own, does what a
// packet costs that comes in. At an ordinary end the sender's thread does, and nobody could say for whom.
type card struct {
	in   *suite.Namespace
	name string
	cpu  string // as taskset names it
}

// offload is a feature of an interface and whether it is on.
type offload struct {
	name    string
	command uint32 // of ethtool
	on      uint32
}

// offloads make an end collect its packets itself: with receive offload it has a queue for them, and to an end without segmentation
// on the other side everything goes through that queue.
var offloads = []offload{{"generic receive offload", unix.ETHTOOL_SGRO, 1}, {"TCP segmentation offload", unix.ETHTOOL_STSO, 0}}

// plug joins the two networks with a wire that has a card at each end.
func (s *site) plug() (near, far *card) {
	s.t.Helper()
	// The names of the kernel's threads know no namespaces: another process's cards are called otherwise.
	near = &card{in: s.inside, name: fmt.Sprintf("xs%d", os.Getpid()), cpu: s.cpus.server}
	far = &card{in: s.beyond, name: fmt.Sprintf("xc%d", os.Getpid()), cpu: s.cpus.generator}
	near.in.IP("link", "add", near.name, "type", "veth", "peer", "name", far.name, "netns", far.in.Name)
	for _, end := range []struct {
		*card
		address string
	}{{near, serverAddress}, {far, clientAddress}} {
		if err := end.tune(); err != nil {
			s.t.Fatalf("%s: %v", end.name, err)
		}
		end.in.IP("addr", "add", end.address+"/24", "dev", end.name)
		end.in.IP("link", "set", end.name, "up")
		threaded := "/sys/class/net/" + end.name + "/threaded" // ip(8) mounts the namespace's own
		if out, err := end.in.Command("sh", "-c", "echo 1 >"+threaded).CombinedOutput(); err != nil {
			s.t.Fatalf("give %s a thread of its own: %v: %s", end.name, err, out)
		}
	}
	if err := far.pass(s.t); err != nil {
		s.t.Fatalf("%s: %v", far.name, err)
	}
	return near, far
}

// xdpPass lets a packet through (enum xdp_action).
const xdpPass = 2

// pass puts a program on this end that lets everything through, until the test ends. What a program at the other end sends back in the
// driver is delivered to an end with a program only; it fills the queue of any other, which hears nothing more from then on.
func (c *card) pass(t *testing.T) error {
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: "pass", Type: ebpf.XDP, Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, xdpPass), asm.Return()}})
	if err != nil {
		return fmt.Errorf("load a program: %w", err)
	}
	defer p.Close()
	return faultnet.In(c.in, func() error {
		i, err := net.InterfaceByName(c.name)
		if err != nil {
			return fmt.Errorf("find the interface: %w", err)
		}
		l, err := link.AttachXDP(link.XDPOptions{Program: p, Interface: i.Index, Flags: link.XDPDriverMode})
		if err != nil {
			return fmt.Errorf("attach a program: %w", err)
		}
		t.Cleanup(func() { _ = l.Close() })
		return nil
	})
}

// tune sets the offloads.
func (c *card) tune() error {
	return faultnet.In(c.in, func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("open a socket: %w", err)
		}
		defer unix.Close(fd)
		for _, o := range offloads {
			if err := o.set(fd, c.name); err != nil {
				return fmt.Errorf("set %s: %w", o.name, err)
			}
		}
		return nil
	})
}

// set tells the kernel, as ethtool(8) does.
func (o *offload) set(fd int, name string) error {
	value := &struct{ command, data uint32 }{o.command, o.on} // struct ethtool_value
	request := struct {                                       // struct ifreq
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}{data: unsafe.Pointer(value)}
	copy(request.name[:unix.IFNAMSIZ-1], name)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request))); errno != 0 {
		return errno
	}
	return nil
}

// threads are the kernel's for this end, held on its processor. They are looked for again after every change: a program in the
// driver may bring new ones.
func (c *card) threads() (list []int, err error) {
	n, err := strconv.Atoi(c.cpu)
	if err != nil {
		return nil, fmt.Errorf("processor of %s: %w", c.name, err)
	}
	var cpu unix.CPUSet
	cpu.Set(n)
	paths, _ := filepath.Glob("/proc/[0-9]*/comm")
	for _, path := range paths {
		name, _ := os.ReadFile(path) // who has ended is no thread of ours
		if !strings.HasPrefix(string(name), "napi/"+c.name+"-") {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil {
			return nil, fmt.Errorf("thread of %s: %w", c.name, err)
		}
		if err := unix.SchedSetaffinity(pid, &cpu); err != nil {
			return nil, fmt.Errorf("hold %s on processor %s: %w", strings.TrimSpace(string(name)), c.cpu, err)
		}
		list = append(list, pid)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("the kernel has no thread for %s", c.name)
	}
	return list, nil
}

// xdpModes are where a program can be, by the kernel's number (XDP_ATTACHED_DRV, XDP_ATTACHED_SKB).
var xdpModes = map[int]fastpath.Mode{1: fastpath.Driver, 2: fastpath.Generic}

// program is what the kernel says is attached: where, and which; empty and 0 for nothing.
func (c *card) program() (fastpath.Mode, ebpf.ProgramID, error) {
	out, err := c.in.Command("ip", "-j", "link", "show", "dev", c.name).Output()
	if err != nil {
		return "", 0, fmt.Errorf("look at %s: %w", c.name, err)
	}
	var links []struct {
		XDP struct {
			Mode int `json:"mode"`
			Prog struct {
				ID ebpf.ProgramID `json:"id"`
			} `json:"prog"`
		} `json:"xdp"`
	}
	if err := json.Unmarshal(out, &links); err != nil || len(links) != 1 {
		return "", 0, fmt.Errorf("look at %s: %w in %q", c.name, err, out)
	}
	x := links[0].XDP
	return xdpModes[x.Mode], x.Prog.ID, nil
}
