package e2e_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ntp-daemon/internal/nts/ke"
	"ntp-daemon/internal/suite"
	"ntp-daemon/internal/testca"
)

// keFlood is connections that open at a rate, say something and wait.
type keFlood struct {
	name      string
	addresses int
	says      []byte
}

// replayed is one ClientHello for localhost as a client of ours sends it.
func replayed(t *testing.T) []byte {
	t.Helper()
	a, b := net.Pipe()
	defer b.Close()
	go func() { _ = tls.Client(a, ke.ClientTLS("localhost", nil, nil)).Handshake(); _ = a.Close() }()
	buf := make([]byte, 1<<14)
	n, err := b.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return buf[:n]
}

// run opens 1000 connections a second to the port until ctx ends, and then closes them. It owns the thread that is
// in the host's network.
func (f *keFlood) run(ctx context.Context, s *testHost, port int) error {
	var open sync.Map
	defer open.Range(func(c, _ any) bool { _ = c.(net.Conn).Close(); return true })
	next := time.Now()
	for n := 0; ctx.Err() == nil; n++ {
		next = next.Add(time.Millisecond)
		time.Sleep(time.Until(next))
		i := n % f.addresses
		d := net.Dialer{Timeout: 2 * time.Second, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 9, byte(i>>8), byte(1+i))}}
		c, err := d.DialContext(ctx, "tcp4", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		_, _ = c.Write(f.says)
		open.Store(c, nil)
		go func() { _, _ = io.Copy(io.Discard, c); _ = c.Close(); open.Delete(c) }()
	}
	return nil
}

// honest is what became of the exchanges of honest users.
type honest struct {
	asked, done atomic.Int64
	mu          sync.Mutex
	took        []time.Duration
	err         error
}

// ask makes exchanges for so long, each user one after the other, at most one in every.
func (h *honest) ask(s *testHost, roots *x509.CertPool, port, users int, every, length time.Duration) {
	end := time.Now().Add(length)
	var all sync.WaitGroup
	for u := range users {
		all.Go(func() {
			inside(s.t, s.Namespace, func() error {
				for time.Now().Before(end) {
					began := time.Now()
					h.asked.Add(1)
					_, err := ke.Exchange(s.t.Context(), ke.ClientConfig{
						Address: "localhost", Port: uint16(port), Roots: roots, Timeout: honestTime(),
						Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
							d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 8, 0, byte(1+u))}}
							return d.DialContext(ctx, "tcp4", fmt.Sprintf("127.0.0.1:%d", port))
						},
					})
					h.mu.Lock()
					if err == nil {
						h.done.Add(1)
						h.took = append(h.took, time.Since(began))
					} else {
						h.err = err
					}
					h.mu.Unlock()
					time.Sleep(time.Until(began.Add(every)))
				}
				return nil
			})
		})
	}
	all.Wait()
}

// honestTime is how long a user waits, who is as patient as the server unless that is measured.
func honestTime() time.Duration {
	if os.Getenv("NTPD_BENCH") != "" {
		return 2 * time.Second
	}
	return 20 * time.Second
}

func (h *honest) String() string {
	slices.Sort(h.took)
	median := time.Duration(0)
	if n := len(h.took); n > 0 {
		median = h.took[n/2]
	}
	return fmt.Sprintf("%d of %d exchanges, median %v, last failure: %v", h.done.Load(), h.asked.Load(), median.Round(10*time.Microsecond), h.err)
}

// ntpUsers is what became of plain NTP meanwhile.
type ntpUsers struct {
	sent int
	took []time.Duration
}

// ask sends 100 requests a second until ctx ends.
func (u *ntpUsers) ask(ctx context.Context) error {
	c, err := net.Dial("udp4", "127.0.0.1:123")
	if err != nil {
		return err
	}
	defer c.Close()
	request := make([]byte, 48)
	request[0] = 0x23
	for ; ctx.Err() == nil; time.Sleep(10 * time.Millisecond) {
		began := time.Now()
		u.sent++
		_, _ = c.Write(request)
		_ = c.SetReadDeadline(began.Add(500 * time.Millisecond))
		if n, err := c.Read(make([]byte, 100)); err == nil && n >= 48 {
			u.took = append(u.took, time.Since(began))
		}
	}
	return nil
}

