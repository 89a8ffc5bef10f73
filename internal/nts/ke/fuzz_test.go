package ke

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"ntp-daemon/internal/accept"
	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/nts"
	"ntp-daemon/internal/nts/aead"
	"ntp-daemon/internal/nts/record"
	"ntp-daemon/internal/secret"
	"ntp-daemon/internal/testca"
)

// scriptedConn is a connection behind its handshake whose peer is a string of bytes. It keeps what is written. Deadlines
// mean nothing to it: the end of what is scripted is what the fuzzer says, at once.
type scriptedConn struct {
	net.Conn
	in      []byte
	chunk   int   // bytes per Read at most; 0: all
	end     error // what a Read behind the last byte says
	fail    int   // the Write, counted from 1, that fails; 0: none
	state   tls.ConnectionState
	written [][]byte
	onWrite func()
}

func (c *scriptedConn) Read(b []byte) (int, error) {
	if len(c.in) == 0 {
		return 0, c.end
	}
	if c.chunk > 0 {
		b = b[:min(c.chunk, len(b))]
	}
	n := copy(b, c.in)
	c.in = c.in[n:]
	return n, nil
}

func (c *scriptedConn) Write(b []byte) (int, error) {
	c.written = append(c.written, bytes.Clone(b))
	if len(c.written) == c.fail {
		return 0, io.ErrClosedPipe
	}
	if c.onWrite != nil {
		c.onWrite()
	}
	return len(b), nil
}

func (c *scriptedConn) SetDeadline(time.Time) error      { return nil }
func (c *scriptedConn) SetReadDeadline(time.Time) error  { return nil }
func (c *scriptedConn) SetWriteDeadline(time.Time) error { return nil }
func (c *scriptedConn) RemoteAddr() net.Addr {
	return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 4460}
}
func (c *scriptedConn) ConnectionState() tls.ConnectionState { return c.state }

// finished is the client's view of one real handshake, which yields keys as often as it is asked.
func finished(f *testing.F) tls.ConnectionState {
	f.Helper()
	ca := testca.New(f)
	conf := settings(nil)
	conf.Certificates = []tls.Certificate{ca.Leaf("time.test")}
	near, far := net.Pipe()
	server, client := tls.Server(far, conf), tls.Client(near, ClientTLS("time.test", ca.Pool(), nil))
	go func() { _ = server.Handshake() }()
	if err := client.Handshake(); err != nil {
		f.Fatal(err)
	}
	_, _ = near.Close(), far.Close()
	return client.ConnectionState()
}

// answered is what an answer says, read record by record without the code under test.
type answered struct {
	failed              bool
	keep                bool
	protocol, algorithm []byte
	protocols, aeads    int // records of that type
	cookies             [][]byte
	forbidden           bool
}

// read takes an answer apart; whole says that b is exactly one message.
func read(b []byte) (a answered, whole bool) {
	for len(b) >= 4 {
		t, n := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
		if len(b) < 4+n {
			return a, false
		}
		body := b[4 : 4+n]
		b = b[4+n:]
		switch t &^ 0x8000 {
		case 0:
			return a, len(b) == 0 && t == 0x8000 && n == 0
		case 1:
			a.protocol, a.protocols = body, a.protocols+1
		case 2:
			a.failed = true
		case 4:
			a.algorithm, a.aeads = body, a.aeads+1
		case 5:
			a.cookies = append(a.cookies, body)
		case 6, 7, 14, 1024, 0x4005:
		case 8, 0x4000:
			a.keep = true
		case 3, 9, 10, 11, 12, 13, 0x4001, 0x4002, 0x4003, 0x4004, 0x4006:
			a.forbidden = true
		default:
			a.forbidden = a.forbidden || t&0x8000 != 0
		}
	}
	return a, false
}

// The bits of FuzzServerSession's mode.
const (
	modeToken   = 1 << iota // the token fuzzToken is configured
	modeLeaf                // the peer's certificate is listed
	modeNoOld               // old numbers are off
	modeNoKeys              // no cookie keys are loaded
	modeFull                // every place for kept connections is taken
	modeTimeout             // the stream ends with a timeout instead of an end of file
	modeStop                // the server is asked to stop after the first answer
	modeName                // an NTP server name is configured
)

