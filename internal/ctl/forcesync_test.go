package ctl

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"ntp-daemon/internal/dnstest"
	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/nts/aead"
	"ntp-daemon/internal/nts/ke"
)

// stepClock notes what it is told.
type stepClock struct {
	steps []time.Duration
	err   error
}

func (s *stepClock) Step(d time.Duration) (ntp.LedgerEntry, error) {
	if s.err != nil {
		return ntp.LedgerEntry{}, s.err
	}
	s.steps = append(s.steps, d)
	return ntp.LedgerEntry{}, nil
}

// sourcesOf writes a configuration of plain sources.
func sourcesOf(t *testing.T, minimum int, addrs ...string) string {
	t.Helper()
	text := fmt.Sprintf("[synchronization]\nminimum-agreeing-sources = %d\n", minimum)
	for _, a := range addrs {
		text += fmt.Sprintf("[[source]]\nmode = \"server\"\naddress = %q\n", a)
	}
	return writeFile(t, t.TempDir(), "ntp.toml", text)
}

func withClock(c *console) *stepClock {
	s := &stepClock{}
	c.OpenClock = func() (Stepper, error) { return s, nil }
	return s
}

func about(d, want time.Duration) bool { return (d - want).Abs() < 50*time.Millisecond }

func TestForceSync_Steps(t *testing.T) {
	a, b, liar := startTimeServer(t, goodView(), time.Hour), startTimeServer(t, goodView(), time.Hour), startTimeServer(t, goodView(), -time.Minute)
	conf := sourcesOf(t, 2, a.addr.String(), b.addr.String(), liar.addr.String())
	c := newConsole(t)
	s := withClock(c)
	c.expect(t, c.run("force-sync", "-c", conf, "--yes"), 0, "Time updated successfully", "")
	if len(s.steps) != 1 || !about(s.steps[0], time.Hour) {
		t.Errorf("steps %v", s.steps)
	}
	for _, want := range []string{"2 sources agree: the clock is 1 h behind", " x  " + liar.addr.String(), " +  " + a.addr.String()} {
		if !strings.Contains(c.out.String(), want) {
			t.Errorf("no %q in\n%s", want, c.out.String())
		}
	}
}

func TestForceSync_Asks(t *testing.T) {
	a := startTimeServer(t, goodView(), -5*time.Second)
	conf := sourcesOf(t, 1, a.addr.String())
	for reply, steps := range map[string]int{"y\n": 1, "YES\n": 1, "n\n": 0, "\n": 0, "": 0, strings.Repeat("y", 1000) + "\n": 0} {
		c := newConsole(t)
		s := withClock(c)
		c.InIsTerm, c.In = true, strings.NewReader(reply)
		code := c.run("force-sync", "-c", conf)
		if len(s.steps) != steps || (code == 0) != (steps == 1) || !strings.Contains(c.out.String(), "Set the clock? [y/N]") {
			t.Errorf("%.10q: exit %d, steps %v, %q", reply, code, s.steps, c.out.String())
		}
	}
}

func TestForceSync_WithoutTerminalRefuses(t *testing.T) {
	c := newConsole(t)
	c.expect(t, c.run("force-sync", "-c", "/nonexistent"), 1, "", "no terminal")
}

func TestForceSync_DryRunAndSmallOffset(t *testing.T) {
	far, close := startTimeServer(t, goodView(), 3*time.Second), startTimeServer(t, goodView(), 100*time.Millisecond)
	c := newConsole(t)
	c.expect(t, c.run("force-sync", "--dry-run", "-c", sourcesOf(t, 1, far.addr.String())), 0, "Dry run: the clock was not set.", "")
	c.expect(t, c.run("force-sync", "--yes", "-c", sourcesOf(t, 1, close.addr.String())), 0, "within 1.00 s; nothing to do", "")
	s := withClock(c)
	c.expect(t, c.run("force-sync", "--yes", "--threshold", "1", "-c", sourcesOf(t, 1, close.addr.String())), 64, "", "missing unit")
	c.expect(t, c.run("force-sync", "--yes", "--threshold", "10ms", "-c", sourcesOf(t, 1, close.addr.String())), 0, "Time updated", "")
	if len(s.steps) != 1 || !about(s.steps[0], 100*time.Millisecond) {
		t.Errorf("steps %v", s.steps)
	}
}

func TestForceSync_NoMajority(t *testing.T) {
	a, b := startTimeServer(t, goodView(), time.Hour), startTimeServer(t, goodView(), -time.Hour)
	silent := "127.0.0.1:9"
	c := newConsole(t)
	for _, tt := range []struct {
		name, conf string
	}{
		{"two that differ", sourcesOf(t, 1, a.addr.String(), b.addr.String())},
		{"fewer than the minimum", sourcesOf(t, 2, a.addr.String(), silent)},
		{"most are silent", sourcesOf(t, 1, a.addr.String(), silent, "127.0.0.1:10")},
		{"all are silent", sourcesOf(t, 1, silent)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c.expect(t, c.run("force-sync", "--yes", "-c", tt.conf), 1, "", "the clock was not set")
		})
	}
}