// check is the row's own figures; before is the same without the flood, which says how busy the machine is otherwise.
func (u *ntpUsers) check(t *testing.T, before *ntpUsers, strict bool) {
	t.Helper()
	slices.Sort(u.took)
	slices.Sort(before.took)
	if n := len(before.took); n > 0 {
		t.Logf("NTP without the flood: %d answers to %d requests, 99 %% within %v", n, before.sent, before.took[n*99/100])
	}
	most := u.sent / 10
	if strict {
		most = u.sent / 100
	}
	if u.sent-len(u.took) > most || len(u.took) == 0 {
		t.Errorf("NTP: %d answers to %d requests", len(u.took), u.sent)
		return
	}
	p99, ratio := u.took[len(u.took)*99/100], 0.0
	if n := len(before.took); n > 0 {
		ratio = float64(p99) / float64(before.took[n*99/100])
	}
	t.Logf("NTP: %d answers to %d requests, 99 %% within %v, %.2f times as long as without the flood", len(u.took), u.sent, p99, ratio)
	if strict && p99 > 5*time.Millisecond {
		t.Errorf("NTP: 99 %% within %v", p99)
	}
}

// TestKS18_Flood: a key exchange server whose processors are saturated by handshakes that are never finished, and by
// connections that say one byte, serves honest users of other addresses, and NTP as if nothing were the matter. By
// default one second of one flood with P-256; `make bench-handshake` takes all, and RSA with 4096 bits too, measures for longer, compares
// with what the server can do when it is left alone, and holds the row's figures, for which the machine must be idle.
func TestKS18_Flood(t *testing.T) {
	bench := os.Getenv("NTPD_BENCH") != ""
	if !bench {
		t.Parallel()
	}
	hello := replayed(t)
	floods := []keFlood{{"one ClientHello, one address", 1, hello}, {"one ClientHello, 250 addresses", 250, hello}, {"one byte, 64 addresses", 64, hello[:1]}}
	length, keys := time.Second, []string{"P-256"}
	if !bench {
		floods = floods[1:2]
	} else {
		length, keys = 8*time.Second, []string{"P-256", "RSA-4096"}
	}
	for _, key := range keys {
		for _, front := range []struct {
			name string
			port int
		}{{"daemon", 8080}, {"pool", 4460}} {
			t.Run(front.name+" "+key, func(t *testing.T) {
				s, roots, target := floodHost(t, key, front.name == "pool")
				for _, f := range floods {
					t.Run(f.name, func(t *testing.T) {
						floodOnce(t, s, roots, target, &f, front.port, length, bench)
					})
				}
				calm(t, target)
			})
		}
	}
}

// floodHost runs a server, and a pool in front of it, with certificates of a new authority.
func floodHost(t *testing.T, key string, pool bool) (*testHost, *x509.CertPool, *suite.Proc) {
	t.Helper()
	s := newTestHost(t)
	var signer crypto.Signer
	var err error
	if key == "P-256" {
		signer, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	} else {
		signer, err = rsa.GenerateKey(rand.Reader, 4096)
	}
	if err != nil {
		t.Fatal(err)
	}
	ca := testca.New(t)
	chain, private := testca.Files(t, ca.Custom(signer, func(*x509.Certificate) {}, "localhost"))
	suite.WriteFile(t, filepath.Join(s.dir, "chain.pem"), string(chain))
	suite.WriteFile(t, filepath.Join(s.dir, "key.pem"), string(private))
	suite.WriteFile(t, filepath.Join(s.dir, "ca.pem"), string(ca.PEM()))
	files := strings.NewReplacer("{keys}/end.fullchain.pem", "{dir}/chain.pem", "authorized-pool-server-certificates = [\"{keys}/end.pem\"]\n", "",
		"{keys}/end.key", "{dir}/key.pem", "{keys}/testca.pem", "{dir}/ca.pem")
	conf, front := server("server"), poolFront
	if os.Getenv("NTPD_BENCH") != "" {
		// Beside all other tests nothing is left for a thread that lets everybody go first; here it counts.
		conf = strings.Replace(conf, "handshake-niceness = 0\n", "", 1)
	} else {
		// Beside all other tests a second may pass in which the server does not run. Its time limits are the server's, and not
		// what is tested: who comes first is.
		conf = strings.Replace(conf, "key-exchange-timeout-ms = 2000\n", "key-exchange-timeout-ms = 20000\n", 1)
		front = strings.Replace(front, "[nts-pool-ke-server]\n", "[nts-pool-ke-server]\nkey-exchange-timeout-ms = 20000\n", 1)
	}
	target := s.start("server", files.Replace(conf))
	s.up(target)
	if pool {
		target = s.start("pool", files.Replace(front))
		target.WaitLog("listening on")
	}
	return s, ca.Pool(), target
}

