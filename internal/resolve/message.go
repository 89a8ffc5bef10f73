package resolve

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

const (
	// udpSize is what we say that we take in one datagram: what passes every path unfragmented (DNS flag day 2020).
	udpSize = 1232
	// maxChain bounds the CNAME records between the name that was asked for and the SRV records.
	maxChain = 8
	// maxRecords bounds the SRV and CNAME records of one answer that are looked at; a message of 64 KiB has room for 3400.
	maxRecords = 1024
)

// Extended DNS errors (RFC 8914): the option and those of its codes that say what is wrong with signatures.
const edeOption = 15

var edeText = map[uint16]string{
	5: "indeterminate", 6: "bogus", 7: "signature expired", 8: "signature not yet valid", 9: "DNSKEY missing",
	10: "signatures missing", 11: "no zone key", 12: "proof of absence missing", 22: "no reachable authority",
}

// errNotOurs says that a datagram is no answer to our question: somebody else's, or a guess. It is skipped.
var errNotOurs = errors.New("not an answer to the question")

// question is one SRV question on its way.
type question struct {
	id   uint16
	name dnsmessage.Name // absolute
}

// newQuestion makes the question for a name without final dot.
func newQuestion(id uint16, name string) (question, error) {
	n, err := dnsmessage.NewName(name + ".")
	if err != nil {
		return question{}, fmt.Errorf("%q is no name for the DNS: %w", name, err)
	}
	return question{id, n}, nil
}

// encode writes the question. AD says that we understand that bit in the answer (RFC 6840 §5.7), DO that we want
// validation at all (RFC 3225).
func (q question) encode() ([]byte, error) {
	b := dnsmessage.NewBuilder(make([]byte, 0, 128), dnsmessage.Header{ID: q.id, RecursionDesired: true, AuthenticData: true})
	var opt dnsmessage.ResourceHeader
	err := errors.Join(
		b.StartQuestions(), b.Question(dnsmessage.Question{Name: q.name, Type: dnsmessage.TypeSRV, Class: dnsmessage.ClassINET}),
		b.StartAdditionals(), opt.SetEDNS0(udpSize, dnsmessage.RCodeSuccess, true), b.OPTResource(opt, dnsmessage.OPTResource{}),
	)
	if err != nil {
		return nil, fmt.Errorf("write question: %w", err)
	}
	return b.Finish()
}

// reply is what an answer to our question says.
type reply struct {
	rcode     dnsmessage.RCode
	truncated bool          // ask again over TCP; nothing else is set
	validated bool          // the name server says that DNSSEC vouches for everything in it
	services  []Service     // as they stood there; one without target says that there is no such service
	ttl       time.Duration // the shortest of the records used
	ede       string        // what an Extended DNS Error says, empty without one that we know
}

// decode reads an answer. What is no answer to q is errNotOurs, other errors say that the answer is malformed. It does not
// judge whether the answer may be believed.
func (q question) decode(msg []byte) (reply, error) {
	var p dnsmessage.Parser
	h, err := p.Start(msg)
	if err != nil || h.ID != q.id || !h.Response || h.OpCode != 0 {
		return reply{}, errNotOurs
	}
	asked, err := p.Question()
	if err != nil || !sameDNSName(asked.Name, q.name) || asked.Type != dnsmessage.TypeSRV || asked.Class != dnsmessage.ClassINET {
		return reply{}, errNotOurs
	}
	if _, err := p.Question(); !errors.Is(err, dnsmessage.ErrSectionDone) {
		return reply{}, errNotOurs
	}
	r := reply{rcode: h.RCode, truncated: h.Truncated, validated: h.AuthenticData}
	if r.truncated {
		return r, nil
	}
	if err := r.answers(&p, q.name); err != nil {
		return reply{}, fmt.Errorf("malformed answer: %w", err)
	}
	r.extended(&p)
	return r, nil
}

// records are those of an answer that count, by owners in lower case.
type records struct {
	aliases map[string]alias
	srv     []srvRecord
}

type alias struct {
	to  string // in lower case
	ttl uint32
}

type srvRecord struct {
	dnsmessage.SRVResource
	owner string
	ttl   uint32
}

// readAnswers reads the answer section, maxRecords of it.
func readAnswers(p *dnsmessage.Parser) (records, error) {
	r := records{aliases: map[string]alias{}}
	for range maxRecords {
		h, err := p.AnswerHeader()
		if errors.Is(err, dnsmessage.ErrSectionDone) {
			break
		}
		if err != nil {
			return r, err
		}
		owner, ttl := strings.ToLower(h.Name.String()), h.TTL
		if ttl > 1<<31-1 { // RFC 2181 §8: with the top bit set it is 0
			ttl = 0
		}
		switch {
		case h.Class == dnsmessage.ClassINET && h.Type == dnsmessage.TypeCNAME:
			c, err := p.CNAMEResource()
			if err != nil {
				return r, err
			}
			if _, twice := r.aliases[owner]; twice {
				return r, fmt.Errorf("two CNAME records for %q", owner)
			}
			r.aliases[owner] = alias{strings.ToLower(c.CNAME.String()), ttl}
		case h.Class == dnsmessage.ClassINET && h.Type == dnsmessage.TypeSRV:
			s, err := p.SRVResource()
			if err != nil {
				return r, err
			}
			r.srv = append(r.srv, srvRecord{s, owner, ttl})
		default: // signatures, and what a name server adds
			if err := p.SkipAnswer(); err != nil {
				return r, err
			}
		}
	}
	return r, nil
}

// answers follows the CNAME records from name to the SRV records.
func (r *reply) answers(p *dnsmessage.Parser, name dnsmessage.Name) error {
	all, err := readAnswers(p)
	if err != nil {
		return err
	}
	at, ttl := strings.ToLower(name.String()), ^uint32(0)
	for n := 0; ; n++ {
		next, more := all.aliases[at]
		if !more {
			break
		}
		if n == maxChain {
			return fmt.Errorf("more than %d CNAME records in a row", maxChain)
		}
		at, ttl = next.to, min(ttl, next.ttl)
	}
	for _, s := range all.srv {
		if s.owner == at {
			ttl = min(ttl, s.ttl)
			r.services = append(r.services, Service{strings.TrimSuffix(s.Target.String(), "."), s.Port, s.Priority, s.Weight})
		}
	}
	if ttl == ^uint32(0) { // no record was used
		ttl = 0
	}
	r.ttl = time.Duration(ttl) * time.Second
	return nil
}

// extended looks for an Extended DNS Error. It only makes a message clearer, so what cannot be read is left alone.
func (r *reply) extended(p *dnsmessage.Parser) {
	if p.SkipAllAnswers() != nil || p.SkipAllAuthorities() != nil {
		return
	}
	for {
		h, err := p.AdditionalHeader()
		if err != nil {
			return
		}
		if h.Type != dnsmessage.TypeOPT {
			if p.SkipAdditional() != nil {
				return
			}
			continue
		}
		opt, err := p.OPTResource()
		if err != nil {
			return
		}
		r.rcode = h.ExtendedRCode(r.rcode)
		for _, o := range opt.Options {
			if o.Code == edeOption && len(o.Data) >= 2 && r.ede == "" {
				r.ede = edeText[binary.BigEndian.Uint16(o.Data)]
			}
		}
	}
}

// sameDNSName compares names as the DNS does.
func sameDNSName(a, b dnsmessage.Name) bool { return strings.EqualFold(a.String(), b.String()) }