const (
	fuzzToken    = "a token for the fuzzer"
	fuzzRequests = 6 // MaxRequests of the server
)

// serverRun is one connection to a fuzzed server and what came of it.
type serverRun struct {
	srv     *Server
	set     *nts.KeySet
	conn    *scriptedConn
	exports []nts.Keys
	mode    uint8
}

// fuzzKeys are what the TLS session of the fuzzed server yields.
func fuzzKeys(p record.Protocol, a aead.Algorithm) nts.Keys {
	n, _ := a.KeySize()
	return nts.Keys{Algorithm: a, C2S: bytes.Repeat([]byte{byte(p), 1}, n/2), S2C: bytes.Repeat([]byte{byte(p), 2}, n/2)}
}

// serve lets the server have everything scripted.
func serve(set *nts.KeySet, in []byte, mode, chunk, fail uint8) *serverRun {
	run := &serverRun{set: set, mode: mode, conn: &scriptedConn{in: in, chunk: int(chunk), fail: int(fail), end: io.EOF}}
	if mode&modeTimeout != 0 {
		run.conn.end = os.ErrDeadlineExceeded
	}
	leaf := []byte("a certificate")
	conf := ServerConfig{
		KeySet: func() *nts.KeySet { return set }, Rand: rand.NewChaCha8([32]byte{1}), Log: zerolog.Nop(),
		NoOldNumbers: mode&modeNoOld != 0, LongLived: 1, MaxRequests: fuzzRequests,
	}
	if mode&modeToken != 0 {
		conf.Tokens = func() []secret.Bytes { return []secret.Bytes{nil, secret.Bytes(fuzzToken)} }
	}
	if mode&modeLeaf != 0 {
		conf.PoolLeaves = func() [][]byte { return [][]byte{leaf} }
	}
	if mode&modeNoKeys != 0 {
		conf.KeySet = func() *nts.KeySet { return nil }
	}
	if mode&modeName != 0 {
		conf.NTPServer, conf.NTPPort = "ntp.test", 1123
	}
	run.srv = NewServer(conf)
	if mode&modeFull != 0 {
		run.srv.longLived <- struct{}{}
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if mode&modeStop != 0 {
		run.conn.onWrite = cancel
	}
	x := &serverSession{
		s: run.srv, c: &accept.Conn{Conn: run.conn}, conn: run.conn, leaf: leaf, closeNotify: func() error { return nil },
		reader: NewReader(run.conn, record.RequestLimits),
	}
	x.move(run.srv.workspaces.take())
	x.export = func(p record.Protocol, a aead.Algorithm) (nts.Keys, error) {
		keys := fuzzKeys(p, a)
		run.exports = append(run.exports, fuzzKeys(p, a))
		return keys, nil
	}
	if x.first(ctx, time.Now()) {
		x.keep(ctx, time.Now())
	}
	x.writeFailed = true // nobody is there for close_notify
	x.close()
	return run
}

// privileged is the rule for pool requests, in the words of the configuration.
func (r *serverRun) privileged(req *record.Request) bool {
	return r.mode&modeLeaf != 0 || r.mode&modeToken != 0 && string(req.Token) == fuzzToken
}

// judge follows the stream message by message and demands the answer that each deserves.
func (r *serverRun) judge(t *testing.T, in []byte) {
	t.Helper()
	silent, kept, served := false, false, 0
	i := 0
	for ; ; i++ {
		framer := record.Framer{Limits: record.RequestLimits}
		n, fault := framer.Scan(in)
		stopping := kept && r.mode&modeStop != 0 && len(in) == 0
		if fault == record.Truncated && (r.mode&modeTimeout == 0 || kept && len(in) == 0) || stopping {
			silent = true // the peer went away, or was quiet where it may be
			break
		}
		if i == len(r.conn.written) {
			t.Fatalf("message %d was not answered", i)
		}
		msg := r.conn.written[i]
		if fault != record.None {
			r.demand(t, msg, record.CodeBadRequest)
			i++
			break
		}
		last := i+1 >= fuzzRequests || i > 0 && r.mode&modeStop != 0
		keep, cookies := r.answer(t, in[:n], msg, kept, last)
		kept = kept || keep
		served += cookies
		in = in[n:]
		if i+1 == r.conn.fail || !keep {
			i++
			break
		}
	}
	if len(r.conn.written) != i {
		t.Fatalf("%d messages written, %d owed", len(r.conn.written), i)
	}
	r.balance(t, i, silent, served)
}

// demand checks that an answer is the error.
func (r *serverRun) demand(t *testing.T, msg []byte, code record.ErrorCode) {
	t.Helper()
	if want := record.AppendError(nil, code); !bytes.Equal(msg, want) {
		t.Fatalf("answer %x, want %x", msg, want)
	}
}

// answer checks one answer against its request and returns whether it grants Keep Alive and how many plain
// requests it served.
func (r *serverRun) answer(t *testing.T, request, msg []byte, kept, last bool) (keep bool, plain int) {
	t.Helper()
	req, fault := record.ParseRequest(request, record.Rules{NoOldNumbers: r.mode&modeNoOld != 0})
	a, whole := read(msg)
	support := fault == record.None && req.Kind == record.Support
	if !whole || a.forbidden && !support {
		t.Fatalf("answer %x", msg)
	}
	pool := fault == record.None && req.Kind != record.Plain
	if a.keep && (!pool || !req.KeepAlive || !r.privileged(&req) || last || r.mode&modeFull != 0) {
		t.Fatalf("keep alive for %x", request)
	}
	if bytes.Contains(msg, []byte(fuzzToken)) || len(req.Keys) > 8 && bytes.Contains(msg, req.Keys) {
		t.Fatalf("a secret in the answer %x", msg)
	}
	switch {
	case fault != record.None:
		r.demand(t, msg, fault.Code())
	case pool && !r.privileged(&req):
		r.demand(t, msg, refusal(req.Dialect))
	case !pool && kept:
		r.demand(t, msg, record.CodeBadRequest)
	case support:
		if a.failed || len(a.cookies) != 0 {
			t.Fatalf("lists %x", msg)
		}
	default:
		plain = r.cookies(t, &req, &a)
	}
	return a.keep, plain
}

// cookies checks the answer to a request that may get some: eight, for the right keys, or none and a reason.
func (r *serverRun) cookies(t *testing.T, req *record.Request, a *answered) (plain int) {
	t.Helper()
	common := slices.Contains(req.Protocols, record.NTPv4) && slices.ContainsFunc(req.Algorithms, func(x aead.Algorithm) bool {
		return slices.Contains(r.srv.cfg.Algorithms, x)
	})
	if len(a.cookies) == 0 {
		if common && r.mode&modeNoKeys == 0 {
			t.Fatalf("no cookies for a good request, %+v", req)
		}
		return 0
	}
	if !common || r.mode&modeNoKeys != 0 || a.failed || len(a.cookies) != 8 || a.protocols != 1 || a.aeads != 1 || len(a.algorithm) != 2 ||
		!bytes.Equal(a.protocol, []byte{0, 0}) {
		t.Fatalf("%d cookies, %+v", len(a.cookies), a)
	}
	chosen := aead.Algorithm(binary.BigEndian.Uint16(a.algorithm))
	want := fuzzKeys(record.NTPv4, chosen)
	if req.Kind == record.FixedKey {
		n := len(req.Keys) / 2
		want = nts.Keys{Algorithm: req.Algorithms[0], C2S: req.Keys[:n], S2C: req.Keys[n:]}
	} else {
		plain = 1
	}
	if !slices.Contains(req.Algorithms, chosen) || chosen != want.Algorithm {
		t.Fatalf("%v was not offered", chosen)
	}
	sealer := nts.NewSealer()
	for _, c := range a.cookies {
		var got nts.Keys
		if !sealer.Open(r.set, c, &got) || got.Algorithm != want.Algorithm || !got.C2S.Equal(want.C2S) || !got.S2C.Equal(want.S2C) {
			t.Fatalf("cookie %x holds other keys", c)
		}
	}
	return plain
}

// balance checks that every request and the end of the connection were counted once, keys were exported for plain
// answers only, and the place of the connection is free again.
func (r *serverRun) balance(t *testing.T, answers int, silent bool, served int) {
	t.Helper()
	c := r.srv.counts.read()
	sum := 0
	for _, n := range c.Outcomes {
		sum += int(n)
	}
	want := answers
	if silent {
		want++
	}
	if sum != want || c.Kept != 0 {
		t.Fatalf("%d outcomes for %d answers, silent end %v; %d kept", sum, answers, silent, c.Kept)
	}
	allowed := served
	if r.mode&modeNoKeys != 0 {
		allowed = 1 // exported before it is known that no cookie can be made
	}
	if len(r.exports) > allowed || served > 1 {
		t.Fatalf("%d exports for %d plain answers", len(r.exports), served)
	}
	places := 0
	if r.mode&modeFull != 0 {
		places = 1
	}
	if len(r.srv.longLived) != places {
		t.Fatalf("%d places taken at the end", len(r.srv.longLived))
	}
}

// serverSeeds are requests of every kind and what can follow on a kept connection.
func serverSeeds(f *testing.F) []string {
	token := "000e0016" + hex.EncodeToString([]byte(fuzzToken))
	swap := strings.NewReplacer("000e0002 6869", token, "40050002 6869", strings.Replace(token, "000e", "4005", 1))
	lists, lists40, fixed, fixed40 := swap.Replace(hexV5), swap.Replace(hexV6), swap.Replace(hexV11), swap.Replace(hexV12)
	return []string{
		hexKS01, hexNP + "80040006 001e000f0011 04000000" + hexEOM, hexNP + "80040002 001e" + hexEOM, "80010002 8001" + hexEOM,
		hexNP + "80040002 0063" + hexEOM, hexEOM, "80010002", hexNP + hexAE15 + "c1230000" + hexEOM, hexKS01 + hexKS01,
		lists, lists40, hexV7, fixed, fixed40, hexV13, lists + fixed, lists + fixed + fixed, fixed + hexKS01, fixed + lists + "8001",
		lists + lists40 + fixed40 + fixed, strings.Repeat(lists, 8), fixed + hexV13, lists + hexV5, "8004ffff", lists + "8004ffff",
		hexV7[:len(hexV7)-8] + "40000000" + hexEOM + "c0020040" + hexK + hexNP + "00040002 000f" + hexEOM,
		strings.Replace(lists, "80090000", "800b0000", 1), strings.Repeat("05550000", 256) + hexEOM,
	}
}

// FuzzServerSession drives a server behind TLS with a stream of bytes: several messages, cut anywhere, from peers with
// and without privileges. Every message gets the one answer it deserves, in one write; cookies only for a valid
// request and only with its keys; the connection goes on only where that was granted.
func FuzzServerSession(f *testing.F) {
	for _, s := range serverSeeds(f) {
		for _, mode := range []uint8{0, modeToken, modeLeaf | modeName, modeToken | modeTimeout, modeLeaf | modeNoOld} {
			f.Add(wire(f, s), mode, uint8(0), uint8(0))
		}
	}
	twice := wire(f, strings.Repeat(serverSeeds(f)[9], 2))
	for _, mode := range []uint8{modeToken | modeFull, modeToken | modeStop, modeToken | modeNoKeys, modeToken | modeStop | modeTimeout} {
		f.Add(twice, mode, uint8(1), uint8(2))
		f.Add(append(twice[:len(twice):len(twice)], wire(f, serverSeeds(f)[12])...), mode, uint8(7), uint8(0))
		f.Add(wire(f, hexKS01), mode, uint8(3), uint8(1))
	}
	set := testKeySet(f)
	f.Fuzz(func(t *testing.T, in []byte, mode, chunk, fail uint8) {
		serve(set, in, mode, chunk, fail).judge(t, in)
	})
}

// FuzzClientExchange gives a client an arbitrary answer after its request: either an error that is safe to print, or a
// session whose first request has a cookie of the answer. It writes once and reads no more than its cap.
func FuzzClientExchange(f *testing.F) {
	state := finished(f)
	for _, s := range []string{
		hexNP + hexAE15 + hexCookie + hexEOM, hexNP + "80040002 001e 04000000" + hexCookie + hexEOM, hexNP + "80040002 001e" + hexCookie + hexEOM,
		hexNP + hexAE15 + hexCookie + "80060009 74696d652e74657374 80070002 007b" + hexEOM, hexNP + hexAE15 + hexEOM, hexErr0, hexErr1, hexErr2,
		hexNP + hexAE15 + hexCookie + "80060004 2e2e2f2f" + hexEOM, "80010000" + hexEOM, hexNP + "80040000" + hexEOM, "80030002 0001" + hexEOM,
		hexNP + hexAE15 + strings.Repeat(hexCookie, 9) + hexEOM, hexNP + hexAE15 + "00050000" + hexEOM, hexNP + hexAE15 + hexCookie + hexEOM + "00",
		hexNP + hexAE15 + hexCookie + "80070002 0000" + hexEOM, hexNP + hexAE15 + hexCookie + "00080000 c123 0000" + hexEOM, "8001ffff", "",
	} {
		f.Add(wire(f, s), uint8(0), uint8(0))
		f.Add(wire(f, s), uint8(3), uint8(3))
	}
	f.Fuzz(func(t *testing.T, in []byte, chunk, mode uint8) {
		conn := &scriptedConn{in: in, chunk: int(chunk), end: io.EOF, state: state}
		if mode&1 != 0 {
			conn.end = os.ErrDeadlineExceeded
		}
		c := ClientConfig{Address: "time.test", Algorithms: DefaultAlgorithms()}
		if mode&2 != 0 {
			c.Algorithms, c.Denied = []aead.Algorithm{aead.SIVCMAC256}, []string{"a.test", string(in)}
		}
		r, err := ask(conn, time.Now(), &c)
		if len(conn.written) != 1 || len(conn.written[0]) > record.MaxUserRequest {
			t.Fatalf("%d writes", len(conn.written))
		}
		if req, fault := record.ParseRequest(conn.written[0], record.Rules{FrontEnd: true}); fault != record.None && mode&2 == 0 || req.Kind != record.Plain {
			t.Fatalf("request %x: %v", conn.written[0], fault)
		}
		if n := len(in) - len(conn.in); n > record.ResponseLimits.Bytes+firstBuffer {
			t.Fatalf("%d bytes read", n)
		}
		if err != nil {
			checkRefused(t, r, err)
			return
		}
		checkAccepted(t, in[:len(in)-len(conn.in)], &c, r)
	})
}

// checkRefused checks that an error comes alone and is fit to print.
func checkRefused(t *testing.T, r Result, err error) {
	t.Helper()
	if r.Session != nil || r != (Result{}) {
		t.Fatalf("%v and a result", err)
	}
	for _, b := range []byte(err.Error()) {
		if b < ' ' || b > '~' {
			t.Fatalf("error %q", err.Error())
		}
	}
}

// checkAccepted checks a result against the bytes that were read.
func checkAccepted(t *testing.T, in []byte, c *ClientConfig, r Result) {
	t.Helper()
	a, whole := read(in)
	if !whole || a.failed || a.forbidden || a.protocols != 1 || a.aeads != 1 || !bytes.Equal(a.protocol, []byte{0, 0}) || len(a.algorithm) != 2 {
		t.Fatalf("accepted %x: %+v", in, a)
	}
	if chosen := aead.Algorithm(binary.BigEndian.Uint16(a.algorithm)); chosen != r.Algorithm || !slices.Contains(c.Algorithms, chosen) {
		t.Fatalf("algorithm %v, answered %v", r.Algorithm, chosen)
	}
	if r.Port == 0 || !record.ValidServer(r.Server) || r.ServerGiven != (r.Server != c.Address) && !r.ServerGiven || !r.Remote.IsValid() {
		t.Fatalf("result %q %d", r.Server, r.Port)
	}
	held := r.Session.Cookies()
	uid := bytes.Repeat([]byte{7}, 32)
	pkt, err := r.Session.AppendRequest(make([]byte, 48), uid, rand.NewChaCha8([32]byte{}))
	if err != nil || held < 1 || held > 8 || held > len(a.cookies) || len(pkt) > 1232 {
		t.Fatalf("%d of %d cookies, request of %d bytes, %v", held, len(a.cookies), len(pkt), err)
	}
	pkt[0] = 0x23
	var fields ntp.Fields
	if err := fields.Trailer(pkt, 4); err != nil {
		t.Fatal(err)
	}
	for _, field := range fields.All() {
		if field.Type == ntp.FieldCookie && !slices.ContainsFunc(a.cookies, func(b []byte) bool { return bytes.HasPrefix(field.Value, b) }) {
			t.Fatalf("cookie %x is not from the answer", field.Value)
		}
	}
}