func TestForceSync_Refusals(t *testing.T) {
	c := newConsole(t)
	dir := t.TempDir()
	source := "[[source]]\nmode = \"server\"\naddress = \"127.0.0.1\"\n[synchronization]\nminimum-agreeing-sources = 1\n"
	c.expect(t, c.run("force-sync", "-y", "-c", writeFile(t, dir, "a", "")), 78, "", "no source")
	c.expect(t, c.run("force-sync", "-y", "-c", writeFile(t, dir, "b", source+"clock = \"virtual\"\n")), 78, "", "synchronization.clock: is virtual")
	c.expect(t, c.run("force-sync", "-y", "-c", writeFile(t, dir, "c", source+"clock-control = false\n")), 78, "", "clock-control: is off")
	c.expect(t, c.run("force-sync", "-y", "-c", writeFile(t, dir, "d", "x = 1")), 78, "", "d:1:1")
	c.expect(t, c.run("force-sync", "-y", "--threshold=-1s"), 64, "", "negative")
	c.expect(t, c.run("force-sync", "-y", "now"), 64, "", "no argument")
}

func TestForceSync_ClockRefuses(t *testing.T) {
	a := startTimeServer(t, goodView(), time.Hour)
	conf := sourcesOf(t, 1, a.addr.String())
	c := newConsole(t)
	withClock(c).err = fmt.Errorf("adjtimex: %w", ntp.ErrClockPermission)
	c.expect(t, c.run("force-sync", "-y", "-c", conf), 77, "", "run it as root")
	withClock(c).err = ntp.ErrForeignChange
	c.expect(t, c.run("force-sync", "-y", "-c", conf), 70, "", "changed by another program")
	c.OpenClock = func() (Stepper, error) { return nil, errors.New("no such thing") }
	c.expect(t, c.run("force-sync", "-y", "-c", conf), 70, "", "no such thing")
}

// Sources by key exchange and by NTS pool vote as plain ones do.
func TestForceSync_NTS(t *testing.T) {
	one, two := startNTS(t, goodView(), nil), startNTS(t, goodView(), nil)
	text := "[synchronization]\nminimum-agreeing-sources = 2\n" +
		fmt.Sprintf("[[source]]\nmode = \"nts\"\naddress = %q\ncertificate-authority = %q\n", one.ke, one.ca) +
		fmt.Sprintf("[[source]]\nmode = \"nts-pool\"\naddress = %q\ncertificate-authority = %q\ncount = 2\n", two.ke, two.ca)
	c := newConsole(t)
	s := withClock(c)
	code := c.run("force-sync", "-y", "--threshold", "10ms", "-c", writeFile(t, t.TempDir(), "ntp.toml", text))
	c.expect(t, code, 0, "2 sources agree", "the pool has no more than 1 servers")
	if len(s.steps) != 1 || !about(s.steps[0], ahead) || strings.Count(c.out.String(), "yes") != 2 {
		t.Errorf("steps %v, %q", s.steps, c.out.String())
	}
}

