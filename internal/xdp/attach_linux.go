package xdp

import (
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"ntp-daemon/internal/fastpath"
)

// Faults that a start meets; each says what would help.
var (
	errNoInterface = errors.New("there is no such interface")
	errChanged     = errors.New("the interface went away, or has another hardware address")
	errTaken       = errors.New("another XDP program is attached to the interface; remove it, or leave xdp out")
	errOldKernel   = errors.New("this kernel cannot run the program; Linux 6.1 or newer can")
	errNoPower     = errors.New("needs the capabilities CAP_BPF and CAP_NET_ADMIN")
)

// attachment is the program on one interface.
type attachment struct {
	policy fastpath.Interface
	index  int
	mac    net.HardwareAddr
	link   link.Link // nobody else's: it is not pinned, and ends with this process
	mode   fastpath.Mode
	detail string // why not in the driver

	kernel *kernelSide
	states publisher
	known  map[destination]served
	own    map[[16]byte]uint8 // what the program takes no request from
	before map[counter]uint64 // what programs counted that have been replaced
	rests  string
}

// counter names one number that is counted.
type counter struct {
	listener string
	outcome  fastpath.Outcome
}

// attach loads the program for a policy and puts it on its interface: in that mode, or with none in the driver where that can do
// it, else behind it.
func attach(policy fastpath.Interface, mode fastpath.Mode) (*attachment, error) {
	ifi, err := net.InterfaceByName(policy.Name)
	if err != nil {
		return nil, errNoInterface
	}
	if len(ifi.HardwareAddr) != 6 {
		return nil, errors.New("the interface is no Ethernet")
	}
	a := &attachment{policy: policy, index: ifi.Index, mac: ifi.HardwareAddr, before: map[counter]uint64{}}
	if mode == "" {
		if mode, a.detail = fastpath.Driver, loses(policy.Name); a.detail != "" {
			mode = fastpath.Generic
		} else if err = a.put(fastpath.Driver); err != nil && !decided(err) {
			mode, a.detail = fastpath.Generic, err.Error()
		} else {
			return a, err
		}
	}
	if err := a.put(mode); err != nil {
		return nil, err
	}
	return a, nil
}

// loses says why a driver that has XDP is not trusted with replies; empty: it is.
func loses(name string) string {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	defer unix.Close(fd)
	info, err := unix.IoctlGetEthtoolDrvinfo(fd, name)
	if err != nil || unix.ByteSliceToString(info.Driver[:]) != "veth" {
		return ""
	}
	return "a veth interface loses replies unless its other end is set up for them"
}

// put loads the program and attaches it in one of the modes.
func (a *attachment) put(mode fastpath.Mode) (err error) {
	a.mode = mode
	if err := a.load(); err != nil {
		return err
	}
	flags := link.XDPDriverMode
	if mode == fastpath.Generic {
		flags = link.XDPGenericMode
	}
	a.link, err = link.AttachXDP(link.XDPOptions{Program: a.kernel.Program, Interface: a.index, Flags: flags})
	if err != nil {
		a.kernel.Close()
		return explain(err)
	}
	return nil
}

// decided tells what the other mode would not change.
func decided(err error) bool {
	return errors.Is(err, errNoPower) || errors.Is(err, errTaken) || errors.Is(err, errOldKernel) || errors.Is(err, errNoInterface)
}

// explain adds to the kernel's word what is wrong.
func explain(err error) error {
	switch {
	case errors.Is(err, syscall.EPERM):
		return errNoPower
	case errors.Is(err, syscall.EBUSY), errors.Is(err, syscall.EEXIST):
		return errTaken
	case errors.Is(err, syscall.ENODEV):
		return errNoInterface
	}
	return fmt.Errorf("put the program in place: %w", err)
}

// load makes new maps and a new program of the policy, with the addresses of the interface. They rest until the next publish.
func (a *attachment) load() error {
	k, err := load(&a.policy, a.mac, a.mode)
	if errors.Is(err, ebpf.ErrNotSupported) || errors.Is(err, syscall.EINVAL) {
		return fmt.Errorf("%w: %w", errOldKernel, err)
	}
	if err != nil {
		return explain(err)
	}
	a.kernel, a.known, a.own = k, map[destination]served{}, map[[16]byte]uint8{}
	a.states = publisher{current: k.Current, states: k.States}
	if err := a.followAddresses(); err != nil {
		k.Close()
		return err
	}
	return nil
}

// replace puts another policy in force. Lists are never changed under a program that runs: a new one takes its place, and the
// counts of the old one are kept.
func (a *attachment) replace(policy fastpath.Interface) error {
	old, was := a.kernel, a.policy
	a.policy = policy
	if err := a.load(); err != nil {
		a.kernel = old
		return err
	}
	if err := a.link.Update(a.kernel.Program); err != nil {
		a.kernel.Close()
		a.kernel = old
		return fmt.Errorf("replace the program: %w", err)
	}
	list, err := old.counts(&was)
	if err != nil {
		return err
	}
	for _, c := range list {
		for o, n := range c.Packets {
			a.before[counter{c.Address.String(), fastpath.Outcome(o)}] += n
		}
	}
	old.Close()
	return nil
}

// followAddresses makes the destinations those that the interface has now, and senders impossible that are the host itself. What
// may not be a sender comes first.
func (a *attachment) followAddresses() error {
	now, err := addresses(a.index)
	if err != nil {
		return err
	}
	if err := follow(a.kernel.Own, a.own, now.own); err != nil {
		return err
	}
	return follow(a.kernel.Destinations, a.known, destinations(&a.policy, now.local))
}

// follow makes the content of a map what is wanted; known is what it has, and is kept so.
func follow[K, V comparable](m *ebpf.Map, known, want map[K]V) error {
	for k := range known {
		if _, still := want[k]; !still {
			if err := m.Delete(k); err != nil {
				return fmt.Errorf("remove an address: %w", err)
			}
			delete(known, k)
		}
	}
	for k, v := range want {
		if had, ok := known[k]; ok && had == v {
			continue
		}
		if err := m.Put(k, v); err != nil {
			return fmt.Errorf("add an address: %w", err)
		}
		known[k] = v
	}
	return nil
}

// stands reports whether the interface is still the one that the program was made for.
func (a *attachment) stands() error {
	ifi, err := net.InterfaceByName(a.policy.Name)
	if err != nil || ifi.Index != a.index || ifi.HardwareAddr.String() != a.mac.String() {
		return errChanged
	}
	return nil
}

// publish lets the program answer from s until that time on the monotonic clock, or rest if there is a reason to.
func (a *attachment) publish(s *fastpath.State, c *clocks, until time.Duration, rests string) error {
	if a.rests = rests; rests != "" {
		return a.states.rest()
	}
	return a.states.publish(s, c, until)
}

// report says what was done and counted.
func (a *attachment) report() (fastpath.Attached, error) {
	list, err := a.kernel.counts(&a.policy)
	if err != nil {
		return fastpath.Attached{}, err
	}
	for i := range list {
		for o := range list[i].Packets {
			list[i].Packets[o] += a.before[counter{list[i].Address.String(), fastpath.Outcome(o)}]
		}
	}
	return fastpath.Attached{Interface: a.policy.Name, Mode: a.mode, Detail: a.detail, Rests: a.rests, Counts: list}, nil
}

// Close takes the program off the interface.
func (a *attachment) Close() {
	_ = a.link.Close()
	a.kernel.Close()
}
