package assoc

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"ntp-daemon/internal/config"
	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/nts"
	"ntp-daemon/internal/nts/aead"
	"ntp-daemon/internal/nts/ke"
	"ntp-daemon/internal/resolve"
	"ntp-daemon/internal/system"
)

// seeded is reproducible randomness for several goroutines.
type seeded struct {
	mu sync.Mutex
	r  *rand.ChaCha8
}

func newSeeded(seed byte) *seeded { return &seeded{r: rand.NewChaCha8([32]byte{seed})} }

func (d *seeded) Read(b []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.r.Read(b)
}

// bubbleClock shows the time of the synctest bubble.
type bubbleClock struct{}

func (bubbleClock) Now() ntp.Timestamp { return ntp.FromTime(time.Now()) }
func (bubbleClock) Epoch() uint64      { return 3 }

// host is a server in the fake network: it answers a request, or not.
type host func(pkt []byte) []byte

// network connects tasks to hosts; every reply takes 10 ms, unless the path is a longer one.
type network struct {
	mu    sync.Mutex
	hosts map[netip.AddrPort]host
	sent  map[netip.AddrPort][]time.Time // requests by destination
	fail  error                          // what Send returns, nil normally
	socks int                            // open
	trip  time.Duration                  // of every reply, 0: 10 ms
}

func (n *network) set(addr string, h host) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hosts[netip.MustParseAddrPort(addr)] = h
}

func (n *network) setFail(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.fail = err
}

func (n *network) requests(addr string) []time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.sent[netip.MustParseAddrPort(addr)])
}

func (n *network) dial(remote netip.AddrPort) (Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.socks++
	return &fakeConn{n: n, remote: remote, in: make(chan []byte, 4)}, nil
}

type fakeConn struct {
	n      *network
	remote netip.AddrPort
	in     chan []byte
}

func (c *fakeConn) Send(b []byte) error {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	c.n.sent[c.remote] = append(c.n.sent[c.remote], time.Now())
	if c.n.fail != nil {
		return c.n.fail
	}
	if h := c.n.hosts[c.remote]; h != nil {
		if reply := h(bytes.Clone(b)); reply != nil {
			time.AfterFunc(cmp.Or(c.n.trip, 10*time.Millisecond), func() { c.in <- reply })
		}
	}
	return nil
}

func (c *fakeConn) Receive(ctx context.Context, buf []byte) (int, netip.AddrPort, ntp.Stamp, error) {
	select {
	case b := <-c.in:
		return copy(buf, b), c.remote, ntp.Stamp{Time: bubbleClock{}.Now(), Origin: ntp.OriginKernel}, nil
	case <-ctx.Done():
		return 0, netip.AddrPort{}, ntp.Stamp{}, ctx.Err()
	}
}

func (c *fakeConn) LocalAddr() netip.AddrPort { return netip.MustParseAddrPort("198.51.100.1:40000") }

func (c *fakeConn) TxStamp() (ntp.Stamp, bool) { return ntp.Stamp{}, false }

func (c *fakeConn) Close() error {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	c.n.socks--
	return nil
}

// answer is a good plain reply header to a request.
func answer(q ntp.Header) ntp.Header {
	now := bubbleClock{}.Now().Add(5 * time.Millisecond)
	return ntp.Header{
		Version: 4, Mode: ntp.ModeServer, Stratum: 2, Precision: -20, RootDelay: 0x100, RootDispersion: 0x80,
		Origin: q.Transmit, Receive: now, Transmit: now, Reference: now,
	}
}

// plainHost answers plain requests.
func plainHost(pkt []byte) []byte {
	q, _ := ntp.ParseHeader(pkt)
	h := answer(q)
	return h.AppendTo(nil)
}

