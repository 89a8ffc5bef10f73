package poolke

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"ntp-daemon/internal/accept"
	"ntp-daemon/internal/nts/aead"
	"ntp-daemon/internal/nts/ke"
	"ntp-daemon/internal/nts/record"
	"ntp-daemon/internal/pool"
	"ntp-daemon/internal/secret"
	"ntp-daemon/internal/testca"
)

// flow is one direction of a connection in memory. Writes never block.
type flow struct {
	mu     sync.Mutex
	more   *sync.Cond
	buf    []byte
	closed bool
	late   bool // the reader's deadline has passed
}

// memConn is one end of a connection in memory. A deadline counts if it has passed when it is set, which is what
// the end of a context does.
type memConn struct {
	net.Conn
	in, out *flow
}

func memPipe() (a, b *memConn) {
	x, y := new(flow), new(flow)
	x.more, y.more = sync.NewCond(&x.mu), sync.NewCond(&y.mu)
	return &memConn{in: x, out: y}, &memConn{in: y, out: x}
}

func (c *memConn) Read(b []byte) (int, error) {
	f := c.in
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.buf) == 0 && !f.closed && !f.late {
		f.more.Wait()
	}
	switch {
	case f.late:
		return 0, os.ErrDeadlineExceeded
	case len(f.buf) == 0:
		return 0, io.EOF
	}
	n := copy(b, f.buf)
	f.buf = f.buf[n:]
	return n, nil
}

func (c *memConn) Write(b []byte) (int, error) {
	f := c.out
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return 0, io.ErrClosedPipe
	}
	f.buf = append(f.buf, b...)
	f.more.Broadcast()
	return len(b), nil
}

func (c *memConn) Close() error {
	for _, f := range []*flow{c.in, c.out} {
		f.mu.Lock()
		f.closed = true
		f.more.Broadcast()
		f.mu.Unlock()
	}
	return nil
}

func (c *memConn) SetReadDeadline(t time.Time) error {
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	c.in.late = !t.IsZero() && t.Before(time.Now())
	c.in.more.Broadcast()
	return nil
}

func (c *memConn) SetWriteDeadline(time.Time) error { return nil }
func (c *memConn) SetDeadline(t time.Time) error    { return c.SetReadDeadline(t) }

// tapedUser is a user behind the handshake: what he sends is given, what he gets is kept.
type tapedUser struct {
	net.Conn
	in      []byte
	state   tls.ConnectionState
	written [][]byte
}

func (u *tapedUser) Read(b []byte) (int, error) {
	if len(u.in) == 0 {
		return 0, io.EOF
	}
	n := copy(b, u.in)
	u.in = u.in[n:]
	return n, nil
}

func (u *tapedUser) Write(b []byte) (int, error) {
	u.written = append(u.written, bytes.Clone(b))
	return len(b), nil
}

func (u *tapedUser) HandshakeContext(context.Context) error { return nil }
func (u *tapedUser) ConnectionState() tls.ConnectionState   { return u.state }
func (u *tapedUser) CloseWrite() error                      { return nil }
func (u *tapedUser) SetReadDeadline(time.Time) error        { return nil }
func (u *tapedUser) SetWriteDeadline(time.Time) error       { return nil }

// fuzzSetup is what the runs of FuzzPoolSession have in common.
type fuzzSetup struct {
	cfg     Config
	members [2]*tls.Config // of ts0.example, which knows us by token, and ts1.example, by certificate
	users   [2]tls.ConnectionState
}

const fuzzToken = "a token for the fuzzer"

func newFuzzSetup(f *testing.F) *fuzzSetup {
	f.Helper()
	ca := testca.New(f)
	cert := ca.Leaf("pool.example")
	s := &fuzzSetup{cfg: Config{
		Certificate: &cert, Roots: trust(f, ca),
		Timeout: time.Minute, ConnectTimeout: time.Minute, AnswerTimeout: time.Minute, RequestTimeout: time.Minute,
		Backends: []pool.Backend{
			{Domain: "ts0.example", Port: 1, Weight: 1, Dialect: record.IANA, Tokens: []secret.Bytes{secret.Bytes(fuzzToken)}},
			{Domain: "ts1.example", Port: 2, Weight: 1, Dialect: record.Cert4000},
		},
	}}
	for i := range s.members {
		leaf := ca.Leaf(s.cfg.Backends[i].Domain)
		s.members[i] = ke.ServerTLS(func() *tls.Certificate { return &leaf }, nil)
		s.members[i].CurvePreferences = []tls.CurveID{tls.X25519} // the fastest
	}
	s.members[1].ClientAuth = tls.RequestClientCert
	for i := range s.users {
		near, far := memPipe()
		server := tls.Server(far, ke.ServerTLS(func() *tls.Certificate { return &cert }, nil))
		client := tls.Client(near, ke.ClientTLS("pool.example", ca.Pool(), nil))
		go func() { _ = client.Handshake() }()
		if err := server.Handshake(); err != nil {
			f.Fatal(err)
		}
		s.users[i] = server.ConnectionState()
	}
	return s
}

