package xdp

import (
	"bytes"
	_ "embed"
	"fmt"
	"net"

	"github.com/cilium/ebpf"

	"ntp-daemon/internal/fastpath"
	"ntp-daemon/internal/ntp"
)

//go:generate bpf/compile.sh

// object is bpf/ntp.c, compiled.
//
//go:embed bpf/ntp.o
var object []byte

// kernelSide is the program and its maps, loaded for one interface and one policy.
type kernelSide struct {
	Program      *ebpf.Program `ebpf:"answer_ntp"`
	Current      *ebpf.Map     `ebpf:"current"`
	States       *ebpf.Map     `ebpf:"states"`
	Destinations *ebpf.Map     `ebpf:"destinations"`
	Own          *ebpf.Map     `ebpf:"own"`
	Lists        *ebpf.Map     `ebpf:"lists"`
	Counters     *ebpf.Map     `ebpf:"counters"`
}

// maxListed bounds the entries of the access lists on one interface: the memory of the kernel is ours to take care of.
const maxListed = 200_000

// load brings the program into the kernel, with the access lists of the policy. It answers nobody before it has a state and
// destinations.
func load(policy *fastpath.Interface, mac net.HardwareAddr, mode fastpath.Mode) (*kernelSide, error) {
	entries := listEntries(policy)
	if len(entries) > maxListed {
		return nil, fmt.Errorf("access lists of %d entries, %d is the most", len(entries), maxListed)
	}
	if n := len(policy.Listeners); n > fastpath.MaxListeners {
		return nil, fmt.Errorf("%d servers on one interface, %d is the most", n, fastpath.MaxListeners)
	}
	spec, err := ebpf.LoadCollectionSpecFromReader(bytes.NewReader(object))
	if err != nil {
		return nil, fmt.Errorf("read the compiled program: %w", err)
	}
	spec.Maps["lists"].MaxEntries = uint32(max(len(entries), 1))
	spec.Maps["own"].MaxEntries = maxOwn
	spec.Maps["counters"].MaxEntries = uint32(max(len(policy.Listeners), 1)) * uint32(fastpath.Outcomes)
	generic := uint8(0)
	if mode == fastpath.Generic {
		generic = 1
	}
	for name, value := range map[string]any{
		"generic": generic,
		"own_mac": [6]byte(mac), "least_poll": int8(ntp.MinPollExp), "most_poll": int8(ntp.MaxPollExp),
	} {
		if err := spec.Variables[name].Set(value); err != nil {
			return nil, fmt.Errorf("set %s: %w", name, err)
		}
	}
	k := new(kernelSide)
	if err := spec.LoadAndAssign(k, nil); err != nil {
		return nil, fmt.Errorf("load the program: %w", err)
	}
	for i := range entries {
		if err := k.Lists.Put(&entries[i], uint32(1)); err != nil {
			k.Close()
			return nil, fmt.Errorf("fill the access lists: %w", err)
		}
	}
	return k, nil
}

// Close gives the maps and the program back; a link keeps what it needs.
func (k *kernelSide) Close() {
	for _, c := range []interface{ Close() error }{k.Program, k.Current, k.States, k.Destinations, k.Own, k.Lists, k.Counters} {
		_ = c.Close()
	}
}

// counts reads what became of the packets of each listener.
func (k *kernelSide) counts(policy *fastpath.Interface) ([]fastpath.Counts, error) {
	list := make([]fastpath.Counts, len(policy.Listeners))
	for i := range policy.Listeners {
		list[i].Address = policy.Listeners[i].Address
		for o := range fastpath.Outcomes {
			var each []uint64
			if err := k.Counters.Lookup(uint32(i)*uint32(fastpath.Outcomes)+uint32(o), &each); err != nil {
				return nil, fmt.Errorf("read the counters: %w", err)
			}
			for _, n := range each {
				list[i].Packets[o] += n
			}
		}
	}
	return list, nil
}