// A pool of SRV records is asked as the daemon asks it: by the name servers of the configuration, each target once.
func TestForceSync_ServiceRecords(t *testing.T) {
	dns, w := dnstest.Start(t), startNTS(t, goodView(), nil)
	const domain = "_ntske._tcp.pool.test"
	port := w.ke.(*net.TCPAddr).AddrPort().Port()
	dns.Set(domain, dnsmessage.TypeSRV, dnstest.Answer{AD: true, Records: []dnsmessage.Resource{
		dnstest.SRV(domain, 300, 1, 0, port, "gone.test"), dnstest.SRV(domain, 300, 2, 0, port, "localhost"),
	}})
	text := "[synchronization]\nminimum-agreeing-sources = 1\n[[source]]\nmode = \"nts-pool\"\naddress = \"pool.test\"\nenable-srv-resolution = true\n" +
		fmt.Sprintf("srv-resolvers = [%q]\ncertificate-authority = %q\n", dns.Addr, w.ca)
	local := names{"localhost.": {Addrs: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:1")}}}
	for count, says := range map[int]string{1: "", 2: fmt.Sprintf("key exchange with gone.test:%d: look up", port)} {
		c := newConsole(t)
		c.Finder.Resolve = local
		path := writeFile(t, t.TempDir(), "ntp.toml", text+fmt.Sprintf("count = %d\n", count))
		before := len(dns.Questions())
		code := c.run("force-sync", "--dry-run", "--threshold", "10ms", "-c", path)
		if count == 1 {
			c.expect(t, code, 0, "1 source says", says)
		} else if !strings.Contains(c.err.String(), says) {
			t.Errorf("exit %d, %q", code, c.err.String())
		}
		if n := len(dns.Questions()) - before; n != 1 {
			t.Errorf("%d questions for %d sources", n, count)
		}
	}
	c := newConsole(t)
	c.Finder.Resolve = local
	ask := []string{"query", "--nts", "--ca", w.ca, "--srv", "--srv-resolver", dns.Addr.String()}
	c.expect(t, c.run(append(ask, "pool.test")...), 0, "localhost", "")
	c.expect(t, c.run(append(ask, "pool.test:4460")...), 64, "", "the SRV records have the ports")
	c.expect(t, c.run("query", "--srv", "pool.test"), 64, "", "--srv has no effect without --nts")
	c.expect(t, c.run("query", "--nts", "--srv-resolver", "127.0.0.1", "pool.test"), 64, "", "--srv-resolver has no effect without --srv")
	c.expect(t, c.run("query", "--nts", "--srv", "--srv-resolver", "dns.test", "pool.test"), 64, "", `"dns.test" is not an address of a name server`)
	dns.Set(domain, dnsmessage.TypeSRV, dnstest.Answer{Records: []dnsmessage.Resource{dnstest.SRV(domain, 300, 2, 0, port, "localhost")}})
	c.expect(t, c.run(append(ask, "pool.test")...), 69, "", "not validated by DNSSEC")
	if code := c.run("force-sync", "--dry-run", "-c", writeFile(t, t.TempDir(), "ntp.toml", text)); code == 0 || !strings.Contains(c.err.String(), "not validated by DNSSEC") {
		t.Errorf("exit %d, %q", code, c.err.String())
	}
}

// What aead-algorithms says holds for force-sync, too.
func TestForceSync_Algorithms(t *testing.T) {
	w := startNTS(t, goodView(), nil)
	for _, mode := range []string{"nts", "nts-pool"} {
		text := "[synchronization]\nminimum-agreeing-sources = 1\n" + fmt.Sprintf(
			"[[source]]\nmode = %q\naddress = %q\ncertificate-authority = %q\naead-algorithms = [17, 15]\n", mode, w.ke, w.ca)
		if mode == "nts-pool" {
			text += "count = 1\n"
		}
		c := newConsole(t)
		var agreed aead.Algorithm
		c.Finder.Exchange = func(ctx context.Context, cfg ke.ClientConfig) (ke.Result, error) {
			r, err := ke.Exchange(ctx, cfg)
			agreed = r.Algorithm
			return r, err
		}
		c.expect(t, c.run("force-sync", "--dry-run", "--threshold", "10ms", "-c", writeFile(t, t.TempDir(), "ntp.toml", text)), 0, "1 source says", "")
		if agreed != aead.SIVCMAC512 {
			t.Errorf("%s: AEAD %d", mode, agreed)
		}
	}
}

func TestMajority(t *testing.T) {
	at := func(offset, bound float64) sample { return sample{offset: offset, bound: bound} }
	for _, tt := range []struct {
		name    string
		samples []sample
		want    string
		offset  float64
	}{
		{"none", nil, "[]", 0},
		{"one", []sample{at(1, 0.1)}, "[0]", 1},
		{"two of three", []sample{at(1, 0.1), at(5, 0.1), at(1.1, 0.1)}, "[0 2]", 1.05},
		{"touching", []sample{at(1, 0.5), at(2, 0.5)}, "[0 1]", 1.5},
		{"the narrow one weighs more", []sample{at(0, 0.1), at(1, 1)}, "[0 1]", 1.0 / 11},
		{"a wide one agrees with one side only", []sample{at(0, 0.1), at(0.05, 0.1), at(10, 0.1), at(5, 5)}, "[0 1 3]", (0/0.1 + 0.05/0.1 + 5/5.0) / (10 + 10 + 0.2)},
	} {
		got, offset := majority(tt.samples)
		if fmt.Sprint(got) != tt.want || offset < tt.offset-1e-9 || offset > tt.offset+1e-9 {
			t.Errorf("%s: %v %v, want %s %v", tt.name, got, offset, tt.want, tt.offset)
		}
	}
}

func TestQuorum(t *testing.T) {
	for _, tt := range []struct{ came, wanted, minimum, want int }{
		{1, 1, 1, 1}, {2, 2, 1, 2}, {3, 3, 1, 2}, {3, 3, 3, 3}, {1, 4, 1, 2}, {2, 4, 1, 2}, {4, 4, 1, 3}, {0, 1, 1, 1}, {1, 1, 3, 3},
	} {
		if got := quorum(tt.came, tt.wanted, tt.minimum); got != tt.want {
			t.Errorf("%+v: %d", tt, got)
		}
	}
}

func TestInWords(t *testing.T) {
	for offset, want := range map[float64]string{0: "right", 2: "2.00 s behind", -0.25: "250 ms ahead", 3725: "1 h 2 min behind"} {
		if got := inWords(offset); !strings.Contains(got, want) {
			t.Errorf("%v: %q", offset, got)
		}
	}
}

// One address votes once, protected if it can be.
func TestDistinct(t *testing.T) {
	got := distinct([]sample{{address: "b", offset: 1}, {address: "a", offset: 2}, {address: "b", nts: true, offset: 3}})
	if len(got) != 2 || got[0].address != "a" || got[1].offset != 3 {
		t.Errorf("%+v", got)
	}
}