// fuzzRun is one run: a pool, two time sources whose answers come from the script, users one after the other.
type fuzzRun struct {
	*fuzzSetup
	t    *testing.T
	pool *Pool
	wg   sync.WaitGroup

	mu        sync.Mutex
	script    []byte
	conns     []net.Conn
	asked     int              // requests that reached a time source
	keys      map[string][]int // hex of the keys in a Fixed Key request to the time sources that got them
	violation string           // a rule that a request to a time source broke
}

func (p *fuzzRun) take() byte {
	if len(p.script) == 0 {
		return 0
	}
	b := p.script[0]
	p.script = p.script[1:]
	return b
}

// dial connects to a time source, which is known by its port.
func (p *fuzzRun) dial(_ context.Context, _, address string) (net.Conn, error) {
	near, far := memPipe()
	who := 0
	if strings.HasSuffix(address, ":2") {
		who = 1
	}
	p.mu.Lock()
	refused := len(p.conns) >= 8
	p.conns = append(p.conns, far)
	p.mu.Unlock()
	if refused {
		return nil, errors.New("connection refused")
	}
	p.wg.Go(func() { p.member(who, far) })
	return near, nil
}

// member serves one connection of a time source.
func (p *fuzzRun) member(who int, raw net.Conn) {
	conn := tls.Server(raw, p.members[who])
	defer conn.Close()
	r := ke.NewReader(conn, record.RequestLimits)
	for {
		msg, err := r.Next()
		if err != nil {
			return
		}
		p.mu.Lock()
		answer, keep := p.answer(who, bytes.Clone(msg))
		p.mu.Unlock()
		if answer != nil {
			_, err = conn.Write(answer)
		}
		framer := record.Framer{Limits: record.UpstreamLimits}
		if _, fault := framer.Scan(answer); err != nil || !keep || fault != record.None { // nobody waits for the rest
			return
		}
	}
}

// answer notes a request and takes its answer from the script.
func (p *fuzzRun) answer(who int, msg []byte) (answer []byte, keep bool) {
	p.asked++
	req, fault := record.ParseRequest(msg, record.Rules{})
	dialect := []record.Dialect{record.IANA, record.Cert4000}[who]
	switch {
	case fault != record.None, req.Kind == record.Plain, req.Dialect != dialect:
		p.violation = "bad request " + hex.EncodeToString(msg)
	case (who == 0) != (string(req.Token) == fuzzToken), who == 1 && req.Token != nil:
		p.violation = "token"
	}
	op := p.take()
	good := p.healthy(&req, op>>3)
	switch op & 7 {
	case 0:
		return good, true
	case 1:
		return good, false
	case 2:
		n := min(4*int(p.take()), len(p.script))
		answer, p.script = bytes.Clone(p.script[:n]), p.script[n:]
		return answer, op&8 != 0 && n > 0
	case 3:
		return nil, false
	case 4:
		return record.AppendError(nil, record.ErrorCode(p.take())), false
	case 5:
		at := binary.BigEndian.Uint16([]byte{p.take(), p.take()})
		good[int(at)%len(good)] ^= p.take()
		return good, true
	case 6:
		return good[:int(p.take())%len(good)], false
	}
	return append(good, p.take()), true
}

// healthy is the right answer to a request, in one of several ways.
func (p *fuzzRun) healthy(req *record.Request, way byte) []byte {
	if req.Kind != record.FixedKey {
		r := record.SupportResponse{Dialect: req.Dialect, KeepAlive: true, Protocols: []record.Protocol{record.NTPv4}}
		r.Algorithms = [][]aead.Algorithm{
			{aead.SIVCMAC256}, {aead.SIVCMAC512, aead.SIVCMAC256}, {aead.GCMSIV128, aead.SIVCMAC256}, {aead.GCMSIV128}, {},
		}[way%5]
		if way >= 20 {
			r.Protocols = []record.Protocol{0x8001}
		}
		if req.Dialect == record.Cert4000 {
			r.Protocols = nil
		}
		return r.Append(nil)
	}
	keys := hex.EncodeToString(req.Keys)
	p.keys[keys] = append(p.keys[keys], p.number(req))
	r := record.Response{Protocol: req.Protocols[0], Algorithm: req.Algorithms[0], KeepAlive: true, Dialect: req.Dialect}
	for i := range 8 - int(way)%8 {
		cookie := bytes.Repeat([]byte{byte(p.asked), byte(i + 1)}, 52)
		r.Cookies = append(r.Cookies, cookie)
	}
	r.Server = []string{"", "ntp.example", "192.0.2.1", "pool.example", "ts1.example"}[way%5]
	r.Port = uint16(way % 3 * 123)
	return r.Append(nil)
}

