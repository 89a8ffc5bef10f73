package daemon

import (
	"fmt"
	"net/netip"
	"runtime"
	"runtime/metrics"
	"slices"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"ntp-daemon/internal/ntp"
	"ntp-daemon/internal/nts"
	"ntp-daemon/internal/nts/aead"
	"ntp-daemon/internal/server"
	"ntp-daemon/internal/udp"
)

// meter reads the CPU time of the worker's thread whenever it comes back for more.
type meter struct {
	*udp.Server
	used atomic.Int64 // ns
}

func (m *meter) Receive(b *udp.Batch) error {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts)
	m.used.Store(ts.Nano())
	return m.Server.Receive(b)
}

// generator sends one request over and over and counts what comes back, in a closed loop.
type generator struct {
	fd       int
	out, in  [batch]unix.Mmsghdr
	vec, got [batch]unix.Iovec
	buf      [batch][ntp.MaxPacket]byte
}

const (
	batch  = 32
	window = 256 // requests in flight
)

func newGenerator(b *testing.B, to netip.AddrPort, request []byte) *generator {
	b.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = unix.Close(fd) })
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 4<<20)
	tv := unix.NsecToTimeval(int64(50 * time.Millisecond)) // after a loss the window is filled anew
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv)
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}); err != nil {
		b.Fatal(err)
	}
	g := &generator{fd: fd}
	for i := range g.out {
		g.vec[i].Base = &request[0]
		g.vec[i].SetLen(len(request))
		g.out[i].Hdr.Iov = &g.vec[i]
		g.out[i].Hdr.SetIovlen(1)
		g.got[i].Base = &g.buf[i][0]
		g.got[i].SetLen(len(g.buf[i]))
		g.in[i].Hdr.Iov = &g.got[i]
		g.in[i].Hdr.SetIovlen(1)
	}
	return g
}

func (g *generator) send(n int) (sent int) {
	for sent < n {
		k, _, e := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(g.fd), uintptr(unsafe.Pointer(&g.out[0])), uintptr(min(n-sent, batch)), 0, 0, 0)
		if e != 0 {
			return sent
		}
		sent += int(k)
	}
	return sent
}

// run returns after n answers.
func (g *generator) run(n int) {
	flying := 0
	for n > 0 {
		if want := min(window, n) - flying; want >= batch || flying == 0 {
			flying += g.send(want)
		}
		k, _, e := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(g.fd), uintptr(unsafe.Pointer(&g.in[0])), batch, unix.MSG_WAITFORONE, 0, 0)
		if e != 0 {
			flying = 0
			continue
		}
		flying = max(flying-int(k), 0)
		n -= int(k)
	}
}

// benchmarkWorker measures answers over the loopback interface: ns/op is the whole loop, generator included and
// on another core; cpu-ns/answer is what the worker's thread spent, kernel and the way into the generator's
// socket included.
func benchmarkWorker(b *testing.B, request []byte, keys *nts.KeySet, rnd *counterRand) {
	before := runtime.GOMAXPROCS(0)
	defer runtime.GOMAXPROCS(before)
	provision(runtime.NumCPU(), 0)
	var m *meter
	s := serve(b, server.Config{Rand: rnd}, func(w *worker) {
		m = &meter{Server: w.socket.(*udp.Server)}
		w.socket = m
	})
	s.keys.Store(keys)
	g := newGenerator(b, s.address, request)
	g.run(2000)
	idle, start := m.used.Load(), time.Now()
	b.ResetTimer()
	g.run(b.N)
	b.StopTimer()
	elapsed := time.Since(start)
	b.ReportMetric(float64(m.used.Load()-idle)/float64(b.N), "cpu-ns/answer")
	b.ReportMetric(float64(b.N)/elapsed.Seconds(), "answers/s")
	if sum := s.totals(); sum.Accepted != sum.Received {
		b.Errorf("%+v", sum)
	}
}

// counterRand is a cheap source of nonces.
type counterRand uint64

func (r *counterRand) Read(p []byte) (int, error) {
	for i := range p {
		*r++
		p[i] = byte(*r * 0x9e3779b97f4a7c15 >> 56)
	}
	return len(p), nil
}

func BenchmarkWorker_Plain(b *testing.B) {
	request := make([]byte, 48)
	request[0] = 0x23
	benchmarkWorker(b, request, nil, new(counterRand))
}

func BenchmarkWorker_NTS(b *testing.B) {
	for _, a := range []aead.Algorithm{aead.SIVCMAC256, aead.GCMSIV128} {
		b.Run(fmt.Sprintf("AEAD%d", a), func(b *testing.B) {
			rnd := new(counterRand)
			request, keys := ntsRequest(b, a, rnd)
			benchmarkWorker(b, request, keys, rnd)
		})
	}
}