// kissHost answers with a kiss code.
func kissHost(code ntp.KissCode) host {
	return func(pkt []byte) []byte {
		q, _ := ntp.ParseHeader(pkt)
		h := answer(q)
		h.Stratum, h.RefID, h.Leap = 0, code, ntp.LeapUnknown
		return h.AppendTo(nil)
	}
}

// secureHost is an NTS server with its own cookie keys; forget makes it lose them.
type secureHost struct {
	mu     sync.Mutex
	keys   *nts.KeySet
	to     time.Time // end of the certificate's validity, zero if it has none
	sealer *nts.Sealer
	rnd    io.Reader
}

func newSecureHost(seed byte) *secureHost {
	s := &secureHost{sealer: nts.NewSealer(), rnd: newSeeded(seed)}
	s.forget()
	return s
}

func (s *secureHost) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	k, err := nts.NewMasterKey(s.rnd)
	if err != nil {
		panic(err)
	}
	s.keys = nts.NewKeySet(k, 0)
}

func (s *secureHost) host(pkt []byte) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	var f ntp.Fields
	var r nts.Request
	q, _ := ntp.ParseHeader(pkt)
	if f.Trailer(pkt, 4) != nil {
		return nil
	}
	switch r.Open(pkt, &f, s.keys, s.sealer) {
	case nts.Valid:
		h := answer(q)
		out, _ := r.AppendResponse(h.AppendTo(nil), s.keys, s.sealer, s.rnd, len(pkt))
		return out
	case nts.SendNAK:
		return r.AppendNAK(nil, &q)
	}
	return nil
}

// session is what a key exchange with the server gives.
func (s *secureHost) session() *nts.Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := nts.Keys{Algorithm: aead.SIVCMAC256, C2S: make([]byte, 32), S2C: make([]byte, 32)}
	_, _ = s.rnd.Read(k.C2S)
	_, _ = s.rnd.Read(k.S2C)
	var cookies [][]byte
	for range 8 {
		cookies = append(cookies, s.sealer.Seal(nil, s.keys, &k, s.rnd))
	}
	p := nts.SessionParams{Keys: k, Cookies: cookies}
	if !s.to.IsZero() {
		p.NotBefore, p.NotAfter = s.to.Add(-time.Hour), s.to
	}
	n, err := nts.NewSession(p)
	if err != nil {
		panic(err)
	}
	return n
}

// names is a fake resolver. A name without entry does not exist.
type names struct {
	mu    sync.Mutex
	table map[string][]string
	asked map[string][]time.Time
	hang  bool
	fail  error // what every look-up returns, nil normally
}

var errNoName = errors.New("no such host")

func (n *names) set(name string, addrs ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.table[name] = addrs
}

func (n *names) failing(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.fail = err
}

func (n *names) Lookup(ctx context.Context, name string, port uint16) (resolve.Answer, error) {
	n.mu.Lock()
	addrs, ok := n.table[name]
	if port == 4460 && !ok && n.fail == nil { // a key exchange server is found unless the test is about that
		n.mu.Unlock()
		return resolve.Answer{Addrs: []netip.AddrPort{netip.AddrPortFrom(netip.MustParseAddr("192.0.2.250"), port)}}, nil
	}
	n.asked[name] = append(n.asked[name], time.Now())
	hang, fail := n.hang, n.fail
	n.mu.Unlock()
	if fail != nil {
		return resolve.Answer{}, fmt.Errorf("look up %q: %w", name, fail)
	}
	if hang {
		<-ctx.Done()
		return resolve.Answer{}, ctx.Err()
	}
	var a resolve.Answer
	for _, s := range addrs {
		addr := netip.MustParseAddr(s)
		if addr.IsMulticast() {
			a.Refused = append(a.Refused, resolve.Refusal{Addr: addr, Reason: resolve.Multicast})
			continue
		}
		a.Addrs = append(a.Addrs, netip.AddrPortFrom(addr, port))
	}
	if !ok || len(a.Addrs) == 0 {
		return a, errNoName
	}
	return a, nil
}

