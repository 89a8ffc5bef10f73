package suite

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// Namespace is a network of the test's own: loopback and whatever Link adds. It ends with the test.
type Namespace struct {
	Name string
	t    testing.TB
}

var serial atomic.Uint32

// NewNamespace makes a network namespace; the test is skipped with a reason when that is not possible.
func NewNamespace(t testing.TB) *Namespace {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root for network namespaces")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("needs iproute2")
	}
	n := &Namespace{Name: fmt.Sprintf("ntpt%d-%d", os.Getpid(), serial.Add(1)), t: t}
	run(t, "ip", "netns", "add", n.Name)
	t.Cleanup(func() {
		_ = exec.Command("ip", "netns", "del", n.Name).Run()
		_ = os.RemoveAll(n.etc())
	})
	n.IP("link", "set", "lo", "up")
	return n
}

// etc is where `ip netns exec` finds files that replace those of /etc inside the namespace.
func (n *Namespace) etc() string { return filepath.Join("/etc/netns", n.Name) }

// Resolve makes the namespace use one name server.
func (n *Namespace) Resolve(server string) {
	n.t.Helper()
	if err := os.MkdirAll(n.etc(), 0o755); err != nil {
		n.t.Fatal(err)
	}
	path := filepath.Join(n.etc(), "resolv.conf")
	if err := os.WriteFile(path, []byte("nameserver "+server+"\noptions timeout:1 attempts:1\n"), 0o644); err != nil {
		n.t.Fatal(err)
	}
}

// IP runs ip(8) inside the namespace.
func (n *Namespace) IP(args ...string) {
	n.t.Helper()
	run(n.t, "ip", append([]string{"-n", n.Name}, args...)...)
}

// Link joins two namespaces with a wire and gives each end an address with prefix length.
func Link(a *Namespace, addrA string, b *Namespace, addrB string) {
	a.t.Helper()
	i := serial.Add(1)
	nameA, nameB := fmt.Sprintf("va%d", i), fmt.Sprintf("vb%d", i)
	a.IP("link", "add", nameA, "type", "veth", "peer", "name", nameB, "netns", b.Name)
	for _, end := range []struct {
		n          *Namespace
		name, addr string
	}{{a, nameA, addrA}, {b, nameB, addrB}} {
		end.n.IP("addr", "add", end.addr, "dev", end.name)
		end.n.IP("link", "set", end.name, "up")
	}
}

// Command is a command that runs inside the namespace.
func (n *Namespace) Command(name string, args ...string) *exec.Cmd {
	return exec.Command("ip", append([]string{"netns", "exec", n.Name, name}, args...)...)
}

// Start runs a program inside the namespace until the test ends.
func (n *Namespace) Start(name string, args ...string) *Proc {
	n.t.Helper()
	p := StartCmd(n.t, n.Command(name, args...))
	p.Name = filepath.Base(name)
	return p
}

func run(t testing.TB, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}