// ntsRequest makes a request with one cookie and no placeholder, and the keys it is good for.
func ntsRequest(t testing.TB, a aead.Algorithm, rnd *counterRand) ([]byte, *nts.KeySet) {
	t.Helper()
	master, err := nts.NewMasterKey(rnd)
	if err != nil {
		t.Fatal(err)
	}
	set := nts.NewKeySet(master, 1)
	n, _ := a.KeySize()
	keys := nts.Keys{Algorithm: a, C2S: make([]byte, n), S2C: make([]byte, n)}
	_, _ = rnd.Read(keys.C2S)
	var cookies [][]byte
	for range 8 {
		cookies = append(cookies, nts.NewSealer().Seal(nil, set, &keys, rnd))
	}
	session, err := nts.NewSession(nts.SessionParams{Keys: keys, Cookies: cookies})
	if err != nil {
		t.Fatal(err)
	}
	header := make([]byte, 48)
	header[0] = 0x23
	request, err := session.AppendRequest(header, make([]byte, 32), rnd)
	if err != nil {
		t.Fatal(err)
	}
	return request, set
}

func TestWorker_NTS(t *testing.T) {
	rnd := new(counterRand)
	request, keys := ntsRequest(t, aead.SIVCMAC256, rnd)
	s := serve(t, server.Config{Rand: rnd, RequireNTS: server.Ignore}, nil)
	s.keys.Store(keys)
	c, err := udp.Dial(s.address, hostClock, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Send(request); err != nil {
		t.Fatal(err)
	}
	s.await(t, "one NTS answer", func(sum server.Totals) bool { return sum.NTSAccepted == 1 })
}

// What the kernel drops while nobody receives is counted, summed over the sockets of the address.
func TestListener_Dropped(t *testing.T) {
	sockets, err := udp.Listen(udp.ListenConfig{
		Address: netip.MustParseAddrPort("127.0.0.1:0"), Sockets: 2, Clock: udp.Clock{Now: hostClock},
	})
	if err != nil {
		t.Fatal(err)
	}
	var workers []*worker
	for _, s := range sockets {
		workers = append(workers, &worker{socket: s})
		defer s.Close()
	}
	l := &listener{}
	l.workers.Store(&workers)
	if n := l.dropped(); n != 0 {
		t.Errorf("%d dropped at the start", n)
	}
	for range 2 { // each client port hashes to one socket: fill both, or one twice
		c, err := udp.Dial(sockets[0].LocalAddr(), hostClock, nil)
		if err != nil {
			t.Fatal(err)
		}
		for range 50000 {
			if err := c.Send(make([]byte, 48)); err != nil || l.dropped() > 0 {
				break
			}
		}
		_ = c.Close()
	}
	if l.dropped() == 0 {
		t.Error("none dropped from full buffers")
	}
}

// What the kernel tells of when answers left is counted and learned from: on loopback the transmit times are soon within
// a millisecond, and the counter has at least one stamp for each 251 answers.
func TestWorker_TransmitErrorIsMeasured(t *testing.T) {
	s := serve(t, server.Config{}, nil)
	c, err := udp.Dial(s.address, hostClock, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	request := make([]byte, 48)
	request[0] = 0x23
	const requests = 2510
	for range requests {
		if err := c.Send(request); err != nil {
			t.Fatal(err)
		}
		if _, _, _, err := c.Receive(t.Context(), make([]byte, ntp.MaxPacket)); err != nil {
			t.Fatal(err)
		}
	}
	s.await(t, "every answer counted", func(sum server.Totals) bool { return sum.Accepted == requests })
	sum := s.totals()
	if sum.Misses.Measured == 0 {
		t.Skip("this kernel does not stamp single datagrams")
	}
	if half, ok := sum.Misses.Quantile(0.5); sum.Misses.Measured < requests/251-1 || !ok || half > time.Millisecond {
		t.Errorf("%d stamps, half of the transmit times within %v", sum.Misses.Measured, half)
	}
	now := hostClock() // the last answers may be of this second or of the one before
	if n := s.counters.AnsweredLately(now+1<<32) + s.counters.AnsweredLately(now); n == 0 || n > requests {
		t.Errorf("%d answers in two seconds", n)
	}
}

// BenchmarkWorker_Collections is how long a collection of garbage stops the world while a worker is served at saturation, or
// waits briefly: what the calls that the runtime is not told of cost the rest of the daemon.
func BenchmarkWorker_Collections(b *testing.B) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	provision(1, 0)
	s := serve(b, server.Config{}, nil)
	request := make([]byte, 48)
	request[0] = 0x23
	g, stop, done := newGenerator(b, s.address, request), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				g.run(batch)
			}
		}
	}()
	pauses := []metrics.Sample{{Name: "/sched/pauses/total/gc:seconds"}}
	metrics.Read(pauses)
	before := slices.Clone(pauses[0].Value.Float64Histogram().Counts)
	for b.Loop() {
		runtime.GC()
	}
	metrics.Read(pauses)
	close(stop)
	<-done
	h := pauses[0].Value.Float64Histogram()
	sum := uint64(0)
	for i := range h.Counts {
		h.Counts[i] -= before[i]
		sum += h.Counts[i]
	}
	for _, share := range []float64{0.5, 0.99} {
		below := uint64(0)
		for i, n := range h.Counts {
			if below += n; float64(below) >= share*float64(sum) {
				b.ReportMetric(h.Buckets[i+1]*1e6, fmt.Sprintf("p%g-pause-µs", share*100))
				break
			}
		}
	}
}