func (n *names) times(name string) []time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.asked[name])
}

// exchanges is a fake key exchange.
type exchanges struct {
	mu    sync.Mutex
	at    []time.Time
	asked []ke.ClientConfig
	do    func(n int, c ke.ClientConfig) (ke.Result, error) // n counts from 1
}

func (e *exchanges) exchange(ctx context.Context, c ke.ClientConfig) (ke.Result, error) {
	e.mu.Lock()
	e.at = append(e.at, time.Now())
	e.asked = append(e.asked, c)
	n, do := len(e.at), e.do
	e.mu.Unlock()
	if do == nil {
		return ke.Result{}, errors.New("connection refused")
	}
	return do(n, c)
}

func (e *exchanges) times() []time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.at)
}

func (e *exchanges) set(do func(n int, c ke.ClientConfig) (ke.Result, error)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.do = do
}

// recorder collects what the timekeeper would hear.
type recorder struct {
	mu     sync.Mutex
	events []event
	advice map[ntp.SourceID]chan<- ntp.Advice
}

type event struct {
	at time.Time
	system.Event
}

func (d *recorder) read(inbox <-chan Message) {
	for m := range inbox {
		d.mu.Lock()
		d.events = append(d.events, event{time.Now(), m.Event})
		if a, ok := m.Event.(system.Added); ok {
			d.advice[a.ID] = m.Advice
		}
		d.mu.Unlock()
	}
}

// of returns the events of one type.
func of[E system.Event](d *recorder) (out []E) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range d.events {
		if x, ok := e.Event.(E); ok {
			out = append(out, x)
		}
	}
	return out
}

// alive lists the addresses of the sources added and not removed, sorted.
func (d *recorder) alive() string {
	var list []string
	gone := map[ntp.SourceID]bool{}
	for _, r := range of[system.Removed](d) {
		gone[r.ID] = true
	}
	for _, a := range of[system.Added](d) {
		if !gone[a.ID] {
			list = append(list, a.Address.String())
		}
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

// measured counts the measurements of a source.
func (d *recorder) measured(id ntp.SourceID) (n int) {
	for _, m := range of[system.Measured](d) {
		if m.Source == id {
			n++
		}
	}
	return n
}

// logRecorder is a log that several goroutines write.
type logRecorder struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logRecorder) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// lines returns the messages at or above info level that contain text.
func (l *logRecorder) lines(text string) (out []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.b.String()) {
		var f map[string]any
		if json.Unmarshal([]byte(line), &f) == nil && f["level"] != "debug" && strings.Contains(line, text) {
			out = append(out, line)
		}
	}
	return out
}

// testbed is everything around a supervisor.
type testbed struct {
	net      *network
	names    *names
	ke       *exchanges
	recorder *recorder
	log      *logRecorder
	inbox    chan Message
	claims   *Claims
	statuses *Statuses
	changes  *Network
	nextID   ntp.SourceID
	idMu     sync.Mutex
	cancel   context.CancelFunc
	ctx      context.Context
	wg       sync.WaitGroup

	time      func() time.Time // what the clock shows, nil: the bubble's
	bootstrap *Bootstrap
}

