package daemon

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"ntp-daemon/internal/config"
	"ntp-daemon/internal/program"
	"ntp-daemon/internal/testca"
)

// TestKeyExchange_OpensBesideAReload: a listener that opens while a reload puts another certificate into use ends up with that
// one, not with what it read before.
func TestKeyExchange_OpensBesideAReload(t *testing.T) {
	dir, ca := t.TempDir(), testca.New(t)
	var tables [2]config.KEServer
	for i, name := range []string{"one", "two"} {
		chain, key := testca.Files(t, ca.Leaf(name))
		tables[i] = config.KEServer{
			Listen: netip.MustParseAddrPort("127.0.0.1:0"), CertificateChainPath: filepath.Join(dir, name+".pem"), PrivateKeyPath: filepath.Join(dir, name+".key"),
		}
		put(t, tables[i].CertificateChainPath, chain)
		put(t, tables[i].PrivateKeyPath, key)
	}
	for round := range 200 {
		k := (&Daemon{log: zerolog.Nop()}).newKE(tables[0])
		swap, _, err := k.renew(tables[1], time.Now())
		if err != nil {
			t.Fatal(err)
		}
		opened := make(chan error, 1)
		go func() { opened <- k.open(time.Now()) }()
		for began := time.Now(); time.Since(began) < time.Duration(round%20)*50*time.Microsecond; {
		}
		swap()
		if err := <-opened; err != nil {
			t.Fatal(err)
		}
		_ = k.ln.Close()
		if got := k.cert.Load().Leaf.DNSNames[0]; got != "two" || k.cfg.Load().CertificateChainPath != tables[1].CertificateChainPath {
			t.Fatalf("round %d: certificate %q of %s", round, got, k.cfg.Load().CertificateChainPath)
		}
	}
}

// TestPaths_OneAtATime: two parts that come back at once, each of which makes a socket under an umask of its own, leave the
// process its umask, and each path has its own permissions.
func TestPaths_OneAtATime(t *testing.T) {
	d := fastDaemon(t)
	d.cfg.Observability.ObservationPath = filepath.Join(t.TempDir(), "seen")
	d.cfg.Observability.ObservationPermissions = 0o666
	if err := d.openObserver(); err != nil {
		t.Fatal(err)
	}
	if err := d.openFastPath(); err != nil {
		t.Fatal(err)
	}
	parts := []*program.Part{d.observe, d.fastPath.part}
	umask := func() int {
		old := unix.Umask(0o22)
		unix.Umask(old)
		return old
	}
	before := umask()
	defer unix.Umask(before)
	want := map[string]os.FileMode{d.cfg.Observability.ObservationPath: 0o666, d.cfg.Process.XDPPath: 0o600}
	for round := range 300 {
		var both sync.WaitGroup
		for _, p := range parts {
			p.Close()
			both.Go(func() {
				if err := p.Try(); err != nil {
					t.Error(err)
				}
			})
		}
		both.Wait()
		if got := umask(); got != before {
			t.Fatalf("round %d: the umask is %#o, was %#o", round, got, before)
		}
		for path, mode := range want {
			if st, err := os.Stat(path); err != nil || st.Mode().Perm() != mode {
				t.Fatalf("round %d: %s: %v, %v", round, path, st.Mode(), err)
			}
		}
	}
	for _, p := range parts {
		p.Close()
	}
	if c, err := net.Dial("unix", d.cfg.Process.XDPPath); err == nil {
		_ = c.Close()
		t.Error("it still listens")
	}
}
