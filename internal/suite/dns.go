package suite

import (
	"net"
	"net/netip"
	"os"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

// dnsEnv turns a test process into a name server: "address zone=a,b zone=c".
const dnsEnv = "NTP_SUITE_DNS"

// Helper must be called first in TestMain: a test process that was started as a helper does that work and never
// returns.
func Helper() {
	if spec := os.Getenv(dnsEnv); spec != "" {
		_ = serveDNS(spec)
		os.Exit(1)
	}
}

// NameServer answers A queries inside the namespace from a table of names; everything else does not exist. The
// test's TestMain must call Helper.
func (n *Namespace) NameServer(address string, names map[string][]string) {
	n.t.Helper()
	self, err := os.Executable()
	if err != nil {
		n.t.Fatal(err)
	}
	spec := address
	for name, addrs := range names {
		spec += " " + name + "=" + strings.Join(addrs, ",")
	}
	cmd := n.Command(self)
	cmd.Env = append(os.Environ(), dnsEnv+"="+spec)
	StartCmd(n.t, cmd)
}

func serveDNS(spec string) error {
	fields := strings.Fields(spec)
	zone := map[string][]netip.Addr{}
	for _, f := range fields[1:] {
		name, list, _ := strings.Cut(f, "=")
		for _, a := range strings.Split(list, ",") {
			zone[name+"."] = append(zone[name+"."], netip.MustParseAddr(a))
		}
	}
	pc, err := net.ListenPacket("udp", net.JoinHostPort(fields[0], "53"))
	if err != nil {
		return err
	}
	buf := make([]byte, 1500)
	for {
		n, from, err := pc.ReadFrom(buf)
		if err != nil {
			return err
		}
		if reply, err := answer(buf[:n], zone); err == nil {
			_, _ = pc.WriteTo(reply, from)
		}
	}
}

func answer(query []byte, zone map[string][]netip.Addr) ([]byte, error) {
	var p dnsmessage.Parser
	h, err := p.Start(query)
	if err != nil {
		return nil, err
	}
	q, err := p.Question()
	if err != nil {
		return nil, err
	}
	addrs, known := zone[strings.ToLower(q.Name.String())]
	reply := dnsmessage.Header{ID: h.ID, Response: true, RecursionAvailable: true}
	if !known {
		reply.RCode = dnsmessage.RCodeNameError
	}
	b := dnsmessage.NewBuilder(nil, reply)
	if err := b.StartQuestions(); err != nil {
		return nil, err
	}
	if err := b.Question(q); err != nil {
		return nil, err
	}
	if err := b.StartAnswers(); err != nil {
		return nil, err
	}
	for _, a := range addrs {
		if q.Type != dnsmessage.TypeA || !a.Is4() {
			continue
		}
		rh := dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 60}
		if err := b.AResource(rh, dnsmessage.AResource{A: a.As4()}); err != nil {
			return nil, err
		}
	}
	return b.Finish()
}