// bubble runs a test in a synctest bubble: a minute costs nothing, and a goroutine that outlives the test fails it.
func bubble(t *testing.T, test func(t *testing.T, r *testbed)) {
	synctest.Test(t, func(t *testing.T) {
		r := &testbed{
			net:      &network{hosts: map[netip.AddrPort]host{}, sent: map[netip.AddrPort][]time.Time{}},
			names:    &names{table: map[string][]string{}, asked: map[string][]time.Time{}},
			ke:       &exchanges{},
			recorder: &recorder{advice: map[ntp.SourceID]chan<- ntp.Advice{}},
			log:      &logRecorder{},
			inbox:    make(chan Message, 4),
			claims:   NewClaims(), statuses: NewStatuses(), changes: NewNetwork(),
		}
		r.ctx, r.cancel = context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); r.recorder.read(r.inbox) }()
		defer func() { // also after a Fatal, so that the bubble can end
			r.cancel()
			r.wg.Wait()
			close(r.inbox)
			<-done
		}()
		test(t, r)
		r.cancel()
		r.wg.Wait()
		if r.net.socks != 0 {
			t.Errorf("%d sockets left open", r.net.socks)
		}
		if len(r.claims.inUse) != 0 {
			t.Errorf("addresses still claimed: %v", r.claims.inUse)
		}
		if len(r.statuses.of) != 0 {
			t.Errorf("associations still shown: %v", r.statuses.of)
		}
		if m := r.statuses.Missing(); m != nil {
			t.Errorf("missing sources still shown: %v", m)
		}
		if p := r.statuses.Pools(); p != nil {
			t.Errorf("pools still shown: %v", p)
		}
	})
}

// supervise starts a supervisor.
func (r *testbed) supervise(t *testing.T, src config.Source) {
	t.Helper()
	r.superviseWith(t, src, r.deps(), "")
}

// superviseWith starts one with an outside world of its own; its error shall be fault, or nil if that is empty.
func (r *testbed) superviseWith(t *testing.T, src config.Source, d Deps, fault string) {
	t.Helper()
	r.wg.Go(func() {
		if err := Supervise(r.ctx, withPolls(src), 1, d); (err == nil) != (fault == "") || err != nil && err.Error() != fault {
			t.Errorf("supervise: %v, want %q", err, fault)
		}
	})
}

// withPolls fills in what every test leaves out.
func withPolls(src config.Source) config.Source {
	if src.PollMax == 0 {
		src.PollMin, src.PollMax, src.PollInitial = 4, 10, 4
	}
	return src
}

// nobody lists the addresses of a host that has none of those in the tests.
func nobody() []netip.Addr { return nil }

// bubbleAlarm is an alarm in the time of the synctest bubble.
type bubbleAlarm struct{ timer *time.Timer }

func newBubbleAlarm() Alarm { return &bubbleAlarm{} }

func (a *bubbleAlarm) Set(d time.Duration, f func()) {
	a.Stop()
	a.timer = time.AfterFunc(d, f)
}

func (a *bubbleAlarm) Stop() {
	if a.timer != nil {
		a.timer.Stop()
	}
}

func (a *bubbleAlarm) Close() { a.Stop() }

// deps is the outside world of a supervisor.
func (r *testbed) deps() Deps {
	return Deps{
		Clock: bubbleClock{}, Resolve: r.names, Exchange: r.ke.exchange, Own: nobody, Dial: r.net.dial, Rand: newSeeded(1),
		Log: zerolog.New(r.log), Inbox: r.inbox, Claims: r.claims, Statuses: r.statuses,
		Time: r.time, Bootstrap: r.bootstrap, Network: r.changes, NewAlarm: newBubbleAlarm,
		NextID: func() ntp.SourceID {
			r.idMu.Lock()
			defer r.idMu.Unlock()
			r.nextID++
			return r.nextID
		},
	}
}

// pass lets time go by until everybody waits.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// errNoRoute is what a host without network sees.
var errNoRoute = syscall.ENETUNREACH

// denyHost answers with an authenticated DENY.
func (s *secureHost) denyHost(pkt []byte) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	var f ntp.Fields
	var r nts.Request
	q, _ := ntp.ParseHeader(pkt)
	if f.Trailer(pkt, 4) != nil || r.Open(pkt, &f, s.keys, s.sealer) != nts.Valid {
		return nil
	}
	h := answer(q)
	h.Stratum, h.RefID, h.Leap = 0, ntp.KissDENY, ntp.LeapUnknown
	out, _ := r.AppendResponse(h.AppendTo(nil), s.keys, s.sealer, s.rnd, len(pkt))
	return out
}