// number tells the time sources apart by what only they are asked in.
func (p *fuzzRun) number(req *record.Request) int {
	if req.Dialect == record.Cert4000 {
		return 1
	}
	return 0
}

// user has one user served and judges what he got.
func (p *fuzzRun) user(nth int, request []byte) {
	u := &tapedUser{in: request, state: p.users[nth]}
	s := &userSession{p: p.pool, snap: p.pool.snap.Load(), user: new(accept.Conn), gated: p.pool.gate.Conn(u), conn: u, end: time.Now().Add(time.Minute), log: p.pool.exchangeLog(p.pool.snap.Load()),
		watch: func(func()) func() error { return func() error { return nil } }}
	p.mu.Lock()
	before := p.asked
	p.mu.Unlock()
	out, err := s.serve(context.Background())
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.violation != "" {
		p.t.Fatalf("to a time source: %s", p.violation)
	}
	if len(u.written) > 1 || s.wrote != (len(u.written) == 1) {
		p.t.Fatalf("%d writes, noted %v", len(u.written), s.wrote)
	}
	framer := record.Framer{Limits: record.RequestLimits}
	n, fault := framer.Scan(request)
	var req record.Request
	if fault == record.None {
		req, fault = record.ParseRequest(request[:n], record.Rules{FrontEnd: true})
	}
	if fault == record.None && req.UUID != "" {
		fault = record.Forbidden
	}
	if fault != record.None {
		p.refusal(u, fault, out, err, p.asked-before)
		return
	}
	if len(u.written) != 1 {
		p.t.Fatalf("no answer, %v, %v", out, err)
	}
	p.judge(u, &req, out, err, nth)
}

// refusal is what a bad request deserves: one error, or nothing for half a request; and no time source hears of it.
func (p *fuzzRun) refusal(u *tapedUser, fault record.Fault, out Outcome, err error, asked int) {
	p.t.Helper()
	var want [][]byte
	if fault != record.Truncated {
		want = [][]byte{record.AppendError(nil, fault.Code())}
	}
	if !slices.EqualFunc(u.written, want, bytes.Equal) || err == nil || out == Served || asked != 0 {
		p.t.Fatalf("%v: %v, %v, %d requests to time sources, answer %x", fault, out, err, asked, u.written)
	}
}

// judge checks the answer to a good request.
func (p *fuzzRun) judge(u *tapedUser, req *record.Request, out Outcome, err error, nth int) {
	p.t.Helper()
	msg := u.written[0]
	var mine []string // keys of this user that went to a time source
	for _, a := range []aead.Algorithm{aead.SIVCMAC256, aead.SIVCMAC384, aead.SIVCMAC512, aead.GCMSIV128} {
		k, e := ke.ExportKeys(&u.state, record.NTPv4, a, a)
		if e != nil {
			p.t.Fatal(e)
		}
		id := hex.EncodeToString(append(append([]byte(nil), k.C2S...), k.S2C...))
		if who, sent := p.keys[id]; sent {
			mine = append(mine, id)
			if slices.Min(who) != slices.Max(who) || len(who) > 2 {
				p.t.Fatalf("keys went to time sources %v", who)
			}
		}
		if bytes.Contains(msg, k.C2S) || bytes.Contains(msg, k.S2C) || bytes.Contains(msg, []byte(fuzzToken)) {
			p.t.Fatalf("a secret in the answer %x", msg)
		}
	}
	if nth == 0 && len(mine) == 1 { // no other names are known yet
		var names [2]bool
		for _, name := range req.Deny {
			for i := range names {
				names[i] = names[i] || pool.CanonicalName(name) == p.cfg.Backends[i].Domain
			}
		}
		if who := p.keys[mine[0]][0]; names[who] && !names[1-who] {
			p.t.Fatalf("time source %d was denied, the other was not", who)
		}
	}
	if len(mine) > 1 || len(p.keys) > nth+1 {
		p.t.Fatalf("%d pairs of keys of user %d, %d in all", len(mine), nth, len(p.keys))
	}
	var want []byte
	switch out {
	case Served:
		p.served(msg, req, len(mine))
		return
	case NoProtocol:
		want = record.AppendNoProtocol(nil)
	case NoAlgorithm:
		want = record.AppendNoAlgorithm(nil, record.NTPv4)
	case NoServer, ServerFailed:
		want = record.AppendError(nil, record.CodeInternal)
	}
	failed := out == NoServer || out == ServerFailed
	if want == nil || !bytes.Equal(msg, want) || failed != (err != nil) {
		p.t.Fatalf("%v, %v, answer %x", out, err, msg)
	}
	// A time source that closes while the keys are on their way to it may have them or not: they count as sent.
	if len(mine) > 1 || len(mine) == 1 && out != ServerFailed {
		p.t.Fatalf("%v, but %d time sources have the keys", out, len(mine))
	}
}

