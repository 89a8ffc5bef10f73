//go:build linux && amd64

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/beevik/ntp"
	"golang.org/x/sys/unix"
)

const (
	interfaceName = "eth0"
	// patience is how long the guest waits for its network card and its peer; both machines share two busy cores.
	patience = 60 * time.Second
)

// boot makes a system of the bare kernel: file systems, drivers, network.
func boot() error {
	for _, m := range []struct{ fs, dir string }{
		{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}, {"tmpfs", "/run"}, {"tmpfs", "/tmp"}, {"tmpfs", "/var"},
	} {
		if err := os.MkdirAll(m.dir, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.fs, m.dir, m.fs, 0, ""); err != nil && !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("mount %s: %w", m.dir, err)
		}
	}
	if err := loadModules("/modules"); err != nil {
		return err
	}
	address := clientAddress
	if strings.HasSuffix(commandLine()["vmtest.role"], "server") {
		address = serverAddress
	}
	if err := configure("lo", "127.0.0.1"); err != nil {
		return err
	}
	var err error
	if !until(patience, func() bool { err = configure(interfaceName, address); return err == nil }) {
		return err
	}
	return knowNeighbour(commandLine()["vmtest.neighbour"])
}

// loadModules loads the drivers that the image carries, in the order of its list.
func loadModules(dir string) error {
	list, err := os.ReadFile(dir + "/order")
	if err != nil {
		return err
	}
	for _, name := range strings.Fields(string(list)) {
		f, err := os.Open(dir + "/" + name)
		if err != nil {
			return err
		}
		err = unix.FinitModule(int(f.Fd()), "", 0)
		f.Close()
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("load %s: %w", name, err)
		}
	}
	return nil
}

// configure gives an interface its address and brings it up.
func configure(name, address string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	ip := netip.MustParseAddr(address).As4()
	for _, set := range []struct {
		request uint
		what    string
		fill    func(*unix.Ifreq) error
	}{
		{unix.SIOCSIFADDR, "address", func(r *unix.Ifreq) error { return r.SetInet4Addr(ip[:]) }},
		{unix.SIOCSIFNETMASK, "netmask", func(r *unix.Ifreq) error { return r.SetInet4Addr([]byte{255, 255, 255, 0}) }},
		{unix.SIOCSIFFLAGS, "flags", func(r *unix.Ifreq) error { r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING); return nil }},
	} {
		req, err := unix.NewIfreq(name)
		if err == nil {
			err = set.fill(req)
		}
		if err == nil {
			err = unix.IoctlIfreq(fd, set.request, req)
		}
		if err != nil {
			return fmt.Errorf("%s of %s: %w", set.what, name, err)
		}
	}
	return nil
}

// waitForServer waits until the other machine answers with a usable time.
func waitForServer() error {
	var err error
	ok := until(patience, func() bool {
		var r *ntp.Response
		if r, err = ntp.QueryWithOptions(serverAddress, ntp.QueryOptions{Timeout: time.Second}); err == nil {
			err = r.Validate()
		}
		return err == nil
	})
	if !ok {
		return fmt.Errorf("no time from %s: %w", serverAddress, err)
	}
	return nil
}