// crowd is how many users ask for as much as the server can do, and not for much more: what is asked for in vain would
// be a part of both figures.
const crowd = 16

// floodBeside measures what the server can do while the flood hits another port, so that the machine has the same to do:
// the flood's own side and the kernel's share of it would count as a loss of the server's else.
func floodBeside(t *testing.T, s *testHost, roots *x509.CertPool, f *keFlood, port int, length time.Duration) float64 {
	t.Helper()
	const next = 4999
	ln := listen(t, s.Namespace, fmt.Sprintf("127.0.0.1:%d", next))
	defer ln.Close()
	go func() {
		var open []net.Conn
		for {
			c, err := ln.Accept()
			if err != nil {
				closeAll(open)
				return
			}
			if open = append(open, c); len(open) > 512 {
				_ = open[0].Close()
				open = open[1:]
			}
		}
	}()
	ctx, stop := context.WithCancel(t.Context())
	var flood sync.WaitGroup
	flood.Go(func() { inside(t, s.Namespace, func() error { return f.run(ctx, s, next) }) })
	var all honest
	all.ask(s, roots, port, crowd, 0, length)
	stop()
	flood.Wait()
	rate := float64(all.done.Load()) / length.Seconds()
	t.Logf("flood beside: %.0f exchanges/s; %v", rate, &all)
	return rate
}

// floodOnce is one flood: honest users with little to ask, then with as much as the server can do, then the end of it.
func floodOnce(t *testing.T, s *testHost, roots *x509.CertPool, target *suite.Proc, f *keFlood, port int, length time.Duration, strict bool) {
	capacity := 0.0
	if strict {
		capacity = floodBeside(t, s, roots, f, port, length)
	}
	ctx, stop := context.WithCancel(t.Context())
	var others, asking sync.WaitGroup
	var before, ntp ntpUsers
	calmly, done := context.WithTimeout(ctx, length/2)
	inside(t, s.Namespace, func() error { return before.ask(calmly) })
	done()
	others.Go(func() { inside(t, s.Namespace, func() error { return f.run(ctx, s, port) }) })
	beside, enough := context.WithCancel(ctx)
	asking.Go(func() { inside(t, s.Namespace, func() error { return ntp.ask(beside) }) })
	time.Sleep(length / 2) // the flood has filled what it can fill
	var few, many, after honest
	few.ask(s, roots, port, 4, 200*time.Millisecond, length)
	enough() // the crowd below would take the processor from the one who measures
	asking.Wait()
	memory := use(t, target).rss
	if strict {
		many.ask(s, roots, port, crowd, 0, length)
	}
	stop()
	others.Wait()
	time.Sleep(time.Second)
	after.ask(s, roots, port, 1, 0, length/4)
	ntp.check(t, &before, strict)
	t.Logf("under the flood: %v; memory %d MiB; afterwards: %v", &few, memory>>10, &after)
	if few.done.Load()*10 < few.asked.Load()*9 {
		t.Errorf("honest users: %v", &few)
	}
	if after.done.Load() < after.asked.Load() {
		t.Errorf("a second after the flood: %v", &after)
	}
	if memory > 128<<10 {
		t.Errorf("memory %d KiB", memory)
	}
	if strict {
		rate := float64(many.done.Load()) / length.Seconds()
		t.Logf("goodput %.0f/s of %.0f/s; %v", rate, capacity, &many)
		if rate < 0.8*capacity {
			t.Errorf("goodput %.0f/s of %.0f/s", rate, capacity)
		}
	}
}