// served checks an answer with cookies: within the offer, from a time source that has the keys, with a name that is
// not the pool's own.
func (p *fuzzRun) served(msg []byte, req *record.Request, sent int) {
	p.t.Helper()
	r, fault := record.ParseResponse(msg, record.Offer{Protocols: req.Protocols, Algorithms: req.Algorithms})
	if fault != record.None || sent != 1 || r.KeepAlive || r.Port == 0 || r.Server == "" {
		p.t.Fatalf("%v: %d time sources have the keys, %+v", fault, sent, r)
	}
	if strings.EqualFold(strings.TrimSuffix(r.Server, "."), "pool.example") || !record.ValidServer(r.Server) {
		p.t.Fatalf("the user is sent to %q", r.Server)
	}
	if again := r.Append(nil); !bytes.Equal(again, msg) {
		p.t.Fatalf("something was passed through: %x, %x", msg, again)
	}
}

// FuzzPoolSession has one or two users served by a front end whose two time sources answer what the script says. A
// user's keys reach at most one of them; each user gets one message, which says what came of it; nothing that a time
// source sent goes through unread.
func FuzzPoolSession(f *testing.F) {
	s := newFuzzSetup(f)
	plain := [][]byte{
		request15, unhex("80010002 0000 80040006 001e000f0011 04000000 80000000"), unhex("80010002 0000 80040002 0011 80000000"),
		unhex("80010002 8001 80000000"), unhex("80010002 0000 80040002 001e 80000000"), deny("ts0.example"), deny("ts0.example", "ts1.example"), unhex("80010002 0000 80040002 0063 80000000"),
	}
	seeds := [][]byte{
		nil, {0, 0, 0, 0}, {1, 1}, {3, 3, 3, 3}, {3, 0, 0}, {0, 3, 0, 0}, {0, 4, 1}, {0, 4, 0, 0, 0}, {4, 0, 4, 1}, {4, 2, 0, 0}, {8, 8}, {16, 16}, {24, 24}, {32, 32},
		{160, 0, 0}, {0, 0x18, 0}, {0, 0x20}, {0, 0x08}, {0, 5, 0, 1, 255}, {5, 0, 1, 1, 0, 0}, {0, 6, 20}, {6, 9, 0, 0}, {7, 1, 0}, {0, 7, 1, 0}, {2, 0}, {0, 0, 0, 3, 0}, {0, 0, 0, 4, 1},
		append([]byte{0, 2, 5}, unhex("80010002 0000 80040002 000f 80000000")...), append([]byte{10, 5}, unhex("800a0004 000f0020 80090002 0000 80000000")...),
	}
	for i, script := range seeds {
		f.Add(request15, script, uint8(1))
		f.Add([]byte(nil), script, uint8(2+2*(i%8)+1))
	}
	for _, bad := range []string{"", "8001", "80000000", "80010002 0000 80040002 000f c1230000 80000000", "8001ffff", "800a0000 80090000 80000000",
		"000e0003 6b6579 cf010004 75756964 80010002 0000 80040004 0011000f 80000000"} {
		f.Add(unhex(bad), []byte{0, 0}, uint8(0))
	}
	f.Fuzz(func(t *testing.T, user, script []byte, mode uint8) {
		p := &fuzzRun{fuzzSetup: s, t: t, script: script, keys: map[string][]int{}}
		pool, err := New(s.cfg, Deps{Log: zerolog.Nop(), Dial: p.dial})
		if err != nil {
			t.Fatal(err)
		}
		p.pool = pool
		defer func() {
			pool.snap.Load().close()
			p.mu.Lock()
			for _, c := range p.conns {
				_ = c.Close()
			}
			p.mu.Unlock()
			p.wg.Wait()
		}()
		if canned := int(mode >> 1); canned > 0 {
			user = plain[(canned-1)%len(plain)]
		}
		p.user(0, user)
		if mode&1 != 0 {
			p.user(1, user)
		}
	})
}
